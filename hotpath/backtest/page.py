"""A backtest as one self-contained HTML file, in the style of a run's report. Nothing is fetched, no script runs."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from hotpath.backtest.compare import Comparison, Difference
from hotpath.backtest.report import BacktestReport
from hotpath.backtest.view import KIND_MARK, MICROS, day_time, held_text, money_text
from hotpath.history.figures import Picture, short
from hotpath.history.page import STYLE, figure_html, table_html
from hotpath.screen import format_ns, format_rate

ROWS_MAX = 500  # of a table in the page; the JSON has all


def render_page(report: BacktestReport, pictures: Sequence[Picture], comparison: Comparison | None) -> str:
    """The whole page."""
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(report.name)}: hotpath backtest</title>",
        f"<style>{STYLE}</style></head><body>",
        _header(report),
        _cards(report),
        *(f'<div class="notice">{escape(note)}</div>' for note in report.notes),
        *(_comparison(comparison) if comparison is not None else ()),
        '<div class="pair">',
        *(figure_html(picture) for picture in pictures),
        "</div>",
        "<h2>Instruments</h2>",
        f'<div class="scroll">{_instruments(report)}</div>',
        "<h2>Trades</h2>",
        "<p>Round trips, from flat to flat; entry and exit are averages.</p>",
        f'<div class="scroll">{_trades(report)}</div>',
        "<h2>Orders</h2>",
        f'<div class="scroll">{_orders(report)}</div>',
        _footer(report),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _header(report: BacktestReport) -> str:
    venue = report.venue
    latency = format_ns(venue.latency_ns)
    if venue.latency not in ("fixed", "the venue's"):
        latency += f" + {venue.latency} {format_ns(venue.latency_spread_ns)}"
    return (
        f"<header><h1>{escape(report.name)}</h1>"
        f'<span class="muted">{day_time(report.begin_ns)} to {day_time(report.end_ns)} UTC · '
        f"fills {escape(venue.fills)} · latency {escape(latency)} · fees {escape(venue.fees)}</span></header>"
    )


def _cards(report: BacktestReport) -> str:
    money = report.money
    style = "good" if money.net > 0 else "bad" if money.net < 0 else ""
    closed = report.trades_won + report.trades_lost
    rate = format_rate(report.messages / report.seconds) if report.seconds else ""
    cards = [
        ("net result", money_text(money.net, signed=True), f"{money_text(money.fees)} of fees", style),
        ("largest drawdown", money_text(report.drawdown), _fall_words(report), ""),
        (
            "trades won",
            f"{report.trades_won:,} of {closed:,}" if closed else "none",
            f"{len(report.trades):,} in all",
            "",
        ),
        ("traded", short(money.traded_value / MICROS), f"{report.orders['fills']:,} fills", ""),
        ("slippage", money_text(money.slippage, signed=True), f"{money.slippage_ppm:+,.1f} ppm of what was traded", ""),
        ("orders", f"{report.orders['new']:,}", f"{report.orders['refused']:,} refused by risk", ""),
        ("messages", f"{report.messages:,}", f"{rate} a second" if rate else "", ""),
    ]
    shown = (
        f'<div class="card"><span>{escape(name)}</span><b class="{kind}">{escape(value)}</b>'
        f'<i class="muted">{escape(words) or "&nbsp;"}</i></div>'
        for name, value, words, kind in cards
    )
    return f'<div class="cards">{"".join(shown)}</div>'


def _fall_words(report: BacktestReport) -> str:
    if not report.drawdown:
        return "equity never fell below its height"
    return f"{day_time(report.drawdown_begin_ns)} to {day_time(report.drawdown_end_ns)}"


def _comparison(comparison: Comparison) -> list[str]:
    """How it differs from the run that it is held against."""
    settings = "".join(f"<li>{escape(setting)}</li>" for setting in comparison.settings)
    rows = [
        ("", [escape(reason.replace("_", " ")), f"{count:,}"]) for reason, count in comparison.reasons.items()
    ]  # fmt: skip
    words = (
        f"{comparison.same:,} orders the same, {comparison.added:,} added, {comparison.removed:,} removed, "
        f"{comparison.changed:,} changed, against {comparison.base}."
    )
    found = ["<h2>What is different</h2>", f"<p>{escape(words)}</p>"]
    if settings:
        found.append(f"<ul>{settings}</ul>")
    if rows:
        found.append(f'<div class="scroll">{table_html(("why", "orders"), rows)}</div>')
        found.append(f'<div class="scroll">{_differences(comparison.differences)}</div>')
    return found


def _differences(differences: list[Difference]) -> str:
    rows = []
    for each in differences[:ROWS_MAX]:
        seen = each.base or each.other
        if seen is None:
            continue
        style = {"added": "good", "removed": "bad", "changed": "warn"}[each.kind]
        what = f"{seen.type} {seen.side} {seen.quantity_lots:,} {seen.symbol} @ {seen.price}"
        if each.base is not None and each.other is not None:
            what += f" → {each.other.quantity_lots:,} @ {each.other.price}"
        mark = f'<span class="{style}">{KIND_MARK[each.kind]} {seen.order_id:,}</span>'
        rows.append(("", [mark, day_time(seen.origin_time_ns), escape(what), escape(each.reason)]))
    return table_html(("order", "time", "what", "why"), rows)


def _signed(micros: int) -> str:
    style = "good" if micros > 0 else "bad" if micros < 0 else ""
    return f'<span class="{style}">{money_text(micros, signed=True)}</span>'


def _instruments(report: BacktestReport) -> str:
    rows = [
        (
            "",
            [
                escape(row.symbol), f"{row.fills:,}", f"{row.bought_lots:,}", f"{row.sold_lots:,}", f"{row.lots:+,}",
                _signed(row.realised), _signed(row.unrealised), money_text(row.fees),
                money_text(row.slippage, signed=True), _signed(row.net),
            ],
        )
        for row in report.instruments[:ROWS_MAX]
    ]  # fmt: skip
    heads = ("", "fills", "bought", "sold", "holds", "realised", "unrealised", "fees", "slippage", "net")
    return table_html(heads, rows)


def _trades(report: BacktestReport) -> str:
    rows = [
        (
            "aside" if trade.open else "",
            [
                escape(trade.symbol), trade.side, day_time(trade.begin_ns),
                held_text(trade.end_ns - trade.begin_ns), f"{trade.lots_max:,}", trade.entry, trade.exit,
                money_text(trade.fees), _signed(trade.net), "open" if trade.open else "",
            ],
        )
        for trade in report.trades[:ROWS_MAX]
    ]  # fmt: skip
    return table_html(("", "side", "from", "held", "lots", "entry", "exit", "fees", "net", ""), rows)


def _orders(report: BacktestReport) -> str:
    rows = [("", [escape(name), f"{count:,}"]) for name, count in report.orders.items()]
    rows += [
        ("aside", [f"refused: {escape(name.replace('_', ' '))}", f"{count:,}"])
        for name, count in report.refused.items()
    ]
    return table_html(("", "in all"), rows)


def _footer(report: BacktestReport) -> str:
    states = f"{len(report.states):,} digests of the state, the last {report.states[-1][1]}" if report.states else ""
    return (
        f"<footer>orders {report.orders_sha256}<br>{states}<br>Money is exact to the millionth; beside this page, "
        "all of it as JSON.</footer>"
    )

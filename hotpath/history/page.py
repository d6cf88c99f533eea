"""One self-contained HTML file: headline figures, tables, pictures. Nothing is fetched, no script runs.

Everything that comes from a file or a name is escaped; the pictures are drawn here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from ffi import lib
from hotpath.history.figures import Picture, short, span
from hotpath.history.summary import HopSummary, RunSummary
from hotpath.screen import HOP_LABELS

STYLE = """
:root { color-scheme: light dark; --ground: #ffffff; --panel: #f6f8fa; --ink: #1b1f24; --muted: #656d76;
  --grid: #d8dee4; --good: #1a7f4b; --bad: #c93c37; --warn: #9a6700; }
@media (prefers-color-scheme: dark) { :root { --ground: #0d1117; --panel: #151b23; --ink: #e6edf3; --muted: #9198a1;
  --grid: #30363d; --good: #3fb976; --bad: #f47067; --warn: #d9a13b; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1180px; padding: 28px 24px 64px; background: var(--ground); color: var(--ink);
  font: 14px/1.5 Inter, "Helvetica Neue", Arial, sans-serif; }
header { display: flex; flex-wrap: wrap; align-items: baseline; gap: 4px 16px; }
h1 { font-size: 22px; margin: 0; letter-spacing: -0.01em; }
h2 { font-size: 16px; margin: 40px 0 4px; }
p { margin: 2px 0 10px; color: var(--muted); max-width: 78ch; }
.outcome { font-weight: 600; } .good { color: var(--good); } .bad { color: var(--bad); } .warn { color: var(--warn); }
.muted { color: var(--muted); }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(148px, 1fr)); gap: 12px; margin: 20px 0 8px; }
.card { background: var(--panel); border: 1px solid var(--grid); border-radius: 8px; padding: 12px 14px; }
.card b { display: block; font-size: 22px; font-weight: 600; letter-spacing: -0.01em; }
.card span { color: var(--muted); font-size: 12px; } .card i { font-style: normal; font-size: 12px; display: block; }
.notice { border-left: 3px solid var(--warn); padding: 4px 12px; margin: 10px 0; background: var(--panel); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 8px 0 4px; }
th { text-align: right; font-weight: 500; color: var(--muted); font-size: 12px; padding: 4px 0 4px 20px; }
td { text-align: right; padding: 4px 0 4px 20px; border-top: 1px solid var(--grid); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
tr.chief td { font-weight: 600; } tr.aside td { color: var(--muted); }
.scroll { overflow-x: auto; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(520px, 100%), 1fr)); gap: 8px 32px; }
figure { margin: 0; } figure svg { width: 100%; height: auto; display: block; overflow: visible; }
figure h2 { margin-top: 32px; }
footer { margin-top: 48px; padding-top: 12px; border-top: 1px solid var(--grid); color: var(--muted); font-size: 12px; }
@media print { body { max-width: none; } figure { break-inside: avoid; } }
""".strip()


def render_page(summary: RunSummary, pictures: Sequence[Picture]) -> str:
    """The whole page."""
    by_name = {picture.name: picture for picture in pictures}
    main = [by_name.pop(name) for name in ("percentiles",) if name in by_name]
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(summary.engine)}, {escape(summary.started)}: hotpath report</title>",
        f"<style>{STYLE}</style></head><body>",
        _header(summary),
        _cards(summary),
        *(f'<div class="notice">{escape(text)}</div>' for text in (*summary.notices, *summary.remarks)),
        "<h2>Latency</h2>",
        f"<p>{_latency_words(summary)}</p>",
        f'<div class="scroll">{_hop_table(summary)}</div>',
        '<div class="pair">',
        *(figure_html(picture) for picture in (*main, *by_name.values())),
        "</div>",
        "<h2>Counted</h2>",
        '<div class="pair">',
        f'<div class="scroll">{_totals(summary)}</div>',
        f'<div class="scroll">{_queues(summary)}</div>',
        "</div>",
        _footer(summary),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _header(summary: RunSummary) -> str:
    fine = summary.outcome in ("stopped", "finished")
    outcome = summary.outcome or "no end recorded"
    style = "good" if fine else "bad" if summary.outcome else "warn"
    return (
        f"<header><h1>{escape(summary.engine)}</h1>"
        f'<span class="muted">{escape(summary.topology)} · {escape(summary.started)} UTC · '
        f"{_duration(summary.seconds)}</span>"
        f'<span class="outcome {style}">{escape(outcome)}</span></header>'
    )


def _cards(summary: RunSummary) -> str:
    cards = []
    path = summary.hops.get("order_path")
    if path is not None:
        verdict, style = "", ""
        if path.within_budget is not None and path.budget_ns:
            verdict = f"{_against(path)} of {_span(path.budget_ns)}"
            style = "good" if path.within_budget else "bad"
        cards.append(("order path, p99", _span(path.p99_ns), verdict, style))
        cards.append(("order path, p50", _span(path.p50_ns), f"over {path.count:,} orders and cancels", "muted"))
    if summary.spin is not None:
        sufficient = "insufficient" not in summary.spin.verdict
        cards.append(
            (
                "empty loop on that core, p99",
                _span(summary.spin.p99_ns),
                "host sufficient" if sufficient else "host insufficient: it sets the tail",
                "good" if sufficient else "warn",
            )
        )
    messages, orders = summary.rates["messages"], summary.totals
    cards.append(("messages a second", short(messages.mean), f"{short(messages.peak)} at the busiest", "muted"))
    sent = orders["orders"] + orders["replaces"] + orders["cancels"]
    cards.append(("frames to the venue", f"{sent:,}", f"{orders['orders']:,} new · {orders['fills']:,} fills", "muted"))
    cards.append(("refused by risk", f"{orders['rejected']:,}", _first(summary.rejects), "muted"))
    money = summary.money
    style = "good" if money.last > 0 else "bad" if money.last < 0 else ""
    cards.append(("profit and loss", f"{money.last:+,.2f}", f"largest fall {money.drawdown_max:,.2f}", "muted"))
    shown = (
        f'<div class="card"><span>{escape(name)}</span><b class="{style if name == "profit and loss" else ""}">'
        f'{escape(value)}</b><i class="{kind}">{escape(words) or "&nbsp;"}</i></div>'
        for name, value, words, kind in cards
    )
    return f'<div class="cards">{"".join(shown)}</div>'


def _first(rejects: dict[str, int]) -> str:
    return next((f"most often: {reason.replace('_', ' ')}" for reason in rejects), "")


def _latency_words(summary: RunSummary) -> str:
    words = (
        "Over order-producing events, from the instant at which a message was due; the wait behind its packet-mates "
        "is a hop of its own. "
    )
    if summary.spin is None:
        return words + "The machine itself was not measured in this run: hotpath doctor does."
    return words + "The empty loop ran on the same core when the run was over: no code there can be quicker."


def _against(hop: HopSummary) -> str:
    """Its p99 against its budget, in words."""
    if hop.budget_ns is None or hop.within_budget:
        return "within its budget"
    times = hop.p99_ns / hop.budget_ns
    return f"{times:,.0f} × its budget" if times >= 100 else f"{times:.1f} × its budget"


def _hop_table(summary: RunSummary) -> str:
    rows = []
    for name, hop in summary.hops.items():
        label = HOP_LABELS.get(name, (name.replace("_", " "), ""))[0]
        budget, verdict = "", ""
        if hop.budget_ns is not None:
            budget = _span(hop.budget_ns)
            verdict = f'<span class="{"good" if hop.within_budget else "bad"}">{_against(hop)}</span>'
        spans = (hop.p50_ns, hop.p90_ns, hop.p99_ns, hop.p999_ns, hop.p9999_ns, hop.max_ns)
        kind = "chief" if name == "order_path" else ""
        rows.append((kind, [escape(label), f"{hop.count:,}", *(_span(each) for each in spans), budget, verdict]))
    if summary.spin is not None:
        spin = summary.spin
        loop = ["", _span(spin.p50_ns), "", _span(spin.p99_ns), _span(spin.p999_ns), "", _span(spin.max_ns)]
        limit = _span(lib.SPIN_DELAY_NS_MAX)
        rows.append(("aside", ["empty loop, same core", *loop, limit, escape(spin.verdict.partition(":")[0])]))
    heads = ("", "count", "p50", "p90", "p99", "p99.9", "p99.99", "max", "budget of p99", "")
    return table_html(heads, rows)


def _totals(summary: RunSummary) -> str:
    rows = []
    for name, count in summary.totals.items():
        rate = summary.rates.get(name)
        rates = (short(rate.mean), short(rate.peak)) if rate else ("", "")
        rows.append(("", [escape(name), f"{count:,}", *rates]))
    rows += [("", [f"refused by risk: {escape(reason.replace('_', ' '))}", f"{count:,}", "", ""])
             for reason, count in summary.rejects.items()]  # fmt: skip
    return table_html(("", "in all", "a second", "at the busiest"), rows)


def _queues(summary: RunSummary) -> str:
    rows = []
    for name, queue in summary.queues.items():
        part = f"{100 * queue.lag_max / queue.capacity:.2g} %" if queue.capacity else ""
        rows.append(("", [escape(name), f"{queue.lag_max:,}", part, f"{queue.lost:,}"]))
    if not rows:
        return "<p>No reader was behind at the instant of any sample.</p>"
    return table_html(("ring: reader", "behind at most", "of the ring", "lost"), rows)


def table_html(heads: Iterable[str], rows: Iterable[tuple[str, Sequence[str]]]) -> str:
    """Cells are HTML already."""
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join(f'<tr class="{kind}">{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>' for kind, cells in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def figure_html(picture: Picture) -> str:
    return f"<figure><h2>{escape(picture.title)}</h2><p>{escape(picture.caption)}</p>{picture.svg}</figure>"


def _footer(summary: RunSummary) -> str:
    host = " · ".join(
        f"{escape(name)} {escape(value)}" if name != "processor" else escape(value)
        for name, value in summary.host.items()
    )
    return (
        f"<footer>{host}<br>{summary.samples:,} samples; percentiles from HdrHistogram buckets of three digits. "
        "Beside this page: the same pictures as PNG, and every hop as an HdrHistogram V2 interval log.</footer>"
    )


def _span(value_ns: float) -> str:
    """Three digits: "512 ns", "4.55 us"."""
    for unit, name in ((1e9, "s"), (1e6, "ms"), (1e3, "µs")):
        if value_ns >= unit:
            return f"{value_ns / unit:.3g} {name}" if value_ns < 999.5 * unit else span(round(value_ns))
    return f"{value_ns:.0f} ns"


def _duration(seconds: float) -> str:
    """ "42 s", "12 min 5 s", "6 h 30 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"

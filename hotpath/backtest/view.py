"""A backtest and a comparison on the terminal; plain text where the output is none."""

from __future__ import annotations

import msgspec
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from hotpath.backtest.compare import Comparison, Difference, OrderSeen
from hotpath.backtest.report import BacktestReport
from hotpath.explain.wire import time_of_day
from hotpath.screen import BARS, format_ns, format_rate

MICROS = 1_000_000
ROWS = 12  # of the longest tables; the files have all
CURVE = 72  # cells of the equity curve
DAY_NS = 86_400 * 10**9
WIDTH = 100
KIND_STYLE = {"added": "green", "removed": "red", "changed": "yellow"}
KIND_MARK = {"added": "+", "removed": "-", "changed": "~"}


def console() -> Console:
    """The terminal, or a plain page."""
    shown = Console(highlight=False)
    return shown if shown.is_terminal else Console(highlight=False, width=WIDTH, no_color=True)


def money_text(micros: int, *, signed: bool = False) -> str:
    """Millionths of the currency as money."""
    return f"{micros / MICROS:+,.2f}" if signed else f"{micros / MICROS:,.2f}"


def print_outcome(report: BacktestReport, comparison: Comparison | None, files: dict[str, str], *, json: bool) -> None:
    """The report on one screen, and how it differs from the run that it was held against."""
    if json:
        document = {"report": report, "comparison": comparison, "files": files}
        print(msgspec.json.encode(document).decode())
        return
    shown = console()
    shown.print(backtest_view(report, files))
    if comparison is not None:
        shown.print(Group(Text(), comparison_view(comparison)))


# ---- one run ---------------------------------------------------------------------------------------------


def backtest_view(report: BacktestReport, files: dict[str, str]) -> RenderableType:
    """Title, result, curve, orders, instruments, trades, files."""
    title = Text.assemble((" hotpath backtest ", "bold reverse"), " ", (report.name, "bold"))
    parts: list[RenderableType] = [title, _venue_line(report), _speed_line(report), Text(), _result(report)]
    if len(report.equity) > 1:
        parts += [Text(), _curve(report)]
    parts += [Text(), _orders(report)]
    if report.instruments:
        parts += [Text(), _instruments(report)]
    if report.trades:
        parts += [Text(), _trades(report)]
    parts += [Text(), Text(f" orders {report.orders_sha256}", style="dim")]
    if report.states:
        count, digest = report.states[-1]
        parts.append(Text(f" state after {count:,} messages {digest} ({len(report.states):,} digests)", style="dim"))
    parts += [Text(f" note: {note}", style="yellow") for note in report.notes]
    parts += [Text.assemble((f" {what:<8}", "dim"), path) for what, path in files.items()]
    return Group(*parts)


def _venue_line(report: BacktestReport) -> Text:
    venue = report.venue
    spread = f" + {venue.latency} {format_ns(venue.latency_spread_ns)}" if venue.latency != "fixed" else " fixed"
    latency = f"{format_ns(venue.latency_ns)}{spread}" if venue.latency != "the venue's" else venue.latency
    return Text(f" fills: {venue.fills} · latency: {latency} · fees: {venue.fees}", style="dim")


def _speed_line(report: BacktestReport) -> Text:
    """How much of the market went by how quickly."""
    if not report.seconds:
        return Text(f" {report.messages:,} messages", style="dim")
    rate = format_rate(report.messages / report.seconds)
    text = f" {report.messages:,} messages in {report.seconds:.2f} s, {rate} a second"
    span = (report.end_ns - report.begin_ns) / 1e9
    if report.begin_ns and span > report.seconds:
        text += f", {span / report.seconds:,.0f} times as fast as it happened"
    return Text(text, style="dim")


def _result(report: BacktestReport) -> Table:
    money = report.money
    table = Table.grid(padding=(0, 3, 0, 0))
    for _ in range(4):
        table.add_column(style="dim")
        table.add_column(justify="right")
    style = "bold green" if money.net > 0 else "bold red" if money.net < 0 else "bold"
    closed = report.trades_won + report.trades_lost
    won = f"{report.trades_won:,} of {closed:,}" if closed else "none"
    cells = [
        (" net", Text(money_text(money.net, signed=True), style)),
        ("realised", Text(money_text(money.realised, signed=True))),
        ("unrealised", Text(money_text(money.unrealised, signed=True))),
        ("fees", Text(money_text(money.fees))),
        (" drawdown", Text(money_text(report.drawdown))),
        ("traded", Text(money_text(money.traded_value))),
        ("slippage", Text(f"{money_text(money.slippage, signed=True)} ({money.slippage_ppm:+,.1f} ppm)")),
        ("won", Text(won)),
    ]
    for begin in (0, 4):
        row: list[RenderableType] = []
        for name, value in cells[begin : begin + 4]:
            row += [Text(name, style="dim"), value]
        table.add_row(*row)
    return table


def _curve(report: BacktestReport) -> RenderableType:
    """Equity after fees as one line of blocks, with its bounds."""
    values = [micros for _, micros in report.equity]
    low, high = min(values), max(values)
    step = max(1, len(values) // CURVE)
    cells = [values[min(index + step - 1, len(values) - 1)] for index in range(0, len(values), step)][:CURVE]
    scale = (len(BARS) - 2) / (high - low) if high > low else 0.0
    line = "".join(BARS[1 + round((value - low) * scale)] for value in cells)
    bounds = f" from {money_text(low, signed=True)} to {money_text(high, signed=True)}"
    times = f"{day_time(report.begin_ns)} to {day_time(report.end_ns)}"
    return Group(
        Text.assemble((" equity  ", "dim"), (line, "cyan")), Text(f"         {times} UTC,{bounds}", style="dim")
    )


def day_time(time_ns: int) -> str:
    """Time of day in UTC, to the second."""
    return time_of_day(time_ns % DAY_NS)[:8]


def held_text(span_ns: int) -> str:
    """How long a trade lasted: "350 ms", "12.4 s", "29 min 48 s", "9 h 20 min"."""
    seconds = max(0, span_ns) // 10**9
    if seconds < 60:
        return format_ns(max(0, span_ns))
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"


def _orders(report: BacktestReport) -> Table:
    orders = report.orders
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(style="dim", width=10)
    table.add_column()
    table.add_row(
        " orders",
        f"{orders['new']:,} new, {orders['replaces']:,} replaces, {orders['cancels']:,} cancels; "
        f"{orders['fills']:,} fills ({report.maker_fills:,} made, {report.taker_fills:,} took)",
    )
    if report.refused:
        reasons = ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in report.refused.items())
        table.add_row(" refused", f"{orders['refused']:,} by risk: {reasons}")
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for index, name in enumerate(columns):
        table.add_column(name, justify="left" if index == 0 else "right", no_wrap=True)
    return table


def _instruments(report: BacktestReport) -> Table:
    table = _table(" instrument", "fills", "bought", "sold", "holds", "realised", "unrealised", "fees", "net")
    for row in report.instruments[:ROWS]:
        style = "green" if row.net > 0 else "red" if row.net < 0 else ""
        table.add_row(
            f" {row.symbol}", f"{row.fills:,}", f"{row.bought_lots:,}", f"{row.sold_lots:,}", f"{row.lots:+,}",
            money_text(row.realised, signed=True), money_text(row.unrealised, signed=True), money_text(row.fees),
            Text(money_text(row.net, signed=True), style),
        )  # fmt: skip
    if len(report.instruments) > ROWS:
        table.add_row(Text(f" and {len(report.instruments) - ROWS:,} more", style="dim"))
    return table


def _trades(report: BacktestReport) -> Table:
    table = _table(" trade", "side", "from", "held", "lots", "entry", "exit", "fees", "net")
    ranked = sorted(report.trades, key=lambda trade: -abs(trade.net))[:ROWS]
    for trade in ranked:
        style = "green" if trade.net > 0 else "red" if trade.net < 0 else ""
        table.add_row(
            f" {trade.symbol}{' (open)' if trade.open else ''}", trade.side, day_time(trade.begin_ns),
            held_text(trade.end_ns - trade.begin_ns), f"{trade.lots_max:,}", trade.entry, trade.exit,
            money_text(trade.fees), Text(money_text(trade.net, signed=True), style),
        )  # fmt: skip
    if len(report.trades) > ROWS:
        table.add_row(Text(f" the largest {ROWS} of {len(report.trades):,}", style="dim"))
    return table


# ---- two runs --------------------------------------------------------------------------------------------


def comparison_view(comparison: Comparison) -> RenderableType:
    """What was changed, what came of it, order by order."""
    title = Text.assemble((" hotpath replay --diff ", "bold reverse"), " ", (comparison.other, "bold"))
    parts: list[RenderableType] = [title, Text(f" against {comparison.base}", style="dim")]
    parts += [Text(f"   {setting}", style="cyan") for setting in comparison.settings[:ROWS]]
    counts = Text.assemble(
        "   ", (f"{comparison.same:,} the same", ""), "  ", (f"+{comparison.added:,} added", "green"), "  ",
        (f"-{comparison.removed:,} removed", "red"), "  ", (f"~{comparison.changed:,} changed", "yellow"),
        (f"  of {comparison.orders_base:,} orders, now {comparison.orders_other:,}", "dim"),
    )  # fmt: skip
    parts += [Text(), counts]
    for reason, count in list(comparison.reasons.items())[:ROWS]:
        parts.append(Text(f"   {count:>7,}  {reason.replace('_', ' ')}", style="dim"))
    money = comparison.net_micros_other - comparison.net_micros_base
    parts.append(
        Text(
            f"   equity before fees {money_text(comparison.net_micros_base, signed=True)} → "
            f"{money_text(comparison.net_micros_other, signed=True)} ({money_text(money, signed=True)})"
        )
    )
    if comparison.first_state_apart is not None:
        parts.append(Text(f"   the state first differs by message {comparison.first_state_apart:,}", style="dim"))
    if comparison.equal:
        parts.append(Text("   no order differs", style="bold green"))
    else:
        parts += [Text(), _differences(comparison.differences)]
    return Group(*parts)


def _differences(differences: list[Difference]) -> Table:
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for name in (" order", "time", "what", "why"):
        table.add_column(name, no_wrap=name != "why")
    for each in differences[: 2 * ROWS]:
        seen = each.base or each.other
        if seen is None:
            continue
        what = _order_text(seen)
        if each.base is not None and each.other is not None:
            what += f" → {_order_text(each.other)}"
        table.add_row(
            Text(f" {KIND_MARK[each.kind]} {seen.order_id:,}", KIND_STYLE[each.kind]),
            day_time(seen.origin_time_ns),
            what,
            Text(each.reason, style="dim"),
        )
    if len(differences) > 2 * ROWS:
        table.add_row(Text(f"   and {len(differences) - 2 * ROWS:,} more", style="dim"))
    return table


def _order_text(seen: OrderSeen) -> str:
    if seen.type == "cancel":
        return f"cancel {seen.symbol}"
    return f"{seen.type} {seen.side} {seen.quantity_lots:,} {seen.symbol} @ {seen.price}"

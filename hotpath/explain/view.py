"""A story as a page on the terminal: from top to bottom as it happened, each part with what was checked of it.

Where the output is not a terminal it is the same text without colour, so it can be kept and searched.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from hotpath.explain.story import (
    Hop,
    LimitRow,
    MarketPart,
    ReportPart,
    RequestPart,
    RiskPart,
    Sides,
    SignalPart,
    Story,
    WireBytes,
    WirePart,
)
from hotpath.screen import format_ns

WIDTH = 100  # columns of a page that is not shown on a terminal
BYTES_A_LINE = 16
BAR = 24  # cells of the longest bar
RELATION = {
    "at most": "≤", "at least": "≥", "below": "<", "above": ">", "equal": "=", "multiple": "n ×",
}  # fmt: skip
OUTCOME_STYLE = {"passes": "green", "refuses": "bold red", "not asked": "dim", "forgiven": "yellow"}
OUTCOME_MARK = {"passes": "✓", "refuses": "✗", "not asked": "·", "forgiven": "!"}
OUTSIDE = ("wait", "T0 to T1", "answer")  # hops that are no part of the path's sum
REPORT_STYLE = {
    "fill": "bold green",
    "accepted": "green",
    "replaced": "green",
    "rejected": "bold red",
    "refused": "bold red",
}


def print_story(story: Story, *, json: bool) -> None:
    """To standard output."""
    if json:
        import msgspec

        print(msgspec.json.encode({**msgspec.to_builtins(story), "sound": story.sound}).decode())
        return
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDTH, no_color=True)
    console.print(story_view(story))


def story_view(story: Story) -> RenderableType:
    """The whole page."""
    parts: list[RenderableType] = [_title(story), Text()]
    number = 0

    def section(title: str, aside: str, *content: RenderableType | None) -> None:
        nonlocal number
        number += 1
        parts.append(Text.assemble((f" {number} ", "bold reverse"), " ", (title, "bold"), "  ", (aside, "dim")))
        parts.extend(each for each in content if each is not None)
        parts.append(Text())

    if story.market is not None:
        market = story.market
        aside = f"{market.type} · raw {market.raw_sequence:,} → norm {market.norm_sequence:,}"
        aside += f" · venue message {market.session_sequence:,}"
        section("The market spoke", aside, _market_bytes(market), _book(market.before, market.after))
    if story.request is not None:
        section(
            "A seat asked", f"{story.request.seat} · intake {story.request.intake_sequence:,}", _request(story.request)
        )
    if story.features:
        section("What it looked like", "features, computed again from the journal", _features(story))
    if story.components:
        section("What the strategies made of it", "score × weight", _components(story))
    if story.models:
        section("What the models said", "generation, image, inputs", _models(story))
    if story.signal is not None:
        section("The signal", f"signal {story.signal.sequence:,}", _signal(story.signal))
    if story.risk is not None:
        risk = story.risk
        aside = f"turn {risk.turn:,} · {risk.mode.replace('_', ' ')} · limits version {risk.limits_version}"
        section("The gate", aside, _gate_state(risk), _limits(risk.limits), _decision(risk))
    if story.wire is not None:
        aside = f"intent {story.wire.record:,} · user ref {story.wire.user_ref:,} · {story.wire.frame.says}"
        section("On the wire", aside, _wire(story.wire))
    if story.reports:
        section("What the venue said", "", _reports(story.reports))
    if story.hops:
        section("Time", "nanoseconds of the engine's clock", _hops(story.hops))
    parts.append(_checks(story))
    return Group(*parts)


def _title(story: Story) -> RenderableType:
    line = Text.assemble((f" order {story.order_id:,} ", "bold reverse"), "  ", (story.headline, "bold"), "  ")
    fine = story.outcome.startswith(("filled", "accepted", "canceled", "replaced"))
    line.append(story.outcome, "green" if fine else "bold yellow")
    where = f" engine {story.engine}"
    if story.trading_day:
        where += f" · trading day {story.trading_day}"
    where += f" · {story.journal}"
    lines = [line, Text(where, style="dim")]
    for word, orders in story.related.items():
        lines.append(Text(f" {word} {', '.join(f'{order:,}' for order in orders)}", style="cyan"))
    return Group(*lines)


def _grid(*, widths: tuple[int | None, ...], right: tuple[int, ...] = ()) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for index, width in enumerate(widths):
        table.add_column(width=width, justify="right" if index in right else "left", no_wrap=width is not None)
    return table


# ---- bytes ---------------------------------------------------------------------------------------------


def hex_lines(data: bytes) -> list[str]:
    """Offset, bytes in hexadecimal and as letters, sixteen a line."""
    lines = []
    for offset in range(0, len(data), BYTES_A_LINE):
        chunk = data[offset : offset + BYTES_A_LINE]
        pairs = " ".join(f"{byte:02x}" for byte in chunk)
        letters = "".join(chr(byte) if 0x20 <= byte < 0x7F else "·" for byte in chunk)
        lines.append(f"{offset:04x}  {pairs:<{BYTES_A_LINE * 3 - 1}}  {letters}")
    return lines


def _bytes(wire: WireBytes) -> RenderableType:
    lines = [Text(f"   {line}", style="dim") for line in hex_lines(bytes.fromhex(wire.hex))]
    fields = Text("   ")
    for name, value in wire.fields.items():
        fields.append(f"{name.replace('_', ' ')} ", "dim")
        fields.append(f"{value:,}  " if isinstance(value, int) else f"{value}  ")
    return Group(*lines, fields)


def _market_bytes(market: MarketPart) -> RenderableType | None:
    if market.message is None:
        return None
    return Group(Text(f"   {market.message.says}", style="cyan"), _bytes(market.message))


def _wire(wire: WirePart) -> RenderableType:
    sent = Text("   handed to the session", style="green")
    if not wire.sent:
        sent = Text("   stored, not handed over by the process that stored it", style="yellow")
    return Group(_bytes(wire.frame), sent)


# ---- the book --------------------------------------------------------------------------------------------


def _book(before: Sides, after: Sides) -> Table:
    """Both sides before and after, side by side; what changed stands out."""
    table = Table(box=None, header_style="dim", padding=(0, 1, 0, 0))
    table.add_column("   before", justify="right", width=13)
    for name, width in (("bid", 11), ("offer", 11), ("", 9)):
        table.add_column(name, justify="right" if name == "bid" else "left", width=width)
    table.add_column("after", justify="right", width=10)
    for name, width in (("bid", 11), ("offer", 11), ("", 9)):
        table.add_column(name, justify="right" if name == "bid" else "left", width=width)
    rows = zip_longest(before.bids, before.asks, after.bids, after.asks)
    for old_bid, old_ask, new_bid, new_ask in rows:
        table.add_row(
            *_pair(old_bid, old_ask, "dim", "dim"),
            *_pair(
                new_bid,
                new_ask,
                "bold" if new_bid not in before.bids else "",
                "bold" if new_ask not in before.asks else "",
            ),
        )
    return table


def _pair(bid: Any, ask: Any, bid_style: str, ask_style: str) -> tuple[Text, Text, Text, Text]:
    return (
        Text(f"{bid.quantity_lots:,}" if bid else "", bid_style),
        Text(bid.price if bid else "", bid_style),
        Text(ask.price if ask else "", ask_style),
        Text(f"{ask.quantity_lots:,}" if ask else "", ask_style),
    )


# ---- opinion -----------------------------------------------------------------------------------------------


def _request(request: RequestPart) -> RenderableType:
    asked = f"   {request.type}, token {request.token:,}"
    if request.target_token:
        asked += f" for token {request.target_token:,}"
    return Text(f"{asked}: {request.quantity_lots:,} @ {request.price}, its score {request.score:+.3f}")


def _features(story: Story) -> Table:
    """Three columns of names and values."""
    table = _grid(widths=(3, 16, 14, 16, 14, 16, 14), right=(2, 4, 6))
    cells = [
        (
            Text(each.name.replace("_", " "), style="dim"),
            Text(
                f"{each.value:,.6g}" if each.value is not None else "not ready", "" if each.value is not None else "dim"
            ),
        )
        for each in story.features
    ]
    rows = (len(cells) + 2) // 3
    for index in range(rows):
        row: list[Text] = []
        for column in range(3):
            place = index + column * rows
            row += cells[place] if place < len(cells) else (Text(""), Text(""))
        table.add_row("", *row)
    return table


def _models(story: Story) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 1))
    for each in story.models:
        wish = f"{each.position_lots:+,} → {each.target_lots:+,} lots"
        table.add_row(
            each.role + (" ✓" if each.acts else ""),
            f"{each.name} {each.version[:12]}",
            f"{each.score:+.4f}",
            wish,
            each.status,
        )
        table.add_row(
            "",
            f"generation {each.generation}, image {each.image}",
            f"inputs {each.inputs}",
            f"weights {each.weights}",
            "",
        )
    return table


def _components(story: Story) -> Table:
    table = _grid(widths=(3, 12, 9, 9, 9, BAR * 2 + 1), right=(2, 3, 4))
    for each in story.components:
        table.add_row(
            "",
            Text(each.name),
            Text(f"{each.score:+.4f}"),
            Text(f"× {each.weight:g}", style="dim"),
            Text(f"{each.contribution:+.4f}", style="bold"),
            _signed_bar(each.contribution),
        )
    if story.signal is not None:
        score = story.signal.score
        table.add_row("", Text("score", style="bold"), "", "", Text(f"{score:+.4f}", style="bold"), _signed_bar(score))
    return table


def _signed_bar(value: float) -> Text:
    """A bar to the left for selling, to the right for buying."""
    cells = min(BAR, round(abs(value) * BAR))
    text = Text(" " * (BAR - cells) if value < 0 else " " * BAR)
    if value < 0:
        text.append("▆" * cells, "red")
        text.append("│", "dim")
    else:
        text.append("│", "dim")
        text.append("▆" * cells, "green")
    return text


def _signal(signal: SignalPart) -> RenderableType:
    what = Text.assemble("   ", (f"{signal.type} {signal.side}", "bold"), f" {signal.quantity_lots:,} @ {signal.price}")
    what.append(f"  {signal.time_in_force}, leg {signal.leg}", "dim")
    if signal.target_order_id:
        what.append(f"  of order {signal.target_order_id:,}", "dim")
    saw = Text(
        f"   it saw {signal.bid} | {signal.ask}; strategy {signal.strategy}, epoch {signal.strategy_epoch}, ", "dim"
    )
    saw.append(f"account {signal.account}")
    return Group(what, Text(f"   {signal.why}"), saw)


# ---- the gate ----------------------------------------------------------------------------------------------


def _gate_state(risk: RiskPart) -> Text:
    killed = ", killed" if risk.killed else ""
    return Text(
        f"   before it: position {risk.position_lots:+,}, open {risk.open_buy_lots:,} to buy and "
        f"{risk.open_sell_lots:,} to sell, {risk.open_orders:,} orders, gross value {risk.gross_value}{killed}",
        style="dim",
    )


def _limits(rows: list[LimitRow]) -> Table:
    """Each limit with what was measured and what that was held against."""
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("   limit", width=17, no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("threshold", justify="left", no_wrap=True)
    table.add_column("used", justify="right", width=5)
    table.add_column("", style="dim", no_wrap=True)
    for row in rows:
        style = OUTCOME_STYLE[row.outcome]
        loud = style if row.outcome in ("refuses", "forgiven") else "" if row.outcome == "passes" else "dim"
        table.add_row(
            Text.assemble(" ", (OUTCOME_MARK[row.outcome], style), (f" {row.name.replace('_', ' ')}", loud)),
            Text(row.value_text, loud),
            Text(RELATION[row.relation], "dim"),
            Text(row.threshold_text, loud),
            _used(row),
            row.asks,
        )
    return table


def _used(row: LimitRow) -> Text:
    """How much of a limit that is a quantity was used."""
    if row.relation != "at most" or row.threshold <= 0 or row.value < 0:
        return Text("")
    part = row.value / row.threshold
    return Text(f"{part:.0%}" if part < 9.995 else ">999%", style="yellow" if part > 0.8 else "dim")


def _decision(risk: RiskPart) -> Text:
    if risk.decision == "approved":
        return Text("   approved", style="bold green")
    return Text(f"   refused: {risk.decision.replace('_', ' ')}", style="bold red")


# ---- what came of it -----------------------------------------------------------------------------------------


def _reports(reports: list[ReportPart]) -> Table:
    table = _grid(widths=(3, 15, 40, 16, 22))
    for each in reports:
        after = f"{format_ns(each.after_sent_ns)} after T1" if each.after_sent_ns is not None else ""
        more = [f"match {each.match_id:,}" if each.match_id else "", f"reason {each.reason}" if each.reason else ""]
        table.add_row(
            "",
            Text(each.type.replace("_", " "), REPORT_STYLE.get(each.type, "")),
            Text(each.text),
            Text(after, style="dim"),
            Text(", ".join(filter(None, more)), style="dim"),
        )
    return table


def _hops(hops: list[Hop]) -> Table:
    table = _grid(widths=(3, 9, 12, BAR, None), right=(2,))
    longest = max((hop.ns for hop in hops if hop.name not in OUTSIDE), default=1) or 1
    for hop in hops:
        chief = hop.name == "T0 to T1"
        inside = hop.name not in OUTSIDE
        bar = "▆" * max(1, round(hop.ns / longest * BAR)) if inside else ""
        table.add_row(
            "", Text(hop.name, "bold" if chief else ""), Text(f"{hop.ns:,} ns", "bold" if chief else ""),
            Text(bar, "cyan"), Text(hop.what, "dim"),
        )  # fmt: skip
    return table


def _checks(story: Story) -> RenderableType:
    """What was computed again, and whether it was as recorded."""
    lines: list[RenderableType] = []
    for check in story.checks:
        mark, style = ("✓", "green") if check.holds else ("✗", "bold red")
        line = Text.assemble("   ", (mark, style), f" {check.what}")
        if check.found:
            line.append(f": {check.found}", "bold red")
        lines.append(line)
    verdict = Text(" checked against the journal", style="bold")
    if not story.sound:
        verdict = Text(" NOT AS RECORDED: do not believe this story before that is understood", style="bold red")
    lines += [Text(f"   note: {note}", style="yellow") for note in story.notes]
    return Group(verdict, *lines)

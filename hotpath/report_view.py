"""A run's report as people read it: what was decoded, traded and refused, and how long each hop took.

It is printed when the demo, a run or a replay ends; `--json` prints the same structure for machines.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from ffi import lib
from hotpath.recordings import RecordingReplay
from hotpath.report import RunReport
from hotpath.screen import format_money, format_ns, format_rate, hop_table
from hotpath.topology import STAGES


def print_report(report: RunReport, *, json: bool, venue: Mapping[str, Any] | None = None) -> None:
    """To standard output. `venue` is what the simulator says of the same run: its own counts, to compare."""
    if json:
        import msgspec

        content: dict[str, Any] = msgspec.to_builtins(report)
        if venue is not None:
            content["venue"] = dict(venue)
        print(msgspec.json.encode(content).decode())
    else:
        Console().print(report_view(report))


def print_comparison(comparison: RecordingReplay, *, json: bool) -> None:
    """How a recording compares with its replay, to standard output."""
    if json:
        import msgspec

        content = {**msgspec.to_builtins(comparison), "same": comparison.same}
        print(msgspec.json.encode(content).decode())
        return
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column(justify="right")
    for stage, turns in comparison.turns.items():
        table.add_row(f" {stage}", f"{turns:,} turns")
    for ring, events in comparison.events.items():
        table.add_row(f" {ring}", f"{events:,} events")
    table.add_row(" orders", f"{comparison.orders_recorded:,} recorded, {comparison.orders_replayed:,} replayed")
    for stage, (then, now) in comparison.states.items():
        table.add_row(
            f" {stage}, at the end", f"state {now}" if then == now else f"state {then} recorded, {now} replayed"
        )
    verdict = Text(" the same, byte for byte", style="bold green")
    if not comparison.same:
        verdict = Text(" not the same", style="bold red")
        for mismatch in comparison.mismatches:
            verdict.append(
                f"\n first difference: {mismatch.stage}, turn {mismatch.turn:,}: "
                f"digest {mismatch.recorded} recorded, {mismatch.replayed} replayed"
            )
    Console().print(Group(table, Text(), verdict, Text(f" order log {comparison.order_log_sha256}", style="dim")))


@contextmanager
def progress_bar(title: str, *, shown: bool) -> Iterator[Callable[[int, int], None] | None]:
    """A bar on the terminal while the block runs; None where there is no terminal to show it on."""
    if not shown or not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def report_view(report: RunReport) -> RenderableType:
    """The report on one screen."""
    parts: list[RenderableType] = [_title(report), Text(), _facts(report), Text()]
    parts.append(hop_table(report.stat.hops))
    if report.spin is not None:
        parts += [_spin_line(report), Text(f" {report.spin.verdict}", style=_verdict_style(report.spin.verdict))]
    if report.order_log_sha256:
        parts += [Text(), Text(f" order log {report.order_log_sha256}", style="dim")]
    parts += [Text(f" note: {notice}", style="yellow") for notice in report.notices]
    return Group(*parts)


def _title(report: RunReport) -> Text:
    title = Text.assemble((" hotpath ", "bold reverse"), " ", (report.stat.engine, "bold"), f"  {report.stat.topology}")
    title.append(f"  {report.seconds:.1f} s", "dim")
    if report.outcome:
        fine = report.outcome in ("stopped", "finished")
        title.append(f"  {report.outcome}", "green" if fine else "bold red")
    return title


def _facts(report: RunReport) -> Table:
    feed, signal, risk, gateway = (report.stat.stages[stage].counters for stage in STAGES)
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(style="dim", width=10)
    table.add_column(justify="right", width=13)
    table.add_column()
    rows: list[tuple[str, int, str]] = [
        ("decoded", feed["messages"], f"messages, {format_rate(report.messages_per_second)} a second"),
        ("not used", feed["messages"] - feed["used"], _listed(report.stat.unused, "of the messages")),
        (
            "book",
            feed["book_updates"],
            f"updates; {feed['gaps']:,} gaps, {feed['gaps_lost']:,} of them lost; "
            f"{feed['stale_instruments']:,} books stale at the end",
        ),
        ("signals", signal["signals"], f"from {signal['evaluations']:,} evaluations"),
        ("approved", risk["approved"], "orders and cancels"),
        ("rejected", risk["rejected"], _listed(report.stat.rejects, "by risk")),
        (
            "sent",
            gateway["new_orders"],
            f"new; {gateway['replaces']:,} replaces, {gateway['cancels']:,} cancels",
        ),
        ("accepted", gateway["accepted"], f"by the venue; {gateway['rejected']:,} refused"),
        ("fills", gateway["fills"], f"of {gateway['filled_lots']:,} lots"),
        ("position", risk["position_lots"], f"lots; bought {risk['bought_lots']:,}, sold {risk['sold_lots']:,}"),
    ]
    if feed["packets"]:
        unused = report.stat.unused_packets
        rows.insert(0, ("received", feed["packets"], _listed(unused, "packets, not used") if unused else "packets"))
    for name, number, rest in rows:
        table.add_row(f" {name}", f"{number:,}", Text(rest, style="dim"))
    pnl = format_money(round(report.pnl_currency * 1e6), signed=True)
    style = "bold green" if report.pnl_currency > 0 else "bold red" if report.pnl_currency < 0 else "bold"
    table.add_row(" P&L", Text(pnl, style=style), Text("at the last reference prices", style="dim"))
    return table


def _listed(reasons: Mapping[str, int], heading: str) -> str:
    """ "by risk: 12 collar, 3 throttle", most frequent first."""
    if not reasons:
        return heading
    ordered = sorted(reasons.items(), key=lambda item: -item[1])
    return f"{heading}: " + ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in ordered)


def _spin_line(report: RunReport) -> Table:
    """The machine's own part, in the columns of the hops above it."""
    spin = report.spin
    assert spin is not None, "the caller looked"
    table = Table(box=None, show_header=False, padding=(0, 0, 0, 1))
    table.add_column(width=16)
    table.add_column(width=10)
    for _ in range(5):
        table.add_column(justify="right", width=7)
    spans = (spin.p50_ns, spin.p99_ns, spin.p999_ns, spin.max_ns)
    table.add_row(
        "an empty loop", "", *(format_ns(span) for span in spans), format_ns(lib.SPIN_DELAY_NS_MAX), style="dim"
    )
    return table


def _verdict_style(verdict: str) -> str:
    return "yellow" if "insufficient" in verdict else "green"

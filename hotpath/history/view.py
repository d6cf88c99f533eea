"""The figures of a run as a table on the terminal."""

from __future__ import annotations

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from ffi import lib
from hotpath.history.summary import RunSummary
from hotpath.screen import HOP_LABELS, format_ns, format_rate

WIDE = 96  # columns of the terminal


def print_summary(summary: RunSummary, *, json: bool, files: dict[str, str]) -> None:
    """To standard output; `files` are those that were written, by what they are."""
    if json:
        import msgspec

        print(msgspec.json.encode({**msgspec.to_builtins(summary), "files": files}).decode())
    else:
        console = Console(highlight=False)
        console.print(summary_view(summary, files, wide=console.width >= WIDE))


def summary_view(summary: RunSummary, files: dict[str, str], *, wide: bool) -> RenderableType:
    """Title, hops, rates, queues, money, and where the files are."""
    fine = summary.outcome in ("stopped", "finished")
    title = Text.assemble((" hotpath report ", "bold reverse"), " ", (summary.engine, "bold"), f"  {summary.topology}")
    title.append(f"  {summary.started} UTC  {summary.seconds:.1f} s  ", "dim")
    title.append(summary.outcome or "no end recorded", "green" if fine else "bold red" if summary.outcome else "yellow")
    parts: list[RenderableType] = [title, Text(), _hops(summary, wide=wide), Text(), _rates(summary)]
    if summary.spin is not None:
        sufficient = "insufficient" not in summary.spin.verdict
        parts.insert(3, Text(f" {summary.spin.verdict}", style="green" if sufficient else "yellow"))
    if summary.queues:
        parts += [Text(), _queues(summary)]
    money = summary.money
    style = "bold green" if money.last > 0 else "bold red" if money.last < 0 else "bold"
    parts += [
        Text(),
        Text.assemble(
            (" P&L ", "dim"), (f"{money.last:+,.2f}", style),
            (f"  best {money.best:+,.2f}, worst {money.worst:+,.2f}, largest fall {money.drawdown_max:,.2f}", "dim"),
        ),
    ]  # fmt: skip
    parts += [Text(f" note: {text}", style="yellow") for text in (*summary.notices, *summary.remarks)]
    if files:
        parts.append(Text())
    parts += [Text.assemble((f" {what:<11}", "dim"), path) for what, path in files.items()]
    return Group(*parts)


def _columns(table: Table, *names: str) -> Table:
    for name in names:
        table.add_column(name, justify="right")
    return table


def _hops(summary: RunSummary, *, wide: bool) -> Table:
    """The hops and, below them, what the machine itself did; p90 and p99.99 only where there is room."""
    table = Table(box=None, header_style="dim", padding=(0, 0, 0, 1))
    table.add_column("hop", width=16, no_wrap=True)
    _columns(
        table, "count", *(("p50", "p90", "p99", "p99.9", "p99.99", "max") if wide else ("p50", "p99", "p99.9", "max"))
    )
    table.add_column("budget", no_wrap=True)
    for name, hop in summary.hops.items():
        every = (hop.p50_ns, hop.p90_ns, hop.p99_ns, hop.p999_ns, hop.p9999_ns, hop.max_ns)
        spans = every if wide else (every[0], every[2], every[3], every[5])
        budget = Text("" if hop.budget_ns is None else format_ns(hop.budget_ns))
        if hop.within_budget is not None:
            budget.append(" ✓" if hop.within_budget else " ✗", "green" if hop.within_budget else "yellow")
        style = "bold" if name == "order_path" else ""
        table.add_row(
            HOP_LABELS.get(name, (name, ""))[0],
            f"{hop.count:,}",
            *(format_ns(each) for each in spans),
            budget,
            style=style,
        )
    if summary.spin is not None:
        spin = summary.spin
        p50, p99, p999, most = (format_ns(each) for each in (spin.p50_ns, spin.p99_ns, spin.p999_ns, spin.max_ns))
        cells = (p50, "", p99, p999, "", most) if wide else (p50, p99, p999, most)
        table.add_row("an empty loop", "", *cells, format_ns(lib.SPIN_DELAY_NS_MAX), style="dim")
    return table


def _rates(summary: RunSummary) -> Table:
    table = Table(box=None, header_style="dim", padding=(0, 0, 0, 1))
    table.add_column("", width=16)
    _columns(table, "in all", "a second", "at the busiest")
    for name, rate in summary.rates.items():
        table.add_row(name, f"{summary.totals[name]:,}", format_rate(rate.mean), format_rate(rate.peak))
    return table


def _queues(summary: RunSummary) -> Table:
    table = Table(box=None, header_style="dim", padding=(0, 0, 0, 1))
    table.add_column("queue", width=16)
    _columns(table, "behind at most", "of the ring", "lost")
    for name, queue in list(summary.queues.items())[:8]:
        part = f"{100 * queue.lag_max / queue.capacity:.2g} %" if queue.capacity else ""
        table.add_row(name, f"{queue.lag_max:,}", part, f"{queue.lost:,}")
    return table

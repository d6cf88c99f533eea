"""What `hotctl top`, `watch` and `status` show of one look at an engine: the panels, each a function of the snapshot.

Nothing is computed here that the snapshot holds; rates and sparklines are differences of looks (hotpath/screen.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hotpath.alerts import ALARM
from hotpath.market_stat import InstrumentStat, LimitStat
from hotpath.screen import (
    HOP_LABELS,
    OPTIONAL_HOPS,
    History,
    budget_mark,
    condition,
    format_elapsed,
    format_money,
    format_ns,
    format_rate,
    sparkline,
    stage_state,
    waiting,
)
from hotpath.stat import EngineStat, HopStat

SPARK = 14  # samples of a sparkline
BAR = 12  # cells of a limit's bar
MICROS = 1_000_000
LEFT_OUT = ("kernel", "wait")  # of the latency panel, when nothing was measured
WORK = {"feed": "messages", "signal": "events", "risk": "signals", "gateway": "commands"}


def table(*columns: str, right: Sequence[str] = ()) -> Table:
    """Aligned, without lines."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", no_wrap=True)
    return made


# ---- who, and whether it trades ---------------------------------------------------------------------


def headline(stat: EngineStat, *, target: str, note: Text | None = None) -> RenderableType:
    """One line: engine, condition, topology, how long."""
    line = Table.grid(expand=True)
    line.add_column(no_wrap=True)
    line.add_column(justify="right", no_wrap=True)
    left = Text.assemble((" hotpath ", "bold reverse"), " ", (stat.engine, "bold"), "  ", condition(stat))
    if note is not None:
        left = Text.assemble(left, "   ", note)
    right = Text.assemble(
        (f"{stat.topology}  {target}  ", "dim"), format_elapsed(max(0, stat.time_ns - stat.run_epoch)), " "
    )
    line.add_row(left, right)
    return line


def safety(stat: EngineStat) -> RenderableType:
    """The mode, every cause that stands, the kill, and what was switched off by scope."""
    lines = []
    mode = stat.mode.replace("_", " ")
    first = Text.assemble(("mode ", "dim"), (mode, "green" if stat.mode == "normal" else "bold yellow"))
    for cause, word in stat.mode_words.items():
        first.append(f"  {cause}: {word.replace('_', ' ')}", "yellow")
    if not stat.mode_words:
        first.append("  no cause stands", "dim")
    if stat.on_disconnect not in ("", "unknown"):  # "": from an older server
        first.append(f"  orders of a lost session: {stat.on_disconnect.replace('_', ' ')}", "dim")
    lines.append(first)
    if stat.kill is not None:
        kill = stat.kill
        state = ("effective", "green") if kill.effective else ("NOT EFFECTIVE YET", "bold red")
        lines.append(
            Text.assemble(
                (f"killed, epoch {kill.epoch}", "bold red"),
                "  ",
                state,
                (f"  {kill.orders_open:,} of {kill.orders_found:,} cancels are not confirmed", "dim"),
            )
        )
    lines += [Text.assemble((scope, "bold"), f" {words}", style="yellow") for scope, words in stat.switches.items()]
    return Group(*lines)


def isolation(stat: EngineStat) -> list[str]:
    """What stands behind one process boundary: a fault takes all of it, and nothing else."""
    together: dict[int, list[str]] = {}
    for name, stage in stat.stages.items():
        together.setdefault(stage.pid, []).append(name)
    found = []
    for pid, names in together.items():
        cpu = stat.stages[names[0]].cpu
        where = f"process {pid}, " + ("any processor" if cpu is None else f"processor {cpu}")
        found.append(f"{' + '.join(names)}  ({where})")
    return found


# ---- the path ---------------------------------------------------------------------------------------


def latency(stat: EngineStat, history: History) -> Table:
    """Each hop: what it took in the last second, how that moved, and over the whole run beside its budget."""
    shown = table("latency", "p50 now", "p99 now", "p99, looks", "p99 of run", "budget", "",
                  right=("p50 now", "p99 now", "p99 of run", "budget"))  # fmt: skip
    for name, hop in stat.hops.items():
        if not hop.count and name in (*OPTIONAL_HOPS, *LEFT_OUT):
            continue
        label, style = HOP_LABELS.get(name, (name, ""))
        line = sparkline(history.values(lambda each, name=name: _recent(each, name)), SPARK)  # type: ignore[misc]
        shown.add_row(
            Text(label, style),
            _span(hop.recent_p50_ns, hop.recent_count, style),
            _span(hop.recent_p99_ns, hop.recent_count, style),
            Text(line.rjust(SPARK), "cyan"),
            _span(hop.p99_ns, hop.count, style),
            Text(format_ns(hop.budget_ns) if hop.budget_ns is not None else "", "dim"),
            budget_mark(hop),
        )
    return shown


def _recent(stat: EngineStat, hop: str) -> float:
    found: HopStat | None = stat.hops.get(hop)
    return float(found.recent_p99_ns) if found is not None else 0.0


def _span(span_ns: int, count: int, style: str) -> Text:
    return Text(format_ns(span_ns) if count else "-", style)


def stages(stat: EngineStat, history: History) -> Table:
    """Each stage: alive, where, how fast, how busy, how far behind."""
    shown = table("stage", "state", "cpu", "a second", "last looks", "busy", "waiting",
                  right=("cpu", "a second", "busy", "waiting"))  # fmt: skip
    for name, stage in stat.stages.items():
        counter = WORK[name]
        rates = history.rates(lambda each, name=name, counter=counter: each.counter(name, counter))  # type: ignore[misc]
        turns = history.rates(lambda each, name=name: each.stages[name].turns)  # type: ignore[misc]
        idle = history.rates(lambda each, name=name: each.stages[name].idle_turns)  # type: ignore[misc]
        total = turns[-1] + idle[-1] if turns else 0
        shown.add_row(
            Text(name, "bold"),
            stage_state(stage, running=stat.state == "running"),
            "any" if stage.cpu is None else str(stage.cpu),
            format_rate(rates[-1]) if rates else "",
            Text(sparkline(rates, SPARK).rjust(SPARK), "cyan"),
            f"{turns[-1] / total:.0%}" if total else "",
            waiting(stat, name),
        )
    return shown


def rings(stat: EngineStat) -> Table:
    """How full each ring is, by the reader that is furthest behind."""
    shown = table("ring", "depth", "", "of", "full", "furthest behind", right=("depth", "of", "full"))
    for name, ring in stat.rings.items():
        readers = {each: reader.lag for each, reader in ring.readers.items() if reader.kind != "absent"}
        if not readers or name.startswith("seat."):
            continue
        slowest = max(readers, key=lambda each: readers[each])
        lag = readers[slowest]
        shown.add_row(
            name,
            f"{lag:,}",
            bar(lag / ring.capacity, 10),
            Text(f"{ring.capacity:,}", "dim"),
            Text(f"{ring.full_count:,}", "yellow" if ring.full_count else "dim"),
            Text(slowest if lag else "", "dim"),
        )
    return shown


# ---- orders and money -------------------------------------------------------------------------------


def flow(stat: EngineStat, history: History) -> Table:
    """What leaves and what comes back: totals, and how many a second now."""
    shown = table("orders", "total", "a second", "last looks", right=("total", "a second"))
    for label, stage, counter in (
        ("signals", "risk", "signals"),
        ("refused by risk", "risk", "rejected"),
        ("sent", "gateway", "new_orders"),
        ("fills", "gateway", "fills"),
        ("cancelled", "gateway", "canceled"),
        ("refused by venue", "gateway", "rejected"),
    ):
        rates = history.rates(lambda each, stage=stage, counter=counter: each.counter(stage, counter))  # type: ignore[misc]
        shown.add_row(
            label,
            f"{stat.counter(stage, counter):,}",
            format_rate(rates[-1]) if rates else "",
            Text(sparkline(rates, SPARK).rjust(SPARK), "cyan"),
        )
    return shown


def money(stat: EngineStat) -> Text:
    """Profit, gross, what is open."""
    pnl = stat.counter("risk", "pnl_micros")
    style = "bold green" if pnl > 0 else "bold red" if pnl < 0 else "bold"
    return Text.assemble(
        ("P&L ", "dim"), (format_money(pnl, signed=True), style),
        ("   gross ", "dim"), f"{stat.counter('risk', 'gross_value_micros') / MICROS:,.0f}",
        ("   open orders ", "dim"), f"{stat.counter('risk', 'open_orders'):,}",
        ("   session ", "dim"),
        ("up", "green") if stat.counter("gateway", "session_up") else ("down", "bold red"),
    )  # fmt: skip


def limits(stat: EngineStat, history: History) -> RenderableType:
    """How much of each limit is used, as a bar."""
    shown = table("limit", "used", "", "of", right=("used", "of"))
    for each in stat.limits:
        used = each.used
        if used is None:
            rates = history.rates(lambda look: look.counter("gateway", "commands"))
            used = rates[-1] if rates else 0.0
        name = each.name.removeprefix("firm.").removeprefix("instrument.").removesuffix("_max")  # which names its unit
        shown.add_row(
            name,
            _amount(used),
            bar(used / each.limit if each.limit else 1.0, BAR),
            Text(_amount(each.limit), "dim"),
        )
    if not stat.limits:
        shown.add_row("none is told", "", "", "")
    reasons = "  ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in list(stat.rejects.items())[:4])
    version = Text.assemble((f"version {stat.limits_version}", "dim"), (f"   refused: {reasons}" if reasons else ""))
    return Group(shown, version)


def _amount(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:,.1f}"


def bar(share: float, width: int) -> Text:
    """A share as a bar; yellow from 80 %, red past the whole."""
    full = min(width, max(0, round(share * width)))
    if share > 0 and full == 0:
        full = 1
    style = "bold red" if share > 1 else "yellow" if share >= 0.8 else "green"
    return Text.assemble(("█" * full, style), ("·" * (width - full), "dim"))


def instruments(stat: EngineStat, *, most: int) -> RenderableType:
    """Books, positions and open orders: what we hold or quote first."""
    numbers = ("bid", "ask", "lots", "lots ", "position", "of limit", "P&L", "orders", "to buy", "to sell")
    shown = table("instrument", "lots", "bid", "ask", "lots ", "position", "of limit", "P&L", "orders", "to buy",
                  "to sell", right=numbers)  # fmt: skip
    for each in stat.market[:most]:
        known = stat.positions_known
        profit = each.realised_micros + each.unrealised_micros
        style = "green" if profit > 0 else "red" if profit < 0 else "dim"
        shown.add_row(
            Text(each.symbol, "bold" if each.position_lots or each.open_orders else ""),
            Text(f"{each.bid_lots:,}" if each.bid_price_ticks else "", "dim"),
            _price(each, each.bid_price_ticks),
            _price(each, each.ask_price_ticks),
            Text(f"{each.ask_lots:,}" if each.ask_price_ticks else "", "dim"),
            (f"{each.position_lots:+,}" if each.position_lots else "0") if known else "?",
            bar(abs(each.position_lots) / each.position_lots_max, 8) if known and each.position_lots_max else "",
            Text(format_money(profit, signed=True) if known else "?", style),
            f"{each.open_orders:,}" if known else "?",
            f"{each.open_buy_lots:,}" if each.open_buy_lots else "",
            f"{each.open_sell_lots:,}" if each.open_sell_lots else "",
        )
    if stat.positions_known:
        return shown
    note = "positions and open orders are not known here: whoever looks came after the ring of executions went round"
    return Group(shown, Text(note, "dim"))


def _price(each: InstrumentStat, ticks: int) -> str:
    return f"{ticks * each.tick_value_micros / MICROS:,.4f}".removesuffix("00") if ticks else "-"


def alerts(stat: EngineStat, *, most: int = 12) -> RenderableType:
    """What an operator should know at once."""
    if not stat.alerts:
        return Text("nothing is wrong", "green")
    lines = [
        Text.assemble(
            ("✗ " if each.level == ALARM else "▲ ", "bold red" if each.level == ALARM else "yellow"),
            (each.about, "bold"),
            f" {each.text}",
        )
        for each in stat.alerts[:most]
    ]
    if len(stat.alerts) > most:
        lines.append(Text(f"and {len(stat.alerts) - most} more", "dim"))
    return Group(*lines)


def limit_line(each: LimitStat) -> str:
    """One limit in words."""
    return f"{each.name}: {'?' if each.used is None else _amount(each.used)} of {_amount(each.limit)} {each.unit}"

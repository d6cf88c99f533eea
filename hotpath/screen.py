"""The live screen of `hotpath stat --watch` and of the demo: one engine on 24 lines of a terminal.

It shows, from top to bottom, what matters in the order in which it is asked: is it trading, is every
stage alive and keeping up, how long does each hop take against its budget, what became of the orders.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ffi import lib
from hotpath.seat_stat import SeatStat
from hotpath.stat import EngineStat, EngineView, HopStat, JournalStat, RestartStat, StageStat

SAMPLES = 10  # of each sparkline
SILENT_NS = 1_000_000_000  # a stage that has not turned for so long is not well
BARS = " ▁▂▃▄▅▆▇█"
WORK = {  # what a stage's events are
    "feed": ("messages", "messages"),
    "signal": ("events", "events"),
    "risk": ("signals", "signals"),
    "gateway": ("commands", "orders"),
}
OPTIONAL_HOPS = {"kernel", "order_sync"}  # recorded only where the configuration asks for it
HOP_LABELS = {
    "kernel": ("kernel to memory", "dim"),
    "wait": ("wait in packet", "dim"),
    "feed": ("feed, all events", ""),
    "order_feed": ("order: feed", ""),
    "order_signal": ("order: signal", ""),
    "order_risk": ("order: risk", ""),
    "order_gateway": ("order: gateway", ""),
    "order_path": ("order: T0 to T1", "bold"),
    "order_sync": ("order: on disk", ""),
    "ack": ("venue's answer", "dim"),
}


class History:
    """The last snapshots: what rates and sparklines are made from."""

    def __init__(self, samples: int = SAMPLES) -> None:
        self._stats: deque[EngineStat] = deque(maxlen=samples + 1)

    def add(self, stat: EngineStat) -> None:
        """Remember one snapshot; a run that began anew forgets the one before."""
        if self._stats and self._stats[-1].run_epoch != stat.run_epoch:
            self._stats.clear()
        self._stats.append(stat)

    def rates(self, value: Callable[[EngineStat], int]) -> list[float]:
        """Per second, oldest first; empty until there are two snapshots."""
        pairs = zip(self._stats, list(self._stats)[1:], strict=False)
        return [max(0, value(b) - value(a)) / max(1e-9, (b.time_ns - a.time_ns) / 1e9) for a, b in pairs]

    def values(self, value: Callable[[EngineStat], float]) -> list[float]:
        """What it was, oldest first."""
        return [value(each) for each in self._stats]


def render(stat: EngineStat, history: History) -> RenderableType:
    """One screen."""
    return Group(
        header(stat),
        Text(),
        stage_table(stat, history),
        Text(),
        hop_table(stat.hops),
        Text(),
        outcome_table(stat),
        *_seat_lines(stat.seats),
    )


def header(stat: EngineStat) -> RenderableType:
    """Who, in which state, for how long."""
    line = Table.grid(expand=True)
    line.add_column(no_wrap=True)
    line.add_column(justify="right", no_wrap=True)
    left = Text.assemble((" hotpath ", "bold reverse"), " ", (stat.engine, "bold"), "  ", condition(stat))
    noun = "instrument" if stat.instruments == 1 else "instruments"
    right = Text(f"{stat.topology}  {stat.instruments:,} {noun}  ", style="dim")
    right.append(format_elapsed(stat.time_ns - stat.run_epoch if stat.state == "running" else _last_heard(stat)), "")
    line.add_row(left, right)
    return line


def condition(stat: EngineStat) -> Text:
    """The one word that an operator looks for."""
    if stat.state == "dead":
        return Text("✗ dead", style="bold red")
    if stat.state == "stopped":
        return Text("○ stopped", style="bold")
    failed = [name for name, stage in stat.stages.items() if stage.state == "failed"]
    if failed:
        return Text(f"✗ {failed[0]} failed", style="bold red")
    if stat.killed:
        return Text(f"■ killed (epoch {stat.kill_epoch})", style="bold red")
    if stat.mode != "normal":
        by = ", ".join(name for name, word in stat.mode_words.items() if word == stat.mode)
        return Text(f"▲ {stat.mode.replace('_', ' ')} (by {by})", style="bold yellow")
    return Text("● trading", style="bold green")


def stage_table(stat: EngineStat, history: History) -> Table:
    """Each stage: alive, where, how much, how fast, how far behind."""
    table = _table()
    table.add_column("stage", width=8)
    table.add_column("state", width=8, no_wrap=True)
    table.add_column("cpu", justify="right", width=3)
    table.add_column("done", justify="right", width=19)
    table.add_column("a second", justify="right", width=8)
    table.add_column("", width=SAMPLES)
    table.add_column("busy", justify="right", width=4)
    table.add_column("waiting", justify="right", width=7)
    for name, stage in stat.stages.items():
        counter, noun = WORK[name]
        rates = history.rates(lambda each, name=name, counter=counter: each.counter(name, counter))  # type: ignore[misc]
        turns = history.rates(lambda each, name=name: each.stages[name].turns)  # type: ignore[misc]
        idle = history.rates(lambda each, name=name: each.stages[name].idle_turns)  # type: ignore[misc]
        total = turns[-1] + idle[-1] if turns else 0
        table.add_row(
            Text(name, style="bold"),
            stage_state(stage, running=stat.state == "running"),
            "any" if stage.cpu is None else str(stage.cpu),
            f"{stage.counters.get(counter, 0):,} {noun:<8}",
            format_rate(rates[-1]) if rates else "",
            Text(sparkline(rates), style="cyan"),
            f"{turns[-1] / total:.0%}" if total else "",
            waiting(stat, name),
        )
    return table


def stage_state(stage: StageStat, *, running: bool) -> Text:
    """The stage's own word, unless it has gone silent or died since it said so."""
    if stage.state == "failed":
        return Text("failed", style="bold red")
    if stage.state in ("absent", "stopped") or not running:
        return Text(stage.state if stage.state in ("absent", "stopped") else "dead", style="dim")
    if not stage.alive:
        return Text("dead", style="bold red")
    if stage.heartbeat_age_ns is not None and stage.heartbeat_age_ns > SILENT_NS:
        return Text("silent", style="bold red")
    return Text(stage.state, style="green" if stage.state == "ready" else "yellow")


def waiting(stat: EngineStat, stage: str) -> Text:
    """Events that stand in the stage's fullest input ring; yellow past a quarter of it."""
    lags = [(ring.readers[stage].lag, ring.capacity) for ring in stat.rings.values() if stage in ring.readers]
    if not lags:
        return Text("")
    lag, capacity = max(lags, key=lambda each: each[0] / each[1])
    return Text(f"{lag:,}", style="bold yellow" if lag * 4 > capacity else "")


def hop_table(hops: dict[str, HopStat]) -> Table:
    """Each hop over the whole run, beside its budget."""
    table = _table()
    table.add_column("hop", width=16)
    table.add_column("count", justify="right", width=10)
    for name in ("p50", "p99", "p99.9", "max"):
        table.add_column(name, justify="right", width=7)
    table.add_column("budget", justify="right", width=7)
    table.add_column("", width=6)
    for name, hop in hops.items():
        if name in OPTIONAL_HOPS and not hop.count:
            continue
        label, style = HOP_LABELS.get(name, (name, ""))
        spans = (hop.p50_ns, hop.p99_ns, hop.p999_ns, hop.max_ns)
        table.add_row(
            Text(label, style=style),
            Text(f"{hop.count:,}", style="dim"),
            *(Text(format_ns(span) if hop.count else "-", style=style) for span in spans),
            Text(format_ns(hop.budget_ns) if hop.budget_ns is not None else "", style="dim"),
            budget_mark(hop),
        )
    return table


def budget_mark(hop: HopStat) -> Text:
    """How the p99 stands to its budget."""
    within = hop.within_budget
    if within is None or hop.budget_ns is None:
        return Text("")
    if within:
        return Text("✓", style="green")
    times = hop.p99_ns / hop.budget_ns
    shown = f"{times:.1f}" if times < 9.95 else f"{times:.0f}" if times < 99.5 else ">99"
    return Text(f"✗ {shown}x", style="yellow")


def _seat_lines(seats: dict[str, SeatStat]) -> list[RenderableType]:
    return [Text(), seat_table(seats)] if seats else []


def seat_table(seats: dict[str, SeatStat]) -> Table:
    """Who sits beside the path, and what became of it."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in (" seat", "state", "open", "requests", "refused", "answer p50", "p99", "cuts"):
        table.add_column(column, justify="left" if column in (" seat", "state") else "right", no_wrap=True)
    styles = {"taken": "green", "cut_off": "bold red", "empty": "dim"}
    for name, seat in seats.items():
        state = seat.state.replace("_", " ") + (f": {seat.reason}" if seat.reason else "")
        spans = [format_ns(span) if seat.answers else "" for span in (seat.answer_p50_ns, seat.answer_p99_ns)]
        counts = [f"{number:,}" for number in (seat.open_orders, seat.requests, seat.refused)]
        table.add_row(f" {name}", Text(state, styles.get(seat.state, "")), *counts, *spans, f"{seat.cuts:,}")
    return table


def _both_sides(counters: dict[str, int]) -> Text:
    """The venue's own report beside the engine's."""
    confirmed, up = counters["confirmed"], counters["copy_up"]
    return _facts(
        Text("reconciled", "green") if confirmed and up else Text("not reconciled", "bold red"),
        _fact("executions", counters["matched"]),
        _fact("on one side so far", counters["waiting"], "yellow"),
        _fact("comparisons", counters["comparisons"]),
        _alarm("BREAKS", counters["breaks"]),
        _alarm("missed", counters["lost"]),
    )


def _intents(promise: int) -> Text:
    """What an intent survives, where it is not the default: the death of its process."""
    if promise == lib.INTENT_PROMISE_POWER:
        return Text("intents on disk first", "green")
    return Text("a sync of the intents failed", "bold red") if promise == lib.INTENT_PROMISE_BROKEN else Text("")


def outcome_table(stat: EngineStat) -> Table:
    """What became of it all, a line for each question."""
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(style="dim", width=8)
    table.add_column()
    count = stat.counter
    stale, session = count("feed", "stale"), count("gateway", "session_up")
    table.add_row(
        " market",
        _facts(
            _books(stale, count("feed", "stale_instruments")),
            _fact("updates", count("feed", "book_updates")),
            _fact("live orders", count("feed", "live_orders")),
            _fact("gaps", count("feed", "gaps"), "yellow"),
            _alarm("lost", count("feed", "gaps_lost")),
            _alarm("malformed", count("feed", "packets_malformed")),
            _alarm("diverged", count("feed", "divergences")),
            _fact("snapshots", count("feed", "snapshots")) if count("feed", "snapshots") else Text(""),
            _alarm("snapshots failed", count("feed", "snapshot_failures")),
            _alarm("silent line", count("feed", "a_silent") + count("feed", "b_silent")),
        ),
    )
    if stat.unused:
        table.add_row(
            " not used",
            _facts(*(_fact(reason.replace("_", " "), number, "yellow") for reason, number in stat.unused.items())),
        )
    table.add_row(
        " orders",
        _facts(
            Text("session up", "green") if session else Text("session down", "bold red"),
            _fact("sent", count("gateway", "new_orders")),
            _fact("fills", count("gateway", "fills")),
            _fact("canceled", count("gateway", "canceled")),
            _fact("open", count("risk", "open_orders")),
            _alarm("of unknown fate", max(0, count("gateway", "unknown") - count("gateway", "settled"))),
            _intents(count("gateway", "promise")),
        ),
    )
    reasons = list(stat.rejects.items())
    others = sum(number for _, number in reasons[4:])
    table.add_row(
        " refused",
        _facts(
            _fact("by risk", count("risk", "rejected"), "yellow"),
            _fact("by gateway", count("gateway", "refused"), "yellow"),
            _fact("by venue", count("gateway", "rejected"), "yellow"),
        ),
    )
    table.add_row(
        " reasons",
        _facts(
            *(_fact(reason.replace("_", " "), number, "yellow") for reason, number in reasons[:4]),
            _fact("other", others, "yellow") if others else Text(""),
        )
        or Text("none", "dim"),
    )
    if "reconcile" in stat.sides:
        table.add_row(" both sides", _both_sides(stat.sides["reconcile"].counters))
    pnl = count("risk", "pnl_micros")
    table.add_row(
        " account",
        _facts(
            Text.assemble(("P&L ", "dim"), (format_money(pnl, signed=True), _sign_style(pnl))),
            Text.assemble(("position ", "dim"), f"{count('risk', 'position_lots'):,}"),
            Text.assemble(("gross ", "dim"), f"{count('risk', 'gross_value_micros') / 1e6:,.0f}"),
            _fact("bought", count("risk", "bought_lots")),
            _fact("sold", count("risk", "sold_lots")),
        ),
    )
    for name, side in stat.sides.items():
        facts = _side_facts(side)
        if name == "journal" and stat.journal is not None:
            facts = _facts(facts, *_journal_facts(stat.journal))
        if name == "projector":
            facts = _facts(facts, *_projector_facts(side.counters))
        table.add_row(f" {name}", facts)
    rebuilt = {stage.pid: stage.restart for stage in stat.stages.values() if stage.restart is not None}
    for pid, restart in rebuilt.items():
        stages = [name for name, stage in stat.stages.items() if stage.pid == pid]
        table.add_row(" rebuilt", _restart_facts(", ".join(stages), restart))
    return table


def _journal_facts(journal: JournalStat) -> list[Text]:
    """How far it is behind, when the disk has what, and what a loss of power would cost."""
    behind = Text.assemble(("behind ", "dim"), f"{journal.lag_events:,}")
    if journal.lag_share > 0.25:
        behind = Text(f"behind {journal.lag_events:,} in {journal.lag_ring}", "bold yellow")
    policy = {
        "interval": f"synced every {format_ns(journal.interval_ns).strip()}",
        "batch": "synced before release",
        "none": "not synced",
    }.get(journal.sync, journal.sync)
    window = "all of it" if journal.loss_window_ns is None else f"the last {format_ns(journal.loss_window_ns).strip()}"
    facts = [behind, Text(policy, "dim")]
    if journal.sync == "batch":
        window = "nothing acknowledged"
    elif journal.sync == "none":
        window = "what the system has not written"
    facts.append(Text.assemble(("power loss costs ", "dim"), window))
    if journal.space != "enough":
        facts.append(Text(f"{journal.free_bytes >> 20:,} MiB left", "bold red"))
    return facts


def _projector_facts(counters: dict[str, int]) -> list[Text]:
    """How far the tables are behind the journal, and whether the database answers."""
    behind = Text.assemble(("behind ", "dim"), f"{counters['lag_events']:,} events")
    if counters["lag_events"]:
        behind.append(f", {format_ns(counters['lag_ms'] * 1_000_000).strip()}")
    up = Text("") if counters["up"] else Text("the database does not answer", "bold red")
    return [behind, up, _fact("outages", counters["outages"], "yellow")]


def _restart_facts(stages: str, restart: RestartStat) -> Text:
    """How often the stages of a process were made again, and what the last time went to."""
    total = sum(restart.spans_ns.values())
    parts = ", ".join(f"{name} {format_ns(span)}" for name, span in restart.spans_ns.items() if span >= total // 100)
    return _facts(
        Text(f"{stages}: {restart.count}", style="yellow"),
        Text(f"last {format_ns(total)}: {parts}; {restart.turns:,} turns", style="dim"),
    )


def _side_facts(side: StageStat) -> Text:
    """A process beside the path: whether it lives, and what it counted."""
    lives = Text("running", "green") if side.alive else Text(side.state, "bold red")
    refused = sum(number for name, number in side.counters.items() if name.startswith("refused_"))
    shown = ("events", "messages", "frames", "sessions", "senders_live")
    lost = ("lost", "gap_messages", "silences", "stale")
    return _facts(
        lives,
        *(_fact(name.replace("_", " "), side.counters[name]) for name in shown if name in side.counters),
        *(_alarm(name.replace("_", " "), side.counters[name]) for name in lost if name in side.counters),
        _alarm("refused", refused),
    )


class LiveScreen:
    """The screen of one engine, drawn in place; `refresh` may be called as often as one likes."""

    def __init__(self, engine: str, *, interval_seconds: float) -> None:
        self.engine = engine
        self.console = Console()
        self.history = History()
        self._interval = interval_seconds
        self._due = 0.0
        self._view: EngineView | None = None
        self._live = Live(console=self.console, screen=self.console.is_terminal, auto_refresh=False, transient=True)

    def __enter__(self) -> LiveScreen:
        self._live.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.__exit__(None, None, None)

    def refresh(self) -> EngineStat | None:
        """Draw what the engine does now, when it is time to; None when nothing was drawn."""
        now = time.monotonic()
        if now < self._due:
            return None
        self._due = now + self._interval
        if self._view is not None and self._view.replaced:
            self._view.close()
            self._view = None
        if self._view is None:
            self._view = EngineView(self.engine)
        stat = self._view.snapshot()
        self.history.add(stat)
        if self.console.is_terminal:
            self._live.update(render(stat, self.history), refresh=True)
        return stat


@contextmanager
def live_screen(engine: str, *, interval_seconds: float = 0.25) -> Iterator[Callable[[], None]]:
    """The screen while a supervisor watches: call what this gives in its loop. Draws nothing off a terminal."""
    with LiveScreen(engine, interval_seconds=interval_seconds) as screen:

        def refresh() -> None:
            screen.refresh()

        yield refresh


def watch(engine: str, *, interval_seconds: float = 0.5) -> None:
    """Show the screen until Ctrl-C or the engine's end, and leave the last look standing."""
    stat = None
    with LiveScreen(engine, interval_seconds=interval_seconds) as screen:
        try:
            while stat is None or stat.state == "running":
                stat = screen.refresh() or stat
                time.sleep(interval_seconds / 4)
        except KeyboardInterrupt:
            pass
    if stat is not None:
        screen.console.print(render(stat, screen.history))


def show(view: EngineView) -> None:
    """Print one look; two, a little apart, so that rates can be told of a running engine."""
    history = History()
    stat = view.snapshot()
    history.add(stat)
    if stat.state == "running":
        time.sleep(0.25)
        stat = view.snapshot()
        history.add(stat)
    Console(file=sys.stdout).print(render(stat, history))


def sparkline(values: list[float], width: int = SAMPLES) -> str:
    """Bars from nothing to the greatest of the values, the newest at the right."""
    top = max(values, default=0.0)
    if top <= 0:
        return ""
    return "".join(BARS[min(8, int(value / top * 8 + 0.999))] for value in values[-width:]).rjust(width)


def format_ns(span_ns: int) -> str:
    """Three significant digits and a unit of two characters: 85 ns, 1.20 us, 34.0 ms, 2.50 s."""
    if span_ns < 1000:
        return f"{span_ns} ns"
    value, unit = span_ns / 1e3, "us"
    if value >= 999.5:
        value, unit = value / 1e3, "ms"
    if value >= 999.5:
        value, unit = value / 1e3, "s "
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{digits}f} {unit}"


def format_rate(per_second: float) -> str:
    """20, 1.2 k, 34 k, 5.1 M."""
    value, unit = per_second, ""
    if value >= 999.5:
        value, unit = value / 1e3, " k"
    if value >= 999.5:
        value, unit = value / 1e3, " M"
    return f"{value:.1f}{unit}" if unit and value < 9.95 else f"{value:.0f}{unit}"


def format_money(micros: int, *, signed: bool = False) -> str:
    """Millionths of the currency, with two decimals."""
    return f"{micros / 1e6:{'+' if signed and micros else ''},.2f}"


def format_elapsed(span_ns: int) -> str:
    """0:12, 12:05, 3:04:05."""
    seconds = max(0, span_ns) // 1_000_000_000
    hours, minutes = seconds // 3600, seconds // 60 % 60
    return f"{hours}:{minutes:02}:{seconds % 60:02}" if hours else f"{minutes}:{seconds % 60:02}"


def _last_heard(stat: EngineStat) -> int:
    """How long a run that is over had lasted, by its last heartbeat."""
    ages = [stage.heartbeat_age_ns for stage in stat.stages.values() if stage.heartbeat_age_ns is not None]
    return stat.time_ns - min(ages, default=stat.time_ns - stat.run_epoch) - stat.run_epoch


def _table() -> Table:
    return Table(box=None, header_style="dim", padding=(0, 0, 0, 1))


def _books(stale: int, stale_instruments: int) -> Text:
    """Whether the books can be believed: all of them, none, or all but some."""
    if stale:
        return Text("books stale", "bold red")
    if stale_instruments:
        return Text(f"{stale_instruments:,} books stale", "bold yellow")
    return Text("books whole", "green")


def _fact(name: str, number: int, style: str = "") -> Text:
    """ "12 gaps", in its colour when it is not 0."""
    return Text.assemble((f"{number:,}", style if number else ""), (f" {name}", "dim"))


def _alarm(name: str, number: int) -> Text:
    """A fact that is shown only when there is something to be alarmed about."""
    return _fact(name, number, "bold red") if number else Text("")


def _facts(*facts: Text) -> Text:
    """Facts on one line, the empty ones left out."""
    return Text("  ").join([fact for fact in facts if fact])


def _sign_style(value: int) -> str:
    return "bold green" if value > 0 else "bold red" if value < 0 else "bold"

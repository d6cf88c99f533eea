"""What an engine is doing, read from its segments: counters, histograms, rings, modes.

    /dev/shm/hotpath.<engine>.*  --read only-->  EngineView.snapshot() -> EngineStat --> JSON or screen

Nothing here can disturb an engine: segments are mapped read-only and no word of theirs is written. The
engine may be running, stopped or dead; rates are differences between two snapshots, taken here.
"""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from msgspec import Struct
from msgspec.structs import replace

from ffi import ffi, lib
from ffi.dtypes import counter_names, enum_names
from hotpath import histograms, segments
from hotpath.alerts import AlertStat, alerts_of
from hotpath.control.causes import active_causes
from hotpath.control.disconnect import behaviour_names
from hotpath.errors import SegmentMismatchError, SegmentMissingError
from hotpath.market_stat import InstrumentStat, LimitStat, MarketView
from hotpath.seat_stat import SeatStat, SeatsView
from hotpath.segments import Segment
from hotpath.topology import (
    CLOCK_SEGMENT,
    CONTROL_SEGMENT,
    INSTRUMENTS_SEGMENT,
    STAGES,
    hops_segment,
    page_segment,
    ring_table,
    side_segment,
)

# Budgets of the hops, p99 in ns (ARCHITECTURE, section 9), and of the whole path by processes.
# The disk's own, where gateway.durability = "power": measured, docs/gateway.md.
SYNC_BUDGET_NS = 1_000_000
HOP_BUDGET_NS = {
    "order_feed": 300,
    "order_signal": 400,
    "order_risk": 150,
    "order_gateway": 300,
    "order_sync": SYNC_BUDGET_NS,
}
PATH_BUDGET_NS = {1: 1500, 2: 2000, 4: 2500}
GAUGES = {
    "feed": {
        "stale",
        "live_orders",
        "stale_instruments",
        "snapshot_held",
        "snapshot_state",
        "packets_held",
        "a_lost",
        "a_silent",
        "b_lost",
        "b_silent",
        "recovery_waits",
    },
    "signal": set[str](),
    "risk": {"open_orders", "position_lots", "gross_value_micros", "cash_micros", "pnl_micros", "mode"},
    "gateway": {"session_up", "open_orders", "promise", "adopting"},
}
# Why the feed did not use a message: messages = used + these (docs/feed.md).
UNUSED_REASONS = (
    "unknown_type",
    "bad_message",
    "unknown_instrument",
    "filtered",
    "unknown_order",
    "duplicate_order",
    "book_full",
    "bad_event",
)
# Why the line did not use a packet: packets = packets_used + heartbeats + packets_held + these (docs/feed.md).
UNUSED_PACKETS = (
    "packets_duplicate",
    "packets_malformed",
    "packets_other_session",
    "packets_old_session",
    "packets_unbelieved",
    "packets_no_stash",
    "packets_no_room",
    "packets_wrong_answer",
    "packets_left",
)
RECENT_SECONDS = 1.0  # that the recent spans of a hop go back, at least
SIDES = ("journal", "tap", "ingress", "reconcile", "projector")
SIGNED = {"cash_micros", "pnl_micros", "position_lots", "gross_value_micros"}


class RestartStat(Struct, frozen=True):
    """How a stage was made again after its process had died; of the last time that it was."""

    count: int
    turns: int  # that were made again
    spans_ns: dict[str, int]  # by enum restart_phase


class StageStat(Struct, frozen=True):
    """The page of one stage, or of a process beside the path."""

    state: str
    pid: int
    cpu: int | None
    alive: bool
    heartbeat_age_ns: int | None  # None before the first turn
    turns: int
    idle_turns: int
    rss_bytes: int  # of the process that runs it; 0 when it is gone
    error: str
    counters: dict[str, int]
    restart: RestartStat | None = None  # None: its process is the first


class HopStat(Struct, frozen=True):
    """One hop's histogram over the whole run; spans in ns."""

    count: int
    p50_ns: int
    p99_ns: int
    p999_ns: int
    max_ns: int
    budget_ns: int | None  # of the p99
    recent_count: int = 0  # of the last second or two, while somebody looks; 0: nothing, or this is the first look
    recent_p50_ns: int = 0
    recent_p99_ns: int = 0

    @property
    def within_budget(self) -> bool | None:
        """None where there is no budget or nothing was measured."""
        return self.p99_ns <= self.budget_ns if self.budget_ns is not None and self.count else None


class ReaderStat(Struct, frozen=True):
    """One reader of a ring."""

    kind: str  # "gating" or "observer"
    lag: int  # events published that it has not read
    lost: int


class RingStat(Struct, frozen=True):
    """One ring."""

    writer: str
    capacity: int
    published: int
    full_count: int
    readers: dict[str, ReaderStat]


class JournalStat(Struct, frozen=True):
    """What the journal would lose, and how far it is behind."""

    sync: str  # "none", "interval" or "batch"
    interval_ns: int
    loss_window_ns: int | None  # a loss of power now costs what was written since; None: nothing was synced yet
    sync_ns_last: int
    sync_ns_max: int
    lag_events: int  # of the ring in which it is furthest behind
    lag_share: float  # of that ring
    lag_ring: str
    lost: int
    free_bytes: int  # of its disk
    space: str  # "enough", "low" or "out"


class KillStat(Struct, frozen=True):
    """The kill that stands."""

    epoch: int
    effective: bool  # no byte of a new order or replacement can leave any more
    in_flight_bytes: int  # of orders that had been sent when it came; 0 once effective
    orders_found: int  # open when it came
    orders_open: int  # of them, whose cancels are not yet confirmed
    latch: str  # the file that keeps it over restarts


class EngineStat(Struct, frozen=True):
    """One look at an engine."""

    engine: str
    state: str  # "running", "stopped" or "dead"
    topology: str
    run_epoch: int  # ns: when the run began
    time_ns: int  # of this look, engine clock
    clock: str
    clock_frequency_hz: int
    killed: bool
    kill_epoch: int
    mode: str
    mode_words: dict[str, str]  # by cause (docs/modes.md): every one that stands
    instruments: int
    stages: dict[str, StageStat]
    hops: dict[str, HopStat]
    rings: dict[str, RingStat]
    seats: dict[str, SeatStat] = {}  # msgspec copies it; by name, in the order of their indices
    sides: dict[str, StageStat] = {}  # the processes beside the path that this run has: SIDES
    journal: JournalStat | None = None  # None: this run keeps none
    kill: KillStat | None = None  # None: it is armed
    market: list[InstrumentStat] = []  # those that we hold or quote first, then those that moved last
    positions_known: bool = False  # of every execution since the run began: else positions and open orders are not told
    limits: list[LimitStat] = []
    limits_version: int = 0
    switches: dict[str, str] = {}  # scopes that people switched off, as "instrument.GOOG": "killed"
    alerts: list[AlertStat] = []  # worst first
    on_disconnect: str = "unknown"  # what becomes of open orders when the venue session ends (docs/kill.md)

    def counter(self, stage: str, name: str) -> int:
        """A counter by its name, 0 when the stage has not been seen."""
        return self.stages[stage].counters.get(name, 0) if stage in self.stages else 0

    @property
    def unused(self) -> dict[str, int]:
        """Messages that the feed did not use, by reason, those that happened, most frequent first."""
        return self._of_feed(UNUSED_REASONS)

    @property
    def unused_packets(self) -> dict[str, int]:
        """Packets that the line did not use, by reason, those that happened, most frequent first."""
        return {name.removeprefix("packets_"): count for name, count in self._of_feed(UNUSED_PACKETS).items()}

    def _of_feed(self, names: tuple[str, ...]) -> dict[str, int]:
        found = {name: count for name in names if (count := self.counter("feed", name))}
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    @property
    def rejects(self) -> dict[str, int]:
        """Risk's rejects by reason, those that happened, most frequent first."""
        counters = self.stages["risk"].counters if "risk" in self.stages else {}
        found = {
            name.removeprefix("reject_"): count
            for name, count in counters.items()
            if name.startswith("reject_") and count
        }
        return dict(sorted(found.items(), key=lambda item: -item[1]))


def _journal_stat(counters: dict[str, int], rings: dict[str, RingStat], now_ns: int) -> JournalStat:
    lags = {name: ring.readers["journal"].lag for name, ring in rings.items() if "journal" in ring.readers}
    worst = max(lags, key=lambda name: lags[name] / rings[name].capacity, default="")
    synced_ns = counters["synced_time_ns"]
    return JournalStat(
        sync=_short_names("journal_policy", "journal_sync_").get(counters["policy"], "?"),
        interval_ns=counters["interval_ns"],
        loss_window_ns=max(0, now_ns - synced_ns) if synced_ns else None,
        sync_ns_last=counters["sync_ns_last"],
        sync_ns_max=counters["sync_ns_max"],
        lag_events=lags.get(worst, 0),
        lag_share=lags[worst] / rings[worst].capacity if worst else 0.0,
        lag_ring=worst,
        lost=counters["lost"],
        free_bytes=counters["free_bytes"],
        space=_short_names("journal_space", "journal_space_").get(counters["space"], "?"),
    )


class EngineView:
    """The mapped segments of one engine, read-only. Stays readable after the engine has removed them."""

    def __init__(self, engine: str) -> None:
        self.engine = engine
        self._control = self._attach(CONTROL_SEGMENT, lib.SEGMENT_CONTROL)
        self._clock = self._attach(CLOCK_SEGMENT, lib.SEGMENT_CLOCK)
        self._instruments = self._attach(INSTRUMENTS_SEGMENT, lib.SEGMENT_INSTRUMENTS)
        self._pages = {stage: self._attach(page_segment(stage), lib.SEGMENT_STAGE) for stage in STAGES}
        self._hops = {stage: self._attach(hops_segment(stage), lib.SEGMENT_HISTOGRAMS) for stage in STAGES}
        self._seats = SeatsView(engine)
        self._market = MarketView(engine)
        self._past: deque[tuple[float, dict[str, histograms.Histogram]]] = deque()  # hops as they stood, by time
        self._sides = self._attach_all({side: side_segment(side) for side in SIDES}, lib.SEGMENT_STAGE)
        # The largest table there is; this engine may have been configured without some of it.
        table = ring_table(paper=True, journal=True, tap=True, ingress=True)
        self._writers = {ring.name: ring.writer for ring in table}
        self._rings = self._attach_all({ring.name: ring.name for ring in table}, lib.SEGMENT_RING)
        self._cursors = {
            ring.name: self._attach_all(
                {reader: ring.cursor(reader) for reader in (*ring.gating, *ring.observers)}, lib.SEGMENT_CURSOR
            )
            for ring in table
        }

    def _attach(self, segment: str, kind: int) -> Segment:
        return segments.attach(self.engine, segment, kind, allow_dead=True)

    def _attach_all(self, names: dict[str, str], kind: int) -> dict[str, Segment]:
        """Those of the named segments that exist."""
        found = {}
        for key, segment in names.items():
            try:
                found[key] = self._attach(segment, kind)
            except SegmentMissingError:
                continue
        return found

    @property
    def replaced(self) -> bool:
        """True when another run of the same name has begun: this view shows the one before."""
        try:
            return self._attach(CONTROL_SEGMENT, lib.SEGMENT_CONTROL).info.run_epoch != self._control.info.run_epoch
        except (SegmentMissingError, SegmentMismatchError):
            return False

    def close(self) -> None:
        """Unmap everything."""
        cursors = [cursor for readers in self._cursors.values() for cursor in readers.values()]
        self._seats.close()
        self._market.close()
        for segment in [
            self._control,
            self._clock,
            self._instruments,
            *self._pages.values(),
            *self._sides.values(),
            *self._hops.values(),
            *self._rings.values(),
            *cursors,
        ]:
            segment.close()

    def _kill(self) -> KillStat:
        page = self._control.cast("control_page *")
        epoch = int(page.kill_epoch)
        return KillStat(
            epoch=epoch,
            effective=bool(lib.control_effective(page, epoch)),
            in_flight_bytes=int(page.in_flight_bytes),
            orders_found=int(page.sweep_orders),
            orders_open=int(page.open_orders),
            latch=ffi.string(page.latch_path).decode(errors="replace"),
        )

    def follow(self) -> None:
        """Take the new executions: whoever wants to know positions for as long as a run lasts calls it often enough."""
        self._market.follow()

    def snapshot(self) -> EngineStat:
        """One look. Each counter is right; while the engine runs, two of them are not of the same instant."""
        clock = self._clock.cast("clock_page *")
        now_ns = int(lib.clock_now(clock))
        stages = {stage: self._page(stage, page, now_ns) for stage, page in self._pages.items()}
        processes = len({stage.pid for stage in stages.values()})
        control = self._control.view("control_page")[0]
        killed = int(control["kill_epoch"]) != int(control["armed_epoch"])
        modes = _short_names("trading_mode", "mode_")
        words = active_causes(control)
        rings = {name: self._ring(name) for name in self._rings}
        sides = {side: self._page(side, page, now_ns) for side, page in self._sides.items()}
        strictest = max(int(word) for word in control["cause"])
        market = self._market.look(stages["risk"].counters)
        stat = EngineStat(
            engine=self.engine,
            state=self._state(stages),
            topology={1: "fused", 2: "paired", 4: "split"}.get(processes, "mixed"),
            run_epoch=self._control.info.run_epoch,
            time_ns=now_ns,
            clock={lib.CLOCK_TSC: "tsc", lib.CLOCK_SYSTEM: "system"}.get(clock.source, "unset"),
            clock_frequency_hz=int(clock.frequency_hz),
            killed=killed,
            kill_epoch=int(control["kill_epoch"]),
            mode=modes.get(strictest, "halted"),
            mode_words=words,
            instruments=self._instruments.info.capacity,
            stages=stages,
            hops=self._all_hops(processes),
            rings=rings,
            seats=self._seats.snapshot(),
            kill=self._kill() if killed else None,
            sides=sides,
            journal=_journal_stat(sides["journal"].counters, rings, now_ns) if "journal" in sides else None,
            market=market.instruments,
            positions_known=market.known,
            limits=market.limits,
            limits_version=market.limits_version,
            switches=market.switches,
            on_disconnect=behaviour_names().get(int(control["on_disconnect"]), "unknown"),
        )
        return replace(stat, alerts=alerts_of(stat))

    def _state(self, stages: dict[str, StageStat]) -> str:
        if any(stage.alive for stage in stages.values()):
            return "running"
        if all(stage.state in ("stopped", "absent") for stage in stages.values()):
            return "running" if self._control.info.owner_alive else "stopped"
        return "running" if self._control.info.owner_alive else "dead"

    def _page(self, name: str, segment: Segment, now_ns: int) -> StageStat:
        page = segment.view("stage_page")[0]
        pid = int(page["pid"])
        heartbeat = int(page["heartbeat_time_ns"])
        state = _short_names("stage_state", "stage_").get(int(page["state"]), "unknown")
        counter = page["counter"]
        names = counter_names(name)
        counters = {
            each: int(counter[index].astype(np.int64) if each in SIGNED else counter[index])
            for index, each in names.items()
        }
        cpu = int(page["cpu"])
        return StageStat(
            state=state,
            pid=pid,
            cpu=None if cpu == 0xFFFFFFFF else cpu,
            alive=state not in ("absent", "stopped", "failed") and segments.process_start_time(pid) is not None,
            heartbeat_age_ns=max(0, now_ns - heartbeat) if heartbeat else None,
            turns=int(page["turns"]),
            idle_turns=int(page["idle_turns"]),
            rss_bytes=resident_bytes(pid),
            error="" if not page["error"] else _short_names("stage_error", "stage_error_").get(int(page["error"]), "?"),
            counters=counters,
            restart=restart_of(page),
        )

    def hop_histogram(self, hop: str) -> histograms.Histogram:
        """A copy of one hop's histogram, all stages together."""
        index = next(number for number, name in hop_names().items() if name == hop)
        count = len(hop_names())
        sources = [segment.view("histogram", count=count)[index : index + 1] for segment in self._hops.values()]
        return histograms.merge([source for source in sources if source["total_count"][0]], hop)

    def _all_hops(self, processes: int) -> dict[str, HopStat]:
        """Every hop, with what was recorded since a look of a second ago."""
        now = time.monotonic()
        merged = {hop: self.hop_histogram(hop) for hop in hop_names().values()}
        while len(self._past) > 1 and now - self._past[1][0] >= RECENT_SECONDS:
            self._past.popleft()
        before = self._past[0][1] if self._past else merged
        if not self._past or now - self._past[-1][0] >= RECENT_SECONDS:
            self._past.append((now, merged))
        return {hop: self._hop(hop, processes, each, before[hop]) for hop, each in merged.items()}

    def _hop(self, hop: str, processes: int, merged: histograms.Histogram, before: histograms.Histogram) -> HopStat:
        try:
            moved = int(merged["total_count"][0]) != int(before["total_count"][0])
            recent = histograms.difference(merged, before) if moved else None
        except ValueError:  # a stage was made again, and its histogram with it
            recent = None
        if recent is not None and not int(recent["total_count"][0]):
            recent = None
        return HopStat(
            count=int(merged["total_count"][0]),
            p50_ns=histograms.value_at(merged, 50.0),
            p99_ns=histograms.value_at(merged, 99.0),
            p999_ns=histograms.value_at(merged, 99.9),
            max_ns=int(merged["value_max"][0]),
            budget_ns=PATH_BUDGET_NS.get(processes) if hop == "order_path" else HOP_BUDGET_NS.get(hop),
            recent_count=int(recent["total_count"][0]) if recent is not None else 0,
            recent_p50_ns=histograms.value_at(recent, 50.0) if recent is not None else 0,
            recent_p99_ns=histograms.value_at(recent, 99.0) if recent is not None else 0,
        )

    def _ring(self, name: str) -> RingStat:
        segment = self._rings[name]
        control = segment.view("ring_control")[0]
        published = int(control["position"])
        readers = {}
        for reader, cursor_segment in self._cursors[name].items():
            cursor = cursor_segment.view("ring_cursor")[0]
            kind = {lib.CURSOR_GATING: "gating", lib.CURSOR_OBSERVER: "observer"}.get(int(cursor["kind"]), "absent")
            lag = max(0, published - int(cursor["position"]))
            readers[reader] = ReaderStat(kind=kind, lag=lag, lost=int(cursor["lost_count"]))
        return RingStat(
            writer=self._writers[name],
            capacity=segment.info.capacity,
            published=published,
            full_count=int(control["full_count"]),
            readers=readers,
        )


def resident_bytes(pid: int) -> int:
    """Memory of a process that is in RAM, shared segments included; 0 when there is no such process."""
    try:
        return int(psutil.Process(pid).memory_info().rss) if pid else 0
    except psutil.Error:
        return 0


def hop_names() -> dict[int, str]:
    """Names of the hops by index, as ``order_feed``."""
    return {index: name for index, name in _short_names("hop", "hop_").items() if name != "hops_max"}


def find_engine(name: str | None) -> str:
    """The engine to look at: the one named, or the only one that has segments. Raises SegmentMissingError."""
    found = segments.list_engines()
    if name is not None:
        if name not in found:
            known = (
                f"engines here: {', '.join(found)}" if found else "start one with: hotpath run CONFIG, or: hotpath demo"
            )
            raise SegmentMissingError(f"/hotpath.{name}.*", "no engine of that name has segments here", next_step=known)
        return name
    if len(found) == 1:
        return found[0]
    if not found:
        raise SegmentMissingError(
            "/hotpath.*",
            "no engine has segments here",
            next_step="start one with: hotpath run CONFIG, or: hotpath demo",
        )
    raise SegmentMissingError(
        "/hotpath.*", f"there are several engines: {', '.join(found)}", next_step="name one: hotpath stat ENGINE"
    )


def write_hdr_log(engine: str | None, path: Path) -> None:
    """Write every hop of an engine, over its whole run, as an HdrHistogram log that the standard tools open."""
    view = EngineView(find_engine(engine))
    stat = view.snapshot()
    hops = [name for name, hop in stat.hops.items() if hop.count]
    intervals = [
        histograms.Interval(name, stat.run_epoch, max(stat.time_ns, stat.run_epoch), view.hop_histogram(name))
        for name in hops
    ]
    with path.open("w") as target:
        histograms.write_log(target, intervals, start_time_ns=stat.run_epoch)


def run_stat(engine: str | None, *, watch: bool, json: bool, interval_seconds: float) -> int:
    """The verb `hotpath stat`. Returns its exit code."""
    name = find_engine(engine)
    if watch and not json:
        from hotpath import screen

        screen.watch(name, interval_seconds=interval_seconds)
        return 0
    view = EngineView(name)
    if json:
        import msgspec

        while True:
            print(msgspec.json.encode(view.snapshot()).decode(), flush=True)
            if not watch:
                return 0
            time.sleep(interval_seconds)
    from hotpath import screen

    screen.show(view)
    return 0


def restart_of(page: Any) -> RestartStat | None:
    """From a stage's page, as an array's element."""
    if not int(page["restarts"]):
        return None
    spans = {name: int(page["restart_ns"][index]) for index, name in _short_names("restart_phase", "restart_").items()}
    spans.pop("phases", None)
    return RestartStat(count=int(page["restarts"]), turns=int(page["restart_turns"]), spans_ns=spans)


def _short_names(enum: str, prefix: str) -> dict[int, str]:
    """Lower-case names by value, without their prefix."""
    return {value: name.lower().removeprefix(prefix) for value, name in enum_names(enum).items()}

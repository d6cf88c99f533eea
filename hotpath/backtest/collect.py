"""What a replay did, taken from its rings while it runs, without a seat in any of them.

    signal, cmd, exec, reject --> kept whole
    norm --> marks: the reference prices at the end of each bucket of virtual time, for the equity curve

The readers here have cursors of their own that no writer waits for: the path decides as if they were not there. What
they would lose is found, and the replay is then refused rather than reported in part.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from ffi import ffi, lib
from ffi.dtypes import dtype_of
from hotpath import segments
from hotpath.config import Config
from hotpath.errors import CaptureError, StageError
from hotpath.journal import Journal, event_type
from hotpath.ledger import Marks
from hotpath.rings import CURSOR_BYTES

KEPT = ("signal", "cmd", "exec", "reject")
BATCH = 16384
BUCKET_NS = 100_000_000  # of the equity curve, to begin with; doubled whenever there are
POINTS_MAX = 1024  # of them
LINE_STATES = (lib.NORM_GAP, lib.NORM_WHOLE, lib.NORM_SILENT, lib.NORM_CLEAR, lib.NORM_LINE)  # dated by another clock
SAVED = "run.npz"


@dataclass
class Run:
    """One replay, or one recorded run: what it decided, what came of it, and what things were worth meanwhile."""

    name: str
    config: Config
    symbols: list[str]
    tick_value_micros: list[int]
    events: dict[str, npt.NDArray[Any]]
    order_id_base: int = 0
    # equity: at the end of each bucket, instant and value before fees
    equity_time_ns: list[int] = field(default_factory=list)
    equity_micros: list[int] = field(default_factory=list)
    last_marks: list[int] = field(default_factory=list)  # ticks, by instrument
    order_log_sha256: str = ""
    seconds: float = 0.0
    messages: int = 0
    states: list[tuple[int, str]] = field(default_factory=list)  # after so many raw events, digest of all stages' state


class Watcher:
    """A reader of a ring that nobody waits for."""

    def __init__(self, engine: str, ring: str) -> None:
        self.ring = ring
        self._segment = segments.attach(engine, ring, lib.SEGMENT_RING)
        self._cursor = ffi.new("uint64_t[]", CURSOR_BYTES // 8)
        header = ffi.cast("segment_header *", self._cursor)
        header.magic = self._segment.cast("segment_header *", 0).magic
        header.kind = lib.SEGMENT_CURSOR
        self._reader = ffi.new("ring_reader *")
        status = lib.ring_reader_attach(self._reader, self._segment.pointer, self._cursor, lib.CURSOR_OBSERVER)
        if status != lib.RING_OK:
            raise StageError(f"ring {ring} cannot be watched (status {status})")
        self._lost = ffi.new("uint64_t *")
        self._target = np.empty(BATCH, dtype_of(event_type(ring)))

    def read(self) -> npt.NDArray[Any]:
        """What was published since, in the reader's own memory: good until the next call. Raises StageError when
        events were overwritten first."""
        count = int(lib.ring_copy(self._reader, ffi.from_buffer(self._target), BATCH, self._lost))
        if self._lost[0]:
            raise StageError(
                f"{int(self._lost[0]):,} events of ring {self.ring} were gone before they were read",
                next_step=f"give the replay a larger [rings] {self.ring}",
            )
        return self._target[:count]


class Accounts:
    """Cash and lots of each instrument as executions come, in whole micros: the equity at any instant."""

    def __init__(self, tick_value_micros: list[int]) -> None:
        self.tick_value = np.array(tick_value_micros, np.int64)
        self.lots = np.zeros(len(tick_value_micros), np.int64)
        self.cash = np.zeros(len(tick_value_micros), np.int64)

    def take(self, executions: npt.NDArray[Any]) -> None:
        """Fills, and those taken back."""
        kind = executions["header"]["type"]
        for event_kind, sign in ((lib.EXEC_FILL, 1), (lib.EXEC_BROKEN, -1)):
            rows = executions[kind == event_kind]
            if not len(rows):
                continue
            instrument = rows["header"]["instrument"].astype(np.int64)
            lots = np.where(rows["side"] == lib.SIDE_SELL, -1, 1) * rows["quantity_lots"] * sign
            np.add.at(self.lots, instrument, lots)
            np.subtract.at(self.cash, instrument, lots * rows["price_ticks"] * self.tick_value[instrument])

    def equity_micros(self, marks: npt.NDArray[np.int64]) -> int:
        """Cash and positions at their marks, over every instrument."""
        return int((self.cash + self.lots * marks * self.tick_value).sum())


class Collector:
    """The rings of a replay, drained slice by slice."""

    def __init__(self, engine: str, run: Run) -> None:
        self.run = run
        self._watchers = {ring: Watcher(engine, ring) for ring in KEPT}
        self._norm = Watcher(engine, "norm")
        self._parts: dict[str, list[npt.NDArray[Any]]] = {ring: [] for ring in KEPT}
        self._equity = Equity(run)

    def drain(self) -> None:
        """Take what was published since the last call: at least once in a ring's length of events."""
        for ring, watcher in self._watchers.items():
            while len(found := watcher.read()):
                self._parts[ring].append(found.copy())
                if ring == "exec":
                    self._equity.executions(found)
        while len(events := self._norm.read()):
            self._equity.market(events)

    def finish(self) -> Run:
        """The run, whole."""
        self.drain()
        for ring, parts in self._parts.items():
            empty = np.empty(0, dtype_of(event_type(ring)))
            self.run.events[ring] = np.concatenate(parts) if parts else empty
        self._equity.finish()
        return self.run


class Equity:
    """Marks and accounts along the run: one value a bucket of time."""

    def __init__(self, run: Run, *, clock: str = "origin_time_ns") -> None:
        """`clock`: the field of a header that orders market and executions: the venue's time in a replay, the
        engine's in a live run."""
        self.run = run
        self._clock = clock
        self._marks = Marks(len(run.symbols))
        self._accounts = Accounts(run.tick_value_micros)
        self._waiting: list[npt.NDArray[Any]] = []
        self._bucket_ns = BUCKET_NS
        self._bucket = 0
        self._time_ns = 0
        self._traded = False

    def executions(self, events: npt.NDArray[Any]) -> None:
        """Executions, before the market events of their time."""
        fills = events[np.isin(events["header"]["type"], (lib.EXEC_FILL, lib.EXEC_BROKEN))]
        if len(fills):
            self._waiting.append(fills.copy())

    def market(self, events: npt.NDArray[Any]) -> None:
        """Market events in order; a value is taken where a bucket ends."""
        head = events["header"]  # the venue's own end of day is no time at which anything was worth something
        events = events[~np.isin(head["type"], LINE_STATES) & (head["instrument"] < len(self.run.symbols))]
        if not len(events):
            return
        times = np.maximum(np.maximum.accumulate(events["header"][self._clock].astype(np.int64)), self._time_ns)
        self._time_ns = int(times[-1])
        buckets = times // self._bucket_ns
        begin = 0
        for end in np.flatnonzero(np.diff(buckets, prepend=self._bucket)).tolist():
            if end > begin:
                self._marks.apply(events[begin:end])
            if self._bucket:
                self._value((self._bucket + 1) * self._bucket_ns)
            self._bucket, begin = int(buckets[end]), end
        self._marks.apply(events[begin:])
        self._widen()

    def _widen(self) -> None:
        """Half as many points, twice as far apart, when there are too many."""
        while len(self.run.equity_time_ns) > POINTS_MAX:
            del self.run.equity_time_ns[::2], self.run.equity_micros[::2]
            self._bucket_ns *= 2
            self._bucket //= 2

    def _value(self, time_ns: int) -> None:
        self._apply(time_ns)
        if not self._traded:  # flat from the start: one point says it
            self.run.equity_time_ns[:] = [time_ns]
            self.run.equity_micros[:] = [0]
            return
        self.run.equity_time_ns.append(time_ns)
        self.run.equity_micros.append(self._accounts.equity_micros(self._marks.all_ticks()))

    def _apply(self, until_ns: int | None) -> None:
        later = []
        for part in self._waiting:
            due = np.ones(len(part), bool) if until_ns is None else part["header"][self._clock] <= until_ns
            if due.any():
                self._accounts.take(part[due])
                self._traded = True
            if not due.all():
                later.append(part[~due])
        self._waiting = later

    def finish(self) -> None:
        """The last value, with every execution in it."""
        self._apply(None)
        marks = self._marks.all_ticks()
        self.run.last_marks = [int(mark) for mark in marks]
        if self._traded:
            last = self.run.equity_time_ns[-1] if self.run.equity_time_ns else 0
            self.run.equity_time_ns.append(max(self._time_ns, last + 1))
            self.run.equity_micros.append(self._accounts.equity_micros(marks))


# ---- runs that are on the disk -------------------------------------------------------------------------


def recorded_run(folder: Path) -> Run:
    """A journal as a run: what was decided and what the venue answered."""
    journal = Journal(folder)
    table = journal.instruments
    run = Run(
        name=str(folder),
        config=journal.run.config,
        symbols=[symbol.decode() for symbol in table["symbol"].tolist()],
        tick_value_micros=[int(value) for value in table["tick_value_micros"]],
        events={ring: journal.events(ring) for ring in KEPT},
        order_id_base=journal.run.order_id_base,
        messages=journal.count("raw"),
    )
    clock = "origin_time_ns" if journal.run.lockstep else "publish_time_ns"
    equity = Equity(run, clock=clock)
    equity.executions(run.events["exec"])
    for events in journal.batches("norm"):
        equity.market(events)
    equity.finish()
    return run


def save_run(run: Run, folder: Path) -> None:
    """Keep what a comparison needs, beside the report."""
    folder.mkdir(parents=True, exist_ok=True)
    config = np.frombuffer(_encode(run), np.uint8)
    np.savez_compressed(folder / SAVED, about=config, **run.events)  # type: ignore[arg-type]


def load_run(folder: Path) -> Run:
    """A run that `save_run` kept, or a journal. Raises CaptureError when the folder holds neither."""
    path = folder / SAVED
    if not path.exists():
        if (folder / "run.json").exists():
            return recorded_run(folder)
        raise CaptureError(
            f"{folder}: holds neither a replay nor a journal",
            next_step="name a folder that hotpath replay --out or hotpath run --record made",
        )
    try:
        with np.load(path, allow_pickle=False) as saved:
            about = _decode(bytes(saved["about"]))
            events = {ring: saved[ring] for ring in KEPT}
    except (OSError, ValueError, KeyError) as error:
        raise CaptureError(f"{path}: cannot be read: {error}") from None
    for ring, rows in events.items():
        if rows.dtype != dtype_of(event_type(ring)):
            raise CaptureError(f"{path}: is of another build", next_step="replay it again with this one")
    about.events = events
    return about


def _encode(run: Run) -> bytes:
    about = {
        "name": run.name,
        "config": msgspec.to_builtins(run.config),
        "symbols": run.symbols,
        "tick_value_micros": run.tick_value_micros,
        "order_id_base": run.order_id_base,
        "equity_time_ns": run.equity_time_ns,
        "equity_micros": run.equity_micros,
        "last_marks": run.last_marks,
        "order_log_sha256": run.order_log_sha256,
        "seconds": run.seconds,
        "messages": run.messages,
        "states": run.states,
    }
    return msgspec.json.encode(about)


def _decode(data: bytes) -> Run:
    about = msgspec.json.decode(data)
    about["config"] = msgspec.convert(about["config"], Config)
    about["states"] = [(count, digest) for count, digest in about["states"]]
    return Run(events={}, **about)

"""What a decision saw, made again: the path's own kernels over recorded events, in this process's memory alone.

    RetoldFeed      raw events  -> feed kernel -> books, and the market event that each message made
    retold_features norm events -> feature kernel -> the values of one instrument
    RetoldGate      norm, exec, signal by the recorded turns of risk -> the gate before one intent

No segment is made and nothing of an engine is touched.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ffi import ffi, lib
from ffi.dtypes import dtype_of, enum_names
from hotpath.engine import huge_memory
from hotpath.errors import JournalError
from hotpath.explain.story import FeatureValue, Level, LimitRow, Sides
from hotpath.limits import LIMITS
from hotpath.limits_log import RING as CHANGES
from hotpath.limits_log import LimitsHistory, first_limits
from hotpath.rings import CURSOR_BYTES
from hotpath.run_file import RunFile
from hotpath.stages import LOCATES, OPEN_ORDERS_MAX

RING_SLOTS = 4096
SLOT_SIZE = 128
CHUNK_TURNS = 16384
CHUNK_EVENTS = 1 << 18
DEPTH = 5  # levels shown of each side
MICROS = 1_000_000


class Events(Protocol):
    """What is needed of a journal."""

    @property
    def run(self) -> RunFile: ...
    @property
    def instruments(self) -> npt.NDArray[Any]: ...
    def events(self, ring: str, begin: int = 0, end: int | None = None) -> npt.NDArray[Any]: ...
    def holes(self, ring: str) -> list[tuple[int, int]]: ...
    def first(self, ring: str) -> int: ...
    def next(self, ring: str) -> int: ...


def whole(journal: Events, ring: str, end: int, why: str) -> None:
    """Raise JournalError where events of a ring below `end` are missing."""
    holes = [hole for hole in journal.holes(ring) if hole[0] < end]
    if journal.first(ring) and end:
        holes.insert(0, (0, journal.first(ring)))
    if holes:
        low, high = holes[0]
        raise JournalError(
            f"the journal has a hole: events {low:,} to {high - 1:,} of {ring} are missing, and {why} needs them",
            next_step="hotpath journal stat says what was lost, and when",
        )
    if journal.next(ring) < end:
        raise JournalError(
            f"the journal ends at event {journal.next(ring):,} of {ring}, and {why} needs them up to {end - 1:,}",
            next_step="it was cut off before that event was written; hotpath journal verify says where",
        )


def chunks(journal: Events, ring: str, begin: int, end: int) -> Iterator[npt.NDArray[Any]]:
    """The events of a ring in contiguous arrays of bounded size."""
    for low in range(begin, end, CHUNK_EVENTS):
        yield np.ascontiguousarray(journal.events(ring, low, min(end, low + CHUNK_EVENTS)))


def array_of(struct: str, events: npt.NDArray[Any]) -> Any:
    """A C pointer to an array's first event; good while the array lives."""
    if not len(events):
        return ffi.NULL
    if events.dtype != dtype_of(struct):
        raise JournalError(
            f"its events are not this build's {struct}", next_step="explain it with the build that recorded it"
        )
    return ffi.cast(f"{struct} *", events.ctypes.data)


class Kept:
    """Owners of memory that C points into."""

    def __init__(self) -> None:
        self._kept: list[Any] = []

    def keep(self, owner: Any) -> Any:
        """Hold on to it; returns it."""
        self._kept.append(owner)
        return owner

    def new(self, declaration: str, *values: Any) -> Any:
        """Zeroed memory of a C type."""
        return self.keep(ffi.new(declaration, *values))

    def memory(self, size: int) -> Any:
        """So many zeroed bytes, aligned as kernels want them."""
        owner, pointer = huge_memory(size)
        self.keep(owner)
        return pointer

    def instrument_table(self, table: npt.NDArray[Any]) -> Any:
        """``instrument_entry *`` over a copy of the reference data."""
        return array_of("instrument_entry", self.keep(np.ascontiguousarray(table, dtype_of("instrument_entry"))))


class RetoldFeed(Kept):
    """The feed stage over recorded raw events, with rings of its own."""

    def __init__(self, run: RunFile, instruments: npt.NDArray[Any]) -> None:
        super().__init__()
        config = run.config.feed
        self.feed = feed = self.new("feed_stage *")
        stage = feed.stage
        stage.page, stage.control = self.new("stage_page *"), self.new("control_page *")
        stage.clock = self.new("clock_page *", {"source": lib.CLOCK_SYSTEM})
        self._ring(ffi.addressof(feed, "raw"), ffi.addressof(feed, "raw_in"))
        self._ring(ffi.addressof(feed, "norm"), None)
        feed.instruments = self.instrument_table(instruments)
        feed.instrument_count = len(instruments)
        feed.locate = self.new("uint32_t[]", LOCATES)
        feed.midnight_ns = run.midnight_ns
        feed.trust_late_start = config.late_start == "trust"
        settings = self.new("book_config *")
        settings.instruments = len(instruments)
        settings.orders_max, settings.levels_max = config.orders_max, config.levels_max
        size = lib.book_bytes(settings)
        feed.book = lib.book_init(self.memory(size), size, settings)
        lib.feed_init(feed)

    def _ring(self, writer: Any, reader: Any) -> None:
        ring, cursor = self.memory(lib.ring_bytes(RING_SLOTS, SLOT_SIZE)), self.memory(CURSOR_BYTES)
        seal = {"kind": lib.SEGMENT_RING, "capacity": RING_SLOTS, "slot_size": SLOT_SIZE}
        lib.segment_seal(ring, ffi.new("segment_header *", seal))
        lib.segment_seal(cursor, ffi.new("segment_header *", {"kind": lib.SEGMENT_CURSOR, "capacity": 1}))
        lib.ring_writer_attach(writer, ring)
        if reader is not None:
            lib.ring_writer_gate(writer, cursor)
            lib.ring_reader_attach(reader, ring, cursor, lib.CURSOR_GATING)

    def advance(self, journal: Events, end: int) -> None:
        """Take in every raw event below `end` that was not taken yet."""
        for events in chunks(journal, "raw", int(self.feed.raw.next), end):
            lib.retell_feed(self.feed, array_of("raw_event", events), len(events))

    def sides(self, instrument: int, price_text: Any) -> Sides:
        """The best levels of an instrument's book as it stands."""
        return Sides(
            bids=self._levels(instrument, lib.SIDE_BUY, price_text),
            asks=self._levels(instrument, lib.SIDE_SELL, price_text),
        )

    def _levels(self, instrument: int, side: int, price_text: Any) -> list[Level]:
        found = ffi.new("book_level[]", DEPTH)
        count = lib.book_depth(self.feed.book, instrument, side, found, DEPTH)
        return [
            Level(int(each.price_ticks), price_text(int(each.price_ticks)), int(each.quantity_lots), int(each.orders))
            for each in (found[index] for index in range(count))
        ]

    def last_norm(self) -> npt.NDArray[Any] | None:
        """The market event that was made last, as one element."""
        event = lib.retell_norm(self.feed)
        if event == ffi.NULL:
            return None
        data = bytes(ffi.buffer(event, ffi.sizeof("norm_event")))
        found: npt.NDArray[Any] = np.frombuffer(data, dtype_of("norm_event"))[0]
        return found


# ---- features ----------------------------------------------------------------------------------------


def rolls_between(run: RunFile, turns: npt.NDArray[Any], input_index: int) -> list[int]:
    """Sequences of an input at which a stage's trading day rolled: what came before them belongs to the day before."""
    found = []
    times = turns["header"]["origin_time_ns"]
    for roll_ns in run.roll_times_ns:
        later = np.flatnonzero(times >= roll_ns)
        if not roll_ns or not len(later):
            break
        first = int(later[0])
        found.append(int(turns["input_sequence"][first - 1][input_index]) if first else 0)
    return found


class RetoldFeatures(Kept):
    """The features of one instrument, and what the strategies make of them."""

    def __init__(self, config: Any, instrument: int) -> None:
        """`config`: ``signal_config *`` as the stage has it."""
        super().__init__()
        self.config = self.keep(config)
        self.instrument = instrument
        self.ready = 0
        self.values = self.new("double[]", lib.FEATURES_MAX)
        self._state = ffi.cast("feature_state *", self.memory(ffi.sizeof("feature_state")))
        lib.feature_init(self._state)

    def advance(self, journal: Events, end: int, rolls: list[int]) -> None:
        """Take in the market events below `end`; features begin anew at each of `rolls`."""
        begin = 0
        for stop in (*(roll for roll in rolls if roll < end), end):
            if begin:
                lib.feature_init(self._state)
            feature = ffi.addressof(self.config, "feature")
            for events in chunks(journal, "norm", begin, stop):
                self.ready = lib.retell_features(
                    feature, self._state, self.instrument, array_of("norm_event", events), len(events), self.values
                )
            begin = stop

    def features(self) -> list[FeatureValue]:
        """Every feature by its name."""
        found = []
        for index in range(lib.FEATURES_MAX):
            value = float(self.values[index]) if self.ready >> index & 1 else math.nan
            name = enum_names("feature_id")[index].removeprefix("FEATURE_").lower()
            bits = np.float64(value).view(np.uint64)
            found.append(FeatureValue(name, None if math.isnan(value) else value, f"{int(bits):016x}"))
        return found

    def score(self, custom: float, model: float = 0.0) -> tuple[float, list[int]]:
        """The ensemble's score and each component's, in parts of STRATEGY_COMPONENT_SCALE."""
        component = ffi.new("int16_t[]", lib.COMPONENTS_MAX)
        strategy = ffi.addressof(self.config, "strategy")
        score = float(lib.strategy_score(strategy, self.values, self.ready, [model, custom], component))
        return score, [int(each) for each in component]


# ---- the gate ----------------------------------------------------------------------------------------


class RetoldGate(Kept):
    """The risk gate as it stood before an intent, with the limits of the run."""

    def __init__(self, run: RunFile, instruments: npt.NDArray[Any]) -> None:
        super().__init__()
        count = len(instruments)
        self.page = self.new("stage_page *")
        self.gate = gate = self.new("gate *")
        size = lib.gate_bytes(count, OPEN_ORDERS_MAX)
        lib.gate_init(gate, self.memory(size), size, count, OPEN_ORDERS_MAX)
        gate.entry = self.instrument_table(instruments)
        gate.require_trading_state = run.config.risk.require_trading_state
        gate.counter = self.page.counter
        symbols = [symbol.decode() for symbol in instruments["symbol"].tolist()]
        self.limits = first_limits(run.config.risk, symbols)
        gate.limits = ffi.cast("limits_header *", ffi.from_buffer(self.limits))
        self.told = told = self.new("retold_risk *")
        told.order_id_base = run.order_id_base
        for index, roll_ns in enumerate(run.roll_times_ns[: lib.ROLLS_AHEAD]):
            told.roll_time_ns[index] = roll_ns

    def advance(self, journal: Events, signal_end: int) -> None:
        """Go through the recorded turns of risk up to an intent, which is not decided yet. Raises JournalError."""
        told = self.told
        told.signal_end = signal_end
        turn, turns_end = 0, journal.next("risk.ctl")
        history = LimitsHistory(self.limits, partial(journal.events, CHANGES), partial(journal.next, CHANGES))
        while turn < turns_end and not told.stopped:
            turns = np.ascontiguousarray(journal.events("risk.ctl", turn, min(turn + CHUNK_TURNS, turns_end)))
            status = self._run(journal, turns)
            if status == lib.RETELL_DIFFERS:
                raise JournalError(
                    f"risk decided otherwise than its record says, in turn {int(told.turn):,}",
                    next_step="the journal is of another build, or was changed: hotpath journal verify, hotpath replay",
                )
            if status == lib.RETELL_LIMITS:  # up to this turn; it decided by others
                self.limits[:] = history.at(int(told.plan.limits_version))
                turn += int(np.flatnonzero(turns["turn"] == told.turn)[0])
                continue
            turn += len(turns)
        if not told.stopped:
            raise JournalError(
                "risk has not decided this intent in what the journal holds",
                next_step="the run ended, or was cut off, before its turn",
            )

    def _run(self, journal: Events, turns: npt.NDArray[Any]) -> int:
        """One chunk of turns, with the events that they take."""
        told = self.told
        last = turns["input_sequence"][-1]
        held = []  # arrays that C reads, until the call is over
        for index, (ring, struct) in enumerate(
            (("norm", "norm_event"), ("exec", "exec_event"), ("signal", "signal_event"))
        ):
            begin, end = int(getattr(told, f"{ring}_next")), int(last[index])
            whole(journal, ring, min(end, int(told.signal_end) if ring == "signal" else end), "the risk gate")
            events = (
                np.ascontiguousarray(journal.events(ring, begin, end)) if end > begin else np.empty(0, dtype_of(struct))
            )
            held.append(events)
            setattr(told, ring, array_of(struct, events))
            setattr(told, f"{ring}_begin", begin)
            setattr(told, f"{ring}_count", len(events))
        told.turns, told.turn_count = array_of("turn_event", turns), len(turns)
        status = int(lib.retell_risk(self.gate, told))
        if status == lib.RETELL_HUNGRY:
            raise JournalError(f"turn {int(told.turn):,} of risk took events that the journal does not hold")
        return status

    def measure(self, intent: Any, order_id: int) -> list[Any]:
        """``gate_measured`` rows of an intent, as the gate stands."""
        rows = self.new("gate_measured[]", lib.GATE_MEASURES_MAX)
        count = lib.gate_measure(self.gate, ffi.addressof(self.told, "plan"), intent, order_id, rows)
        return [rows[index] for index in range(count)]

    def decide(self, intent: Any) -> int:
        """The gate's own word on it: enum reject_reason."""
        return int(lib.retell_decide(self.gate, self.told, intent))


# ---- limits in words -----------------------------------------------------------------------------------

ASKS = {
    "killed": "is the engine killed?",
    "mode": "what does the mode allow?",
    "instrument": "may it be traded?",
    "blocked": "is it restricted or blocked?",
    "not_trading": "does the venue say it trades?",
    "no_reference": "is there a reference price?",
    "stale_data": "is that price fresh?",
    "crossed": "is the bid below the offer?",
    "quantity": "lots of the order",
    "price": "a multiple of the price step?",
    "order_value": "value of the order",
    "collar": "away from the reference price",
    "unknown_order": "does the order to change stand?",
    "position": "if every open order fills",
    "no_short": "sold short, if all orders fill",
    "gross_value": "of all instruments, worst case",
    "open_orders": "open already",
    "duplicate": "was it decided before?",
    "throttle": "left in the bucket",
}
UNIT_WORDS = {
    "lots": "lots", "ticks": "ticks", "micros": "micros", "ppm": "ppm", "ns": "ns", "orders": "orders",
    "messages_milli": "thousandths of a message", "yes_no": "yes or no", "code": "code", "sequence": "sequence",
}  # fmt: skip


def asks_of(reason: str, scope: int) -> str:
    """What a check asks, and of whom where that is neither the instrument nor the firm."""
    meanings = {limit.reason: limit.meaning for limit in LIMITS}
    asks = ASKS.get(reason) or meanings.get(reason, reason.replace("_", " "))
    owner = enum_names("scope_kind")[scope].removeprefix("SCOPE_").lower()
    return asks if reason in ASKS or owner == "instrument" else f"{owner}: {asks}"


def limit_row(row: Any, price_text: Any) -> LimitRow:
    """A measured check in words."""
    name = enum_names("reject_reason")[row.reason].removeprefix("REJECT_").lower()
    unit = enum_names("gate_unit")[row.unit].removeprefix("UNIT_").lower()
    if name == "mode" and unit == "code":
        enum = "trading_mode"
    else:
        enum = "trading_state"
    value, threshold = int(row.value), int(row.threshold)
    return LimitRow(
        name=name,
        asks=asks_of(name, int(row.scope)),
        value=value,
        threshold=threshold,
        unit=UNIT_WORDS.get(unit, unit.replace("_", " ")),
        relation=enum_names("gate_relation")[row.relation].removeprefix("RELATION_").lower().replace("_", " "),
        value_text=number_text(value, unit, enum, price_text),
        threshold_text="off"
        if threshold == lib.LIMIT_OFF and unit in ("ns", "milli", "ppm", "lots")
        else number_text(threshold, unit, enum, price_text),
        outcome=enum_names("gate_outcome")[row.outcome].removeprefix("OUTCOME_").lower().replace("_", " "),
    )


def number_text(value: int, unit: str, enum: str, price_text: Any) -> str:
    """A measured number as people read it."""
    if unit == "yes_no":
        return "yes" if value else "no"
    if unit == "code":
        return enum_names(enum).get(value, str(value)).partition("_")[2].lower().replace("_", " ")
    if unit == "ticks":
        return str(price_text(value))
    if unit == "micros":
        return "over all bounds" if value >= 2**63 - 1 else f"{value / MICROS:,.2f}"
    if unit == "ns":
        return f"{value / 1e6:,.3f} ms"
    if unit == "messages_milli":
        return f"{value / 1000:,.3f} messages"
    if unit == "milli":
        return f"{value / 1000:,.3f}"
    if unit == "sequence":
        return "none before" if value < 0 else f"{value:,}"
    return f"{value:,} {unit}"

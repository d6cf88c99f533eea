"""Books, positions, open orders and the use of limits, for whoever looks at an engine: followed in its own rings.

    norm   the newest events, once each       -> top of book of every instrument
    exec   every event since the run began    -> positions and profit (hotpath/ledger), open orders
    limits the copy in force, when it changes -> what is switched off, how much of each limit is used

Nothing of the engine knows of it. Positions are told only when no execution was missed: whoever begins to look when the
ring has gone round already sees books, and says that positions are not known.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from ffi import ffi, lib
from hotpath import segments
from hotpath.errors import SegmentMissingError
from hotpath.ledger import Ledger
from hotpath.limits.copy import LimitsCopy
from hotpath.limits.page import copy_in_force, page_of
from hotpath.rings import RingHistory
from hotpath.segments import Segment
from hotpath.topology import INSTRUMENTS_SEGMENT, LIMITS_SEGMENT

INSTRUMENTS_TOLD = 24  # of one look: those that we hold or quote first, then those that moved last
EVENTS_READ = 8192  # of norm in one look: older ones are passed over, each carries the whole top of book
ALIVE = (lib.EXEC_ACCEPTED, lib.EXEC_REPLACED, lib.EXEC_FILL, lib.EXEC_RESTATED)
DEAD = (lib.EXEC_CANCELED, lib.EXEC_REJECTED, lib.EXEC_REFUSED, lib.EXEC_REPLACE_REJECTED)
SWITCHES = {"killed": lib.SWITCH_KILLED, "paused": lib.SWITCH_PAUSED}
SWITCHES |= {"reduce_only": lib.SWITCH_REDUCE_ONLY, "cancel_only": lib.SWITCH_CANCEL_ONLY}
MICROS = 1_000_000


class InstrumentStat(Struct, frozen=True):
    """One instrument: its book, and what we have in it."""

    symbol: str
    tick_value_micros: int
    bid_price_ticks: int  # 0: that side is empty, or was not seen yet
    bid_lots: int
    ask_price_ticks: int
    ask_lots: int
    position_lots: int
    position_lots_max: int  # the instrument's own limit
    realised_micros: int  # before fees
    unrealised_micros: int  # at the middle of the book
    open_orders: int
    open_buy_lots: int
    open_sell_lots: int


class LimitStat(Struct, frozen=True):
    """How much of one limit is used."""

    name: str  # as `hotctl limits` names it
    used: float | None  # None: a rate, which is the difference of two looks
    limit: float
    unit: str


class MarketStat(Struct, frozen=True):
    """What one look tells of all this."""

    instruments: list[InstrumentStat]
    known: bool  # positions and open orders are those of every execution since the run began
    limits: list[LimitStat]
    limits_version: int
    switches: dict[str, str]  # by scope, as "instrument.GOOG": "killed"


class Follower(RingHistory):
    """The events of a ring, once each, as far back as it still holds them."""

    def __init__(self, engine: str, name: str) -> None:
        super().__init__(engine, name, dtype=f"{name}_event")
        self._lost = ffi.new("uint64_t *")
        self.missed = int(self.c.next)  # events before the first one that is read

    def new(self, most: int) -> npt.NDArray[Any]:
        """The next ones, `most` at a time."""
        target = np.empty(most, self.dtype)
        found = target[: int(lib.ring_copy(self.c, ffi.from_buffer(target), most, self._lost))]
        self.missed += int(self._lost[0])
        self._lost[0] = 0
        return found

    def skip_to_last(self, most: int) -> None:
        """Pass over all but the last `most`."""
        wanted = int(self.c.control.position) - most
        if wanted > int(self.c.next):
            lib.ring_resume(self.c, wanted)

    @property
    def next_sequence(self) -> int:
        """Of the next event."""
        return int(self.c.next)

    def close(self) -> None:
        """Unmap the ring."""
        self._ring.close()


class MarketView:
    """Follows one run of an engine. Not thread-safe."""

    def __init__(self, engine: str) -> None:
        """Raises SegmentError when there is no engine of this name."""
        self._table = segments.attach(engine, INSTRUMENTS_SEGMENT, lib.SEGMENT_INSTRUMENTS, allow_dead=True)
        entries = self._table.view("instrument_entry", count=self._table.info.capacity)
        self._symbols = [bytes(symbol).rstrip(b"\0").decode(errors="replace") for symbol in entries["symbol"]]
        self._tick_values = entries["tick_value_micros"].astype(np.int64).tolist()
        self._norm = Follower(engine, "norm")
        self._exec = Follower(engine, "exec")
        self._adjust = RingHistory(engine, "adjust", dtype="adjustment_event")
        self._adjustments = np.zeros(0, self._adjust.dtype)
        self._ledger = Ledger(self._tick_values)
        self._orders: dict[int, tuple[int, int, int]] = {}  # instrument, side, lots that are open
        self._books: dict[int, tuple[int, int, int, int]] = {}  # by instrument, those that moved last are last
        self._limits_segment = _attached(engine, LIMITS_SEGMENT, lib.SEGMENT_LIMITS)
        self._limits: LimitsCopy | None = None
        self._switches: dict[str, str] = {}
        self._generation = -1

    def close(self) -> None:
        """Unmap everything."""
        self._norm.close()
        self._exec.close()
        self._table.close()
        if self._limits_segment is not None:
            self._limits_segment.close()

    def follow(self) -> None:
        """Take what is new. Often enough, and no execution is missed."""
        while len(events := self._exec.new(EVENTS_READ)):
            if bool((events["header"]["type"] == lib.EXEC_ADJUSTED).any()):
                self._adjustments = np.concatenate([self._adjustments, self._adjust.read()])
            self._ledger.apply(events, self._adjustments, first_sequence=self._exec.next_sequence - len(events))
            self._follow_orders(events)

    def _follow_orders(self, events: npt.NDArray[Any]) -> None:
        columns = zip(
            events["header"]["type"].tolist(),
            events["order_id"].tolist(),
            events["target_order_id"].tolist(),
            events["header"]["instrument"].tolist(),
            events["side"].tolist(),
            events["leaves_lots"].tolist(),
            strict=True,
        )
        for kind, order, target, instrument, side, leaves in columns:
            if kind == lib.EXEC_REPLACED:
                self._orders.pop(target, None)
            if kind in DEAD or (kind in ALIVE and leaves <= 0):
                if kind == lib.EXEC_CANCELED and leaves > 0 and order in self._orders:  # a part of it
                    self._orders[order] = (instrument, side, leaves)
                else:
                    self._orders.pop(order, None)
            elif kind in ALIVE:
                self._orders[order] = (instrument, side, leaves)

    def _follow_books(self) -> None:
        self._norm.skip_to_last(EVENTS_READ)
        events = self._norm.new(EVENTS_READ)
        if not len(events):
            return
        instruments = events["header"]["instrument"]
        backwards = instruments[::-1]
        which, first = np.unique(backwards, return_index=True)
        for place in np.sort(len(events) - 1 - first[which < len(self._symbols)]).tolist():
            event = events[place]
            instrument = int(event["header"]["instrument"])
            self._books.pop(instrument, None)  # so that what moved last is last
            self._books[instrument] = (
                int(event["bid_price_ticks"]),
                int(event["bid_quantity_lots"]),
                int(event["ask_price_ticks"]),
                int(event["ask_quantity_lots"]),
            )

    def tops(self) -> dict[str, tuple[int, int, int, int]]:
        """Bid, its lots, ask, its lots of every instrument whose book was seen, in ticks; 0: that side is empty."""
        self._follow_books()
        return {self._symbols[index]: top for index, top in self._books.items()}

    # ---- one look ----------------------------------------------------------------------------------

    def look(self, counters: dict[str, int]) -> MarketStat:
        """Everything as of now; `counters` are those of risk, which knows what the limits are compared with."""
        self.follow()
        self._follow_books()
        self._read_limits()
        instruments = self._instruments()
        return MarketStat(
            instruments=instruments,
            known=not self._exec.missed,
            limits=self._used(instruments, counters),
            limits_version=self._limits.version if self._limits is not None else 0,
            switches=dict(self._switches),
        )

    def _instruments(self) -> list[InstrumentStat]:
        ours: dict[int, list[int]] = {}  # open orders, lots to buy, lots to sell
        for instrument, side, lots in self._orders.values():
            sums = ours.setdefault(instrument, [0, 0, 0])
            sums[0] += 1
            sums[1 + (side == lib.SIDE_SELL)] += lots
        held = {index for index, position in self._ledger.positions.items() if position.lots}
        touched = held | ours.keys()
        first = sorted(index for index in touched if index < len(self._symbols))[:INSTRUMENTS_TOLD]
        moved = [index for index in reversed(self._books) if index not in touched][: INSTRUMENTS_TOLD - len(first)]
        return [self._instrument(index, ours.get(index, [0, 0, 0])) for index in [*first, *sorted(moved)]]

    def _instrument(self, index: int, ours: list[int]) -> InstrumentStat:
        bid, bid_lots, ask, ask_lots = self._books.get(index, (0, 0, 0, 0))
        value = self._ledger.value_at(index, (bid + ask) // 2 if bid and ask else 0)
        symbol = self._symbols[index]
        most = self._limits.get(f"instrument.{symbol}.position_lots_max") if self._limits is not None else 0
        return InstrumentStat(
            symbol=symbol,
            tick_value_micros=self._tick_values[index],
            bid_price_ticks=bid,
            bid_lots=bid_lots,
            ask_price_ticks=ask,
            ask_lots=ask_lots,
            position_lots=value.lots,
            position_lots_max=int(most or 0),
            realised_micros=value.realised_micros,
            unrealised_micros=value.unrealised_micros,
            open_orders=ours[0],
            open_buy_lots=ours[1],
            open_sell_lots=ours[2],
        )

    # ---- limits ------------------------------------------------------------------------------------

    def _read_limits(self) -> None:
        if self._limits_segment is None:
            return
        generation = int(page_of(self._limits_segment).generation)
        if generation != self._generation:
            self._limits = copy_in_force(self._limits_segment, self._symbols)
            self._switches = _switches_of(self._limits)
            self._generation = generation

    def _used(self, instruments: list[InstrumentStat], counters: dict[str, int]) -> list[LimitStat]:
        """Of the firm's limits that are on, and of the instrument that is nearest to its own."""
        if self._limits is None:
            return []
        used: dict[str, tuple[float | None, str]] = {
            "open_orders_max": (counters.get("open_orders", 0), "orders"),
            "gross_value_currency_max": (counters.get("gross_value_micros", 0) / MICROS, "currency"),
            "day_loss_currency_max": (max(0, -counters.get("pnl_micros", 0)) / MICROS, "currency"),
            "messages_per_second_max": (None, "messages/s"),
        }
        found = []
        for name, (amount, unit) in used.items():
            limit = self._limits.get(f"firm.{name}")
            if limit is not None:
                found.append(LimitStat(f"firm.{name}", amount, float(limit), unit))
        fullest = max(instruments, key=_share, default=None)
        if fullest is not None and not self._exec.missed and _share(fullest) > 0:
            name = f"instrument.{fullest.symbol}.position_lots_max"
            found.append(LimitStat(name, float(_worst_lots(fullest)), float(fullest.position_lots_max), "lots"))
        return found


def _worst_lots(each: InstrumentStat) -> int:
    """|position| with one side's open orders filled, the worse one."""
    return max(abs(each.position_lots + each.open_buy_lots), abs(each.position_lots - each.open_sell_lots))


def _share(each: InstrumentStat) -> float:
    return _worst_lots(each) / each.position_lots_max if each.position_lots_max else 0.0


def _switches_of(limits: LimitsCopy) -> dict[str, str]:
    """Every scope that people switched off; a copy of many instruments is looked through as one array."""
    size, first = ffi.sizeof("instrument_limits"), ffi.sizeof("limits_header")
    offset = ffi.offsetof("instrument_limits", "scope") + ffi.offsetof("scope_limits", "switches")
    count = len(limits.symbols)
    memory = np.frombuffer(limits.memory, np.uint8)[first : first + count * size].reshape(count, size)
    switched = np.flatnonzero(memory[:, offset : offset + 8].any(axis=1)).tolist()
    scopes = [scope for scope in limits.scopes() if not scope.startswith("instrument.")]
    scopes += [f"instrument.{limits.symbols[index]}" for index in switched]
    found = {}
    for scope in scopes:
        words = [word for word in SWITCHES if limits.get(f"{scope}.{word}")]
        if words:
            found[scope] = ", ".join(words)
    return found


def _attached(engine: str, segment: str, kind: int) -> Segment | None:
    try:
        return segments.attach(engine, segment, kind, allow_dead=True)
    except SegmentMissingError:
        return None

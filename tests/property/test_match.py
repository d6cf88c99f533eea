"""The matching engine against a slow one, and the invariants that any matching engine owes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ffi import ffi, lib

INSTRUMENTS = 3
BUY, SELL = 0, 1


def aligned(size: int) -> tuple[Any, Any]:
    """(owner, pointer): zeroed memory of `size` bytes on a cache line; the owner keeps it alive."""
    owner = ffi.new("uint8_t[]", size + 64)
    return owner, owner + (-int(ffi.cast("uintptr_t", owner))) % 64


def new_book() -> tuple[Any, Any]:
    config = ffi.new("book_config *", {"instruments": INSTRUMENTS, "orders_max": 4096, "levels_max": 1024})
    owner, memory = aligned(lib.book_bytes(config))
    book = lib.book_init(memory, lib.book_bytes(config), config)
    assert book != ffi.NULL
    return owner, book


def queue_of(book: Any, instrument: int, side: int) -> list[tuple[int, int, int]]:
    """(price, quantity, order_ref) of every order, best first."""
    levels = ffi.new("book_level[64]")
    orders = ffi.new("book_order[4096]")
    standing = []
    for level in levels[0 : lib.book_depth(book, instrument, side, levels, 64)]:
        count = lib.book_queue(book, instrument, side, level.price_ticks, orders, 4096)
        standing += [(o.price_ticks, o.quantity_lots, o.order_ref) for o in orders[0:count]]
    return standing


class Engine:
    """The kernel with small outputs, so that resuming is exercised too."""

    def __init__(self, *, events_max: int = 4, fills_max: int = 2) -> None:
        config = ffi.new("match_config *")
        config.book.instruments = INSTRUMENTS
        config.book.orders_max = 4096
        config.book.levels_max = 1024
        config.owned_max = 64
        config.first_order_ref = config.first_match_id = 1
        size = lib.match_bytes(config)
        self.memory, memory = aligned(size)
        self.match = lib.match_init(memory, size, config)
        assert self.match != ffi.NULL
        self.output = ffi.new("match_output *")
        self.event_array = ffi.new("norm_event[]", events_max)
        self.fill_array = ffi.new("match_fill[]", fills_max)
        self.output.event, self.output.events_max = self.event_array, events_max
        self.output.fill, self.output.fills_max = self.fill_array, fills_max
        self.events: list[Any] = []
        self.fills: list[tuple[int, ...]] = []

    def drain(self) -> None:
        for event in self.event_array[0 : self.output.events]:
            self.events.append(ffi.new("norm_event *", event))
        for f in self.fill_array[0 : self.output.fills]:
            self.fills.append((f.maker_ref, f.taker_ref, f.price_ticks, f.quantity_lots, f.maker_owner, f.taker_owner))
        self.output.events = self.output.fills = 0

    def submit(self, **request: int) -> tuple[int, Any]:
        result = ffi.new("match_result *")
        status = lib.match_submit(self.match, ffi.new("match_request *", request), self.output, result)
        self.drain()
        while status == lib.MATCH_MORE:
            status = lib.match_resume(self.match, self.output, result)
            self.drain()
        return status, result

    def queue(self, instrument: int, side: int) -> list[tuple[int, int, int]]:
        return queue_of(lib.match_book(self.match), instrument, side)


@dataclass
class SlowOrder:
    ref: int
    instrument: int
    side: int
    price: int
    quantity: int
    owner: int


@dataclass
class SlowEngine:
    """Price-time priority over one list of orders in order of arrival."""

    orders: list[SlowOrder] = field(default_factory=list)
    fills: list[tuple[int, ...]] = field(default_factory=list)
    next_ref: int = 1

    def queue(self, instrument: int, side: int) -> list[SlowOrder]:
        standing = [o for o in self.orders if o.instrument == instrument and o.side == side]
        return sorted(standing, key=lambda o: -o.price if side == BUY else o.price)

    def find(self, ref: int) -> SlowOrder | None:
        return next((o for o in self.orders if o.ref == ref), None)

    def enter(
        self, instrument: int, side: int, price: int, quantity: int, owner: int, *, ioc: bool
    ) -> tuple[int, int, int]:
        """(executed, rested, removed)."""
        ref, left = self.next_ref, quantity
        self.next_ref += 1
        for maker in self.queue(instrument, 1 - side):
            if not left or (maker.price > price if side == BUY else maker.price < price):
                break
            traded = min(left, maker.quantity)
            left -= traded
            maker.quantity -= traded
            if maker.owner or owner:
                self.fills.append((maker.ref, ref, maker.price, traded, maker.owner, owner))
            if not maker.quantity:
                self.orders.remove(maker)
        if left and not ioc:
            self.orders.append(SlowOrder(ref, instrument, side, price, left, owner))
            return quantity - left, left, 0
        return quantity - left, 0, left


def requests(chance: Random, count: int, engine: SlowEngine) -> Iterator[dict[str, int]]:
    for time in range(1, count + 1):
        action = chance.choice(
            [lib.MATCH_ENTER] * 6 + [lib.MATCH_CANCEL, lib.MATCH_REDUCE, lib.MATCH_REPLACE, lib.MATCH_TRADE]
        )
        yield {
            "time_ns": time,
            "order_ref": 0 if action == lib.MATCH_ENTER else chance.randrange(engine.next_ref + 1),
            "price_ticks": chance.randrange(0, 14),
            "quantity_lots": chance.randrange(0, 8) * 10,
            "instrument": chance.randrange(INSTRUMENTS + (chance.random() < 0.02)),
            "owner": chance.choice([0, 0, 0, 1, 2]),
            "action": action,
            "side": chance.randrange(2),
            "time_in_force": chance.choice([lib.TIF_DAY, lib.TIF_DAY, lib.TIF_IOC]),
        }


def expected(slow: SlowEngine, r: dict[str, int]) -> tuple[int, int, int] | None:
    """What the slow engine makes of a request: (executed, rested, removed), None when it refuses."""
    ioc = r["time_in_force"] == lib.TIF_IOC
    bad = r["quantity_lots"] <= 0 or r["price_ticks"] <= 0
    order = slow.find(r["order_ref"])
    if r["action"] == lib.MATCH_TRADE:
        if bad or r["instrument"] >= INSTRUMENTS:
            return None
        bids, asks = slow.queue(r["instrument"], BUY), slow.queue(r["instrument"], SELL)
        inside = bool(bids and asks) and bids[0].price < r["price_ticks"] < asks[0].price
        return (r["quantity_lots"], 0, 0) if inside else None
    if r["action"] == lib.MATCH_ENTER:
        if bad or r["instrument"] >= INSTRUMENTS:
            return None
        return slow.enter(r["instrument"], r["side"], r["price_ticks"], r["quantity_lots"], r["owner"], ioc=ioc)
    if order is None:
        return None
    if r["action"] == lib.MATCH_REPLACE:
        if bad:
            return None
        slow.orders.remove(order)
        return slow.enter(order.instrument, order.side, r["price_ticks"], r["quantity_lots"], r["owner"], ioc=ioc)
    if r["action"] == lib.MATCH_REDUCE and r["quantity_lots"] <= 0:
        return None
    gone = order.quantity if r["action"] == lib.MATCH_CANCEL else min(order.quantity, r["quantity_lots"])
    order.quantity -= gone
    if not order.quantity:
        slow.orders.remove(order)
    return 0, order.quantity, gone


@settings(max_examples=120, deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 250))
def test_matching_equals_the_slow_engine_and_its_events_rebuild_its_book(seed: int, count: int) -> None:
    engine, slow = Engine(), SlowEngine()
    _keep, rebuilt = new_book()
    for request in requests(Random(seed), count, slow):
        outcome = expected(slow, request)
        status, result = engine.submit(**request)
        assert (status == lib.MATCH_REFUSED) == (outcome is None), request
        if outcome is None:
            assert result.reason != lib.VENUE_REASON_NONE
            assert engine.events == []
        else:
            assert (result.executed_lots, result.leaves_lots, result.removed_lots) == outcome, request
        if request["action"] in (lib.MATCH_ENTER, lib.MATCH_TRADE) and outcome:
            assert sum(outcome) == request["quantity_lots"]
        for event in engine.events:
            copy = ffi.new("norm_event *", event[0])
            status = lib.book_apply(rebuilt, copy)
            assert status == (lib.BOOK_IGNORED if event.header.type == lib.NORM_TRADE else lib.BOOK_OK)
            assert (copy.bid_price_ticks, copy.ask_price_ticks) == (event.bid_price_ticks, event.ask_price_ticks)
        engine.events.clear()
        for instrument in range(INSTRUMENTS):
            bids, asks = engine.queue(instrument, BUY), engine.queue(instrument, SELL)
            assert not bids or not asks or bids[0][0] < asks[0][0], "the book is crossed"
            assert (
                bids
                == queue_of(rebuilt, instrument, BUY)
                == [(o.price, o.quantity, o.ref) for o in slow.queue(instrument, BUY)]
            )
            assert (
                asks
                == queue_of(rebuilt, instrument, SELL)
                == [(o.price, o.quantity, o.ref) for o in slow.queue(instrument, SELL)]
            )
    assert engine.fills == slow.fills
    for order in slow.orders:
        assert lib.match_owner(engine.match, order.ref) == order.owner


def test_a_halted_instrument_takes_cancels_and_refuses_entries() -> None:
    engine = Engine()
    _, entered = engine.submit(action=lib.MATCH_ENTER, price_ticks=10, quantity_lots=5, time_ns=1)
    assert lib.match_state(engine.match, 0, lib.STATE_HALTED, 2, engine.output) == lib.MATCH_OK
    engine.drain()
    assert engine.events[-1].header.type == lib.NORM_STATUS and engine.events[-1].order_ref == lib.STATE_HALTED
    status, result = engine.submit(action=lib.MATCH_ENTER, price_ticks=10, quantity_lots=5, time_ns=3)
    assert (status, result.reason) == (lib.MATCH_REFUSED, lib.VENUE_HALTED)
    status, result = engine.submit(action=lib.MATCH_CANCEL, order_ref=entered.order_ref, time_ns=4)
    assert (status, result.removed_lots) == (lib.MATCH_OK, 5)


def test_more_owned_orders_than_there_is_room_for_leave_unexecuted() -> None:
    engine = Engine()
    for time in range(1, 70):
        _, result = engine.submit(action=lib.MATCH_ENTER, price_ticks=10, quantity_lots=5, owner=1, time_ns=time)
    assert (result.leaves_lots, result.removed_lots) == (0, 5)

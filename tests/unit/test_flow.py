"""The seeded flow: one seed one flow, valid at all times, shaped as asked."""

from __future__ import annotations

import hashlib
import mmap
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from ffi import ffi, lib
from tests.book_driver import DrivenBook

MIDNIGHT_NS = 1_700_000_000 * 10**9
START_NS = 34_200 * 10**9


class DrivenFlow:
    """A flow in memory of its own that was not zeroed for it."""

    def __init__(
        self, *, seed: int = 1, instruments: int = 20, live_orders: int = 1000, mean_gap_ns: int = 1000
    ) -> None:
        config = {
            "seed": seed,
            "midnight_ns": MIDNIGHT_NS,
            "start_ns": START_NS,
            "mean_gap_ns": mean_gap_ns,
            "increment_ticks": 100,
            "instruments": instruments,
            "live_orders": live_orders,
            "runs_market": 1,
        }
        self.config = ffi.new("flow_config *", config)
        size = lib.flow_bytes(self.config)
        assert size > 0
        self.memory = mmap.mmap(-1, size)
        buffer = ffi.from_buffer(self.memory)
        ffi.memmove(buffer, b"\x5a" * size, size)
        self.flow = lib.flow_init(buffer, size, self.config)
        assert self.flow != ffi.NULL
        self.event = ffi.new("norm_event *")

    def events(self, count: int) -> Iterator[Any]:
        """The next events; each is valid until the one after it."""
        for _ in range(count):
            lib.flow_next(self.flow, self.event)
            yield self.event


def messages(flow: DrivenFlow, count: int) -> bytes:
    """The next events as length-prefixed ITCH."""
    target = ffi.new("uint8_t[64]")
    parts = []
    for event in flow.events(count):
        length = lib.flow_encode(flow.flow, event, target, 64)
        assert length == lib.itch_length(target[0])
        parts.append(length.to_bytes(2, "big") + bytes(ffi.buffer(target, length)))
    return b"".join(parts)


def test_flow_of_one_seed_is_the_same_everywhere() -> None:
    """A golden digest: another one means another flow, and recorded figures no longer compare."""
    first, again, other = (messages(DrivenFlow(seed=seed), 20_000) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert hashlib.sha256(first).hexdigest()[:16] == "636568ab24e09586"


def test_flow_is_valid_and_its_top_is_the_books() -> None:
    flow = DrivenFlow(instruments=5)
    book = DrivenBook(instruments=5, orders_max=4000, levels_max=4000)
    crossed = 0
    for event in flow.events(40_000):
        kind = event.header.type
        if kind in (lib.NORM_EXECUTE, lib.NORM_EXECUTE_PRICE):
            hit = book.find(event.order_ref)
            assert hit is not None and hit.ahead_orders == 0
            assert hit.price_ticks == book.levels(hit.instrument, hit.side, 1)[0][0]
            assert 0 < event.quantity_lots <= hit.quantity_lots
        ffi.memmove(book.event, event, ffi.sizeof("norm_event"))
        status = lib.book_apply(book.book, book.event)
        assert status == (lib.BOOK_OK if lib.NORM_ADD <= kind <= lib.NORM_REPLACE else lib.BOOK_IGNORED)
        assert bytes(ffi.buffer(book.event)) == bytes(ffi.buffer(event))
        if event.bid_quantity_lots and event.ask_quantity_lots:
            crossed += event.bid_price_ticks >= event.ask_price_ticks
    assert crossed == 0
    assert lib.book_order_count(book.book) == lib.book_order_count(lib.flow_book(flow.flow))


def test_flow_opens_the_day_then_keeps_the_book_at_its_target() -> None:
    flow = DrivenFlow(instruments=50, live_orders=2000)
    opening = [(e.header.type, e.header.instrument, e.order_ref, e.reference) for e in flow.events(53)]
    assert [chr(ref) for kind, _, ref, _ in opening if kind == lib.NORM_SYSTEM] == ["O", "S", "Q"]
    directories = [(of, locate) for kind, of, _, locate in opening if kind == lib.NORM_DIRECTORY]
    assert directories == [(i, i + 1) for i in range(50)]
    types: Counter[int] = Counter()
    busy: Counter[int] = Counter()
    market = lib.flow_book(flow.flow)
    for i, event in enumerate(flow.events(60_000)):
        types[event.header.type] += 1
        busy[event.header.instrument] += 1
        if i > 5000:
            assert 1600 < lib.book_order_count(market) < 2400
    assert set(types) == {*range(lib.NORM_ADD, lib.NORM_REPLACE + 1), lib.NORM_TRADE}
    assert 0.40 < types[lib.NORM_ADD] / 60_000 < 0.55
    assert 2 < busy[0] / busy[49] < 8  # 1 / 11 against 1 / 60, and what fills the book evenly


def test_flow_time_never_falls_and_has_the_mean_gap_asked_for() -> None:
    flow = DrivenFlow(mean_gap_ns=1000)
    times = [e.header.origin_time_ns for e in flow.events(40_000)]
    assert times[0] == MIDNIGHT_NS + START_NS
    assert times == sorted(times)
    assert 800 < (times[-1] - times[0]) / len(times) < 1100  # an intent may make several events, at one instant


def test_intent_names_a_live_order_of_the_book_it_was_judged_by() -> None:
    flow = DrivenFlow(instruments=5)
    for _ in flow.events(5000):
        pass
    market, intent, order = lib.flow_book(flow.flow), ffi.new("flow_intent *"), ffi.new("book_order *")
    actions: Counter[int] = Counter()
    for _ in range(5000):
        lib.flow_intend(flow.flow, market, intent)
        actions[intent.action] += 1
        if intent.action in (lib.FLOW_CANCEL, lib.FLOW_REDUCE, lib.FLOW_REPLACE):
            assert lib.book_find(market, intent.order_ref, order) == lib.BOOK_OK
            assert (order.instrument, order.side) == (intent.instrument, intent.side)
        if intent.action == lib.FLOW_REDUCE:
            assert 0 < intent.quantity_lots < order.quantity_lots
        if intent.action in (lib.FLOW_ENTER, lib.FLOW_REPLACE, lib.FLOW_TRADE):
            assert intent.price_ticks > 0 and intent.price_ticks % 50 == 0 and intent.quantity_lots > 0
    assert set(actions) == {lib.FLOW_ENTER, lib.FLOW_CANCEL, lib.FLOW_REDUCE, lib.FLOW_REPLACE, lib.FLOW_TRADE}


@pytest.mark.parametrize("field", ["instruments", "live_orders", "increment_ticks"])
def test_flow_refuses_a_configuration_out_of_range(field: str) -> None:
    flow = DrivenFlow()
    setattr(flow.config, field, 0)
    assert lib.flow_bytes(flow.config) == 0
    assert lib.flow_init(ffi.from_buffer(flow.memory), len(flow.memory), flow.config) == ffi.NULL


def test_flow_refuses_memory_too_small_or_misaligned() -> None:
    flow = DrivenFlow()
    buffer = ffi.from_buffer(flow.memory)
    assert lib.flow_init(buffer, len(flow.memory) - 4096, flow.config) == ffi.NULL
    assert lib.flow_init(buffer + 8, len(flow.memory), flow.config) == ffi.NULL


def test_symbols_differ() -> None:
    symbol = ffi.new("char[8]")
    names = set()
    for instrument in range(0, 65534, 7):
        lib.flow_symbol(instrument, symbol)
        names.add(bytes(ffi.buffer(symbol)))
    assert len(names) == len(range(0, 65534, 7))

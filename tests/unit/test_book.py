"""The order book's edges: full pools, hostile order numbers, bad events, many instruments, clearing."""

from __future__ import annotations

import mmap

import pytest

from ffi import ffi, lib
from tests.book_driver import DrivenBook, add, event, same_home_refs
from tests.oracle_book import Event, OracleBook

MAP_PLACES = 16 * 10  # lines of one probe times places of one line


def status_of(book: DrivenBook, happening: Event) -> int:
    """What the book says to an event."""
    return book.apply(happening)[0]


def test_full_order_pool_refuses_and_keeps_the_book() -> None:
    book = DrivenBook(orders_max=3)
    for ref in range(3):
        assert status_of(book, add(ref, 100 + ref, 10)) == lib.BOOK_OK
    before = book.levels(0, lib.SIDE_BUY)
    status, refused = book.apply(add(9, 105, 10))
    assert status == lib.BOOK_FULL
    assert (refused["bid_price"], refused["bid_quantity"]) == (102, 10)
    assert not refused["flags"] & lib.FLAG_TOP
    assert book.levels(0, lib.SIDE_BUY) == before and book.find(9) is None
    assert status_of(book, event(lib.NORM_REPLACE, 2, price=105, quantity=7, reference=9)) == lib.BOOK_OK
    assert status_of(book, event(lib.NORM_DELETE, 0)) == lib.BOOK_OK
    assert status_of(book, add(10, 99, 10)) == lib.BOOK_OK


def test_full_level_pool_refuses_new_prices_only() -> None:
    book = DrivenBook(levels_max=2)
    assert [status_of(book, add(ref, 100 + ref, 10)) for ref in range(3)] == [lib.BOOK_OK, lib.BOOK_OK, lib.BOOK_FULL]
    assert status_of(book, add(3, 101, 5)) == lib.BOOK_OK
    assert status_of(book, event(lib.NORM_REPLACE, 0, price=99, quantity=1, reference=7)) == lib.BOOK_FULL
    assert book.levels(0, lib.SIDE_BUY) == [(101, 15, 2), (100, 10, 1)]
    assert lib.book_order_count(book.book) == 3
    assert status_of(book, event(lib.NORM_DELETE, 0)) == lib.BOOK_OK
    assert status_of(book, add(4, 500, 5, sell=True, instrument=1)) == lib.BOOK_OK


def test_hostile_order_numbers_fill_one_probe_then_are_refused() -> None:
    """All numbers have one home: what does not fit within the probe is refused, and the rest still works."""
    refs = same_home_refs(MAP_PLACES + 20)
    book = DrivenBook(orders_max=200, levels_max=200)
    statuses = [status_of(book, add(ref, 100, 1)) for ref in refs]
    assert statuses == [lib.BOOK_OK] * MAP_PLACES + [lib.BOOK_FULL] * 20
    assert book.levels(0, lib.SIDE_BUY) == [(100, MAP_PLACES, MAP_PLACES)]
    assert status_of(book, event(lib.NORM_DELETE, refs[MAP_PLACES])) == lib.BOOK_UNKNOWN_ORDER
    renamed = event(lib.NORM_REPLACE, refs[0], price=101, quantity=1, reference=refs[MAP_PLACES])
    assert status_of(book, renamed) == lib.BOOK_FULL
    assert book.levels(0, lib.SIDE_BUY) == [(100, MAP_PLACES, MAP_PLACES)]  # no empty level was left behind
    for ref in reversed(refs[:MAP_PLACES]):
        assert status_of(book, event(lib.NORM_DELETE, ref)) == lib.BOOK_OK
    assert (lib.book_order_count(book.book), lib.book_level_count(book.book)) == (0, 0)
    assert status_of(book, add(refs[-1], 100, 1)) == lib.BOOK_OK


def test_unknown_order_gets_the_flag_and_the_top_of_its_instrument() -> None:
    book = DrivenBook()
    book.apply(add(1, 100, 10, instrument=2))
    for kind in (lib.NORM_EXECUTE, lib.NORM_REDUCE, lib.NORM_DELETE, lib.NORM_REPLACE):
        status, after = book.apply(event(kind, 77, price=5, quantity=5, reference=78, instrument=2))
        assert status == lib.BOOK_UNKNOWN_ORDER
        assert after["flags"] == lib.FLAG_UNKNOWN_ORDER
        assert (after["bid_price"], after["bid_quantity"], after["ask_price"]) == (100, 10, 0)
    status, after = book.apply(event(lib.NORM_DELETE, 77, instrument=lib.NO_INSTRUMENT))
    assert (status, after["bid_price"]) == (lib.BOOK_UNKNOWN_ORDER, 0)


def test_execution_of_more_than_is_left_removes_the_order_and_says_so() -> None:
    book = DrivenBook()
    book.apply(add(1, 100, 10))
    book.apply(add(2, 100, 4))
    status, after = book.apply(event(lib.NORM_EXECUTE, 1, quantity=11))
    assert status == lib.BOOK_BAD_EVENT
    assert (after["price"], after["quantity"], after["bid_quantity"], after["bid_depth"]) == (100, 11, 4, 4)
    assert book.queue(0, lib.SIDE_BUY, 100) == [(2, 4, 0, 0)]


def test_reduce_keeps_priority_and_replace_loses_it() -> None:
    book = DrivenBook()
    for ref in (1, 2, 3):
        book.apply(add(ref, 100, 10))
    book.apply(event(lib.NORM_REDUCE, 1, quantity=4))
    assert book.queue(0, lib.SIDE_BUY, 100) == [(1, 6, 0, 0), (2, 10, 6, 1), (3, 10, 16, 2)]
    status, after = book.apply(event(lib.NORM_REPLACE, 1, price=100, quantity=6, reference=4))
    assert status == lib.BOOK_OK and not after["flags"] & lib.FLAG_TOP
    assert book.queue(0, lib.SIDE_BUY, 100) == [(2, 10, 0, 0), (3, 10, 10, 1), (4, 6, 20, 2)]
    front = ffi.new("book_order *")
    assert lib.book_front(book.book, 0, lib.SIDE_BUY, front) == lib.BOOK_OK and front.order_ref == 2
    assert lib.book_front(book.book, 0, lib.SIDE_SELL, front) == lib.BOOK_UNKNOWN_ORDER


def test_replace_may_keep_its_number() -> None:
    book = DrivenBook()
    book.apply(add(1, 100, 10, sell=True))
    assert status_of(book, event(lib.NORM_REPLACE, 1, price=90, quantity=3, reference=1)) == lib.BOOK_OK
    assert book.levels(0, lib.SIDE_SELL) == [(90, 3, 1)]
    assert status_of(book, event(lib.NORM_DELETE, 1)) == lib.BOOK_OK
    assert lib.book_level_count(book.book) == 0


def test_crossed_book_is_kept_as_it_comes() -> None:
    book = DrivenBook()
    book.apply(add(1, 100, 10, sell=True))
    status, after = book.apply(add(2, 105, 3))
    assert (status, after["bid_price"], after["ask_price"]) == (lib.BOOK_OK, 105, 100)


def test_stub_quotes_and_thousands_of_levels_stand_on_one_side() -> None:
    """Prices six orders of magnitude apart, and a ladder that outgrows every block up to its largest."""
    book, levels = DrivenBook(orders_max=5000, levels_max=5000), 4000
    book.apply(add(1, 100, 1))
    book.apply(add(2, 1_999_999_900, 1, sell=True))
    for i in range(levels):
        assert status_of(book, add(10 + i, 1_000_000 + (i * 7919 % levels) * 100, 1)) == lib.BOOK_OK
    prices = [price for price, _, _ in book.levels(0, lib.SIDE_BUY, levels + 1)]
    assert prices == sorted(prices, reverse=True) and len(prices) == levels + 1 and prices[-1] == 100
    for i in range(levels):
        assert status_of(book, event(lib.NORM_DELETE, 10 + i)) == lib.BOOK_OK
    assert book.levels(0, lib.SIDE_BUY) == [(100, 1, 1)]


def test_every_level_of_the_pool_fits_wherever_it_stands() -> None:
    """Ladders that grew give their blocks back: the pool's worth of levels fits again on other instruments."""
    book = DrivenBook(instruments=64, orders_max=4096, levels_max=4096)
    for round_number, instruments in enumerate((1, 64, 2, 16, 1)):
        refs = range(round_number * 10_000, round_number * 10_000 + 4096)
        for i, ref in enumerate(refs):
            assert status_of(book, add(ref, 1 + i, 1, instrument=i % instruments)) == lib.BOOK_OK
        for ref in refs:
            assert status_of(book, event(lib.NORM_DELETE, ref)) == lib.BOOK_OK


def test_thousands_of_instruments_are_apart() -> None:
    book = DrivenBook(instruments=65536, orders_max=70_000, levels_max=70_000)
    for i in range(0, 65536, 5):
        book.apply(add(i, 1000 + i, 1 + i, instrument=i))
    for i in range(0, 65536, 5):
        assert book.levels(i, lib.SIDE_BUY) == [(1000 + i, 1 + i, 1)]
    assert book.levels(1, lib.SIDE_BUY) == []
    assert status_of(book, add(1, 100, 1, instrument=65536)) == lib.BOOK_BAD_EVENT


@pytest.mark.parametrize("instrument", [1, "all"])
def test_clear_forgets_and_gives_back(instrument: int | str) -> None:
    book, oracle = DrivenBook(instruments=3, orders_max=300, levels_max=300), OracleBook(3)
    which = lib.NO_INSTRUMENT if instrument == "all" else instrument
    for _ in range(3):
        for ref in range(300):
            happening = add(ref, 100 + ref % 40, 5, instrument=ref % 3, sell=ref % 2 == 0)
            assert book.apply(happening) == oracle.apply(happening)
        lib.book_clear(book.book, which)
        oracle.clear(int(which))
        assert lib.book_order_count(book.book) == len(oracle.orders)
        assert lib.book_level_count(book.book) == oracle.level_count()
        for of in range(3):
            assert book.levels(of, lib.SIDE_SELL) == oracle.levels(of, lib.SIDE_SELL)[:10]


@pytest.mark.parametrize("field", ["instruments", "orders_max", "levels_max"])
@pytest.mark.parametrize("value", [0, 2**31])
def test_book_refuses_a_configuration_out_of_range(field: str, value: int) -> None:
    config = ffi.new("book_config *", {"instruments": 1, "orders_max": 1, "levels_max": 1})
    assert lib.book_bytes(config) > 0
    setattr(config, field, value)
    assert lib.book_bytes(config) == 0


def test_book_refuses_memory_too_small_or_misaligned() -> None:
    config = ffi.new("book_config *", {"instruments": 1, "orders_max": 10, "levels_max": 10})
    size = lib.book_bytes(config)
    memory = mmap.mmap(-1, size + 64)
    buffer = ffi.from_buffer(memory)
    assert lib.book_init(buffer, size - 1, config) == ffi.NULL
    assert lib.book_init(buffer + 8, size, config) == ffi.NULL
    assert lib.book_init(ffi.NULL, size, config) == ffi.NULL
    assert lib.book_init(buffer, size, config) != ffi.NULL


def test_prefetch_takes_any_number() -> None:
    book = DrivenBook()
    book.apply(add(5, 100, 1))
    for ref in (0, 5, 6, 2**64 - 1):
        lib.book_prefetch(book.book, ref)
        lib.book_prefetch_order(book.book, ref)
    assert book.levels(0, lib.SIDE_BUY) == [(100, 1, 1)]

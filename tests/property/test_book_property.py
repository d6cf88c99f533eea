"""The C book equals a book of dicts and sorted lists over any sequence of events, valid or not."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ffi import lib
from tests.book_driver import DrivenBook, event, same_home_refs
from tests.oracle_book import Event, OracleBook

INSTRUMENTS = 3
TYPES = [lib.NORM_ADD, lib.NORM_EXECUTE, lib.NORM_EXECUTE_PRICE, lib.NORM_REDUCE, lib.NORM_DELETE, lib.NORM_REPLACE]
STUB_PRICES = [1, 100, 1_999_999_900, 2**62, 0, -1, 2**62 + 1]
ODD_QUANTITIES = [0, -5, 2**60, 2**60 + 1, 2**62]


REFS = [*range(1, 25), 0, 2**64 - 1, *same_home_refs(30)]

events = st.builds(
    event,
    st.sampled_from(
        TYPES + [lib.NORM_ADD] * 5 + [lib.NORM_REPLACE] * 2 + [lib.NORM_TRADE, lib.NORM_SYSTEM, lib.CMD_NEW]
    ),
    st.sampled_from(REFS),
    price=st.one_of(st.integers(95, 105), st.integers(95, 105), st.sampled_from(STUB_PRICES)),
    quantity=st.one_of(st.integers(1, 40), st.integers(1, 40), st.sampled_from(ODD_QUANTITIES)),
    reference=st.sampled_from(REFS),
    instrument=st.sampled_from([0, 0, 1, 2, INSTRUMENTS, lib.NO_INSTRUMENT]),
    flags=st.sampled_from(
        [0, lib.FLAG_SELL, lib.FLAG_SELL | lib.FLAG_PRINTABLE, lib.FLAG_TOP | lib.FLAG_UNKNOWN_ORDER]
    ),
)


def check_event(book: DrivenBook, oracle: OracleBook, happening: Event) -> None:
    """One event on both: same status, same event afterwards."""
    assert book.apply(happening) == oracle.apply(happening), happening


def check_whole(book: DrivenBook, oracle: OracleBook) -> None:
    """Everything that can be asked of the book."""
    assert lib.book_order_count(book.book) == len(oracle.orders)
    assert lib.book_level_count(book.book) == oracle.level_count()
    for instrument in range(INSTRUMENTS):
        for side in (lib.SIDE_BUY, lib.SIDE_SELL):
            levels = oracle.levels(instrument, side)
            assert book.levels(instrument, side) == levels[:10]
            for price, _, _ in levels:
                refs = oracle.queues[instrument, side, price]
                expected = [(ref, oracle.orders[ref].quantity, *oracle.ahead(ref)) for ref in refs]
                assert book.queue(instrument, side, price) == expected
    for ref in REFS:
        found, known = book.find(ref), oracle.orders.get(ref)
        assert (found is None) == (known is None)
        if found and known:
            assert (found.instrument, found.side) == (known.instrument, known.side)
            assert (found.price_ticks, found.quantity_lots) == (known.price, known.quantity)
            assert (found.ahead_lots, found.ahead_orders) == oracle.ahead(ref)


@settings(max_examples=150, deadline=None)
@given(st.lists(events, max_size=80))
def test_book_equals_sorted_lists_after_every_event(happenings: list[Event]) -> None:
    book, oracle = DrivenBook(instruments=INSTRUMENTS), OracleBook(INSTRUMENTS)
    for happening in happenings:
        check_event(book, oracle, happening)
    check_whole(book, oracle)


@pytest.fixture(scope="module")
def small_and_large() -> dict[str, DrivenBook]:
    """Two books, empty: a batch takes another way through one that has held many orders."""
    books = {size: DrivenBook(instruments=INSTRUMENTS, orders_max=10_000) for size in ("small", "large")}
    books["large"].make_large()
    return books


@pytest.mark.parametrize("kind", ["small", "large"])
@settings(max_examples=100, deadline=None)
@given(happenings=st.lists(events, max_size=80), sizes=st.lists(st.integers(1, 40), min_size=1))
def test_batches_of_any_size_equal_one_at_a_time(
    small_and_large: dict[str, DrivenBook], kind: str, happenings: list[Event], sizes: list[int]
) -> None:
    book, oracle = small_and_large[kind], OracleBook(INSTRUMENTS)
    for instrument in range(INSTRUMENTS):
        lib.book_clear(book.book, instrument)
    size = itertools.cycle(sizes)
    rest = happenings
    while rest:
        count = next(size)
        batch, rest = rest[:count], rest[count:]
        assert book.apply_batch(batch) == [oracle.apply(happening) for happening in batch]
    check_whole(book, oracle)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("price_range", [12, 400])
def test_book_equals_sorted_lists_over_long_random_flow(seed: int, price_range: int) -> None:
    """Long enough that ladders grow through several blocks and shrink again, and pools are used over and over."""
    chance = random.Random(seed)
    book, oracle = DrivenBook(instruments=INSTRUMENTS), OracleBook(INSTRUMENTS)
    next_ref = 1000
    for step in range(3000):
        growing = step % 1500 < 900
        live = list(oracle.orders)
        if not live or chance.random() < (0.7 if growing else 0.2):
            kind, ref = lib.NORM_ADD, next_ref
        else:
            kind, ref = chance.choice(TYPES[1:]), chance.choice(live)
        next_ref += 1
        happening = event(
            kind,
            ref,
            price=1000 + chance.randrange(price_range),
            quantity=chance.randrange(1, 300),
            reference=next_ref,
            instrument=chance.randrange(INSTRUMENTS),
            flags=chance.choice([0, lib.FLAG_SELL]),
        )
        next_ref += 1
        check_event(book, oracle, happening)
        if step % 500 == 0:
            check_whole(book, oracle)
        if step == 2000:
            lib.book_clear(book.book, 1)
            oracle.clear(1)
            check_whole(book, oracle)
    check_whole(book, oracle)

"""Books that cannot be believed: which events say so, from when to when, and what each message is counted as."""

from __future__ import annotations

from typing import Any

import pytest

from ffi import lib
from tests.support.feed_driver import (
    DrivenFeed,
    add_order,
    delete_order,
    directory,
    execute_order,
    message,
    raw_message,
    raw_state,
)


def stale_flags(feed: DrivenFeed) -> list[bool]:
    return [bool(flags & lib.FLAG_STALE) for flags in feed.norm.events()["header"]["flags"]]


def types(feed: DrivenFeed) -> list[int]:
    found: list[int] = feed.norm.events()["header"]["type"].tolist()
    return found


def two(**options: Any) -> DrivenFeed:
    """Instruments I0 and I1, locates 1 and 2."""
    return DrivenFeed(count=2, **options)


def test_order_never_seen_added_makes_its_own_instrument_stale_and_no_other() -> None:
    feed = two()
    raw_message(feed, add_order(1, locate=1))
    raw_message(feed, add_order(2, locate=2, stock=b"I1"))
    raw_message(feed, delete_order(77, locate=1))
    raw_message(feed, add_order(3, locate=1))
    raw_message(feed, add_order(4, locate=2, stock=b"I1"))
    feed.turn()
    assert stale_flags(feed) == [False, False, True, True, False]
    assert feed.norm.events()["header"]["flags"][2] & lib.FLAG_UNKNOWN_ORDER
    assert feed.counter(lib.FEED_STALE_INSTRUMENTS) == feed.counter(lib.FEED_PARTIAL_UNKNOWN_ORDER) == 1
    assert feed.counter(lib.FEED_STALE) == 0 and feed.unused() == {"unknown_order": 1}


OVERRUN = execute_order(1, 101, locate=1)  # more than it has
SIDELESS = add_order(5, locate=1, side=b"?")


@pytest.mark.parametrize(
    ("bad", "reason", "partial"),
    [
        (delete_order(9, locate=1), "unknown_order", lib.FEED_PARTIAL_UNKNOWN_ORDER),
        (add_order(1, locate=1), "duplicate_order", lib.FEED_PARTIAL_DUPLICATE_ORDER),
        (OVERRUN, "bad_event", lib.FEED_PARTIAL_BAD_EVENT),
        (SIDELESS, "bad_message", lib.FEED_PARTIAL_BAD_MESSAGE),
        (add_order(5, locate=1)[:-1], "bad_message", lib.FEED_PARTIAL_BAD_MESSAGE),
        (add_order(5, locate=1) + bytes(64), "bad_message", lib.FEED_PARTIAL_BAD_MESSAGE),
    ],
)
def test_each_way_to_lose_an_order_has_its_reason(bad: bytes, reason: str, partial: int) -> None:
    feed = two()
    raw_message(feed, add_order(1, locate=1))
    raw_message(feed, bad)
    raw_message(feed, add_order(2, locate=1))
    raw_message(feed, add_order(3, locate=2, stock=b"I1"))
    feed.turn()
    assert stale_flags(feed) == [False, True, True, False]
    assert feed.unused() == {reason: 1} and feed.counter(partial) == feed.counter(lib.FEED_STALE_INSTRUMENTS) == 1
    feed.assert_all_accounted()


def test_full_book_makes_stale_the_instrument_whose_order_it_has_no_room_for() -> None:
    feed = two(orders_max=1024)
    for ref in range(1, 1100):
        raw_message(feed, add_order(ref, locate=1))
    raw_message(feed, add_order(5000, locate=2, stock=b"I1"))
    while feed.turn():
        pass
    assert feed.counter(lib.FEED_PARTIAL_BOOK_FULL) == 2 and feed.counter(lib.FEED_STALE_INSTRUMENTS) == 2
    feed.assert_all_accounted()


def test_message_that_cannot_be_read_is_told_of_once_as_a_gap_of_its_instrument() -> None:
    feed = two()
    for _ in range(3):
        raw_message(feed, add_order(5, locate=2, side=b"?"))
    feed.turn()
    events = feed.norm.events()
    assert types(feed) == [lib.NORM_GAP] and events["header"]["instrument"].tolist() == [1]
    assert stale_flags(feed) == [True] and feed.unused() == {"bad_message": 3}


def test_bad_message_that_speaks_of_no_order_leaves_the_book_believed() -> None:
    feed = two()
    raw_message(feed, message(b"H", 1, b""))
    raw_message(feed, message(b"z", 1, b"?"))
    raw_message(feed, add_order(1, locate=1))
    feed.turn()
    assert stale_flags(feed) == [False] and feed.unused() == {"bad_message": 1, "unknown_type": 1}


def test_snapshot_begins_every_book_anew_and_ends_every_staleness() -> None:
    feed = two()
    raw_message(feed, add_order(1, locate=1))
    raw_message(feed, delete_order(9, locate=2))
    raw_state(feed, lib.RAW_GAP_LOST, 3)
    raw_state(feed, lib.RAW_SNAPSHOT_BEGIN, 1, sequence=50)
    raw_message(feed, add_order(9, locate=2, stock=b"I1"))
    raw_state(feed, lib.RAW_SNAPSHOT_END, 1, sequence=50)
    raw_message(feed, delete_order(9, locate=2))
    feed.turn()
    add, gone, gap, clear = lib.NORM_ADD, lib.NORM_DELETE, lib.NORM_GAP, lib.NORM_CLEAR
    assert types(feed) == [add, gone, gap, clear, add, lib.NORM_WHOLE, gone]
    assert stale_flags(feed) == [False, True, True, True, True, False, False]
    assert feed.counter(lib.FEED_LIVE_ORDERS) == feed.counter(lib.FEED_STALE_INSTRUMENTS) == 0
    assert feed.counter(lib.FEED_SNAPSHOTS) == feed.counter(lib.FEED_SNAPSHOT_MESSAGES) == 1
    assert feed.counter(lib.FEED_STALE) == 0
    feed.assert_all_accounted()


def test_snapshot_that_contradicts_itself_leaves_that_instrument_stale() -> None:
    feed = two()
    raw_state(feed, lib.RAW_SNAPSHOT_BEGIN, 3, sequence=50)
    for ref, locate in ((1, 1), (1, 2), (2, 1)):
        raw_message(feed, add_order(ref, locate=locate, stock=b"I0" if locate == 1 else b"I1"))
    raw_state(feed, lib.RAW_SNAPSHOT_END, 3, sequence=50)
    for locate in (1, 2):
        raw_message(feed, add_order(10 + locate, locate=locate, stock=b"I0" if locate == 1 else b"I1"))
    feed.turn()
    assert stale_flags(feed)[-2:] == [False, True]
    assert feed.counter(lib.FEED_PARTIAL_DUPLICATE_ORDER) == 1


def test_snapshot_does_not_end_a_silence_of_the_line() -> None:
    feed = two()
    raw_state(feed, lib.RAW_SILENT)
    raw_state(feed, lib.RAW_SNAPSHOT_BEGIN, 1, sequence=2)
    raw_message(feed, add_order(1, locate=1))
    raw_state(feed, lib.RAW_SNAPSHOT_END, 1, sequence=2)
    feed.turn()
    assert stale_flags(feed) == [True] * 4 and feed.counter(lib.FEED_STALE) == 1
    raw_message(feed, delete_order(1, locate=1))
    feed.turn()
    assert stale_flags(feed)[-1] is False


@pytest.mark.parametrize(("first", "trust", "stale"), [(1, 0, False), (2, 0, True), (2, 1, False)])
def test_session_joined_late_is_stale_unless_trusted(first: int, trust: int, stale: bool) -> None:
    feed = two()
    feed.feed.trust_late_start = trust
    raw_state(feed, lib.RAW_SESSION, sequence=first)
    raw_message(feed, add_order(1, locate=1))
    raw_message(feed, delete_order(9, locate=2))
    feed.turn()
    assert types(feed)[0] == lib.NORM_CLEAR
    assert stale_flags(feed) == [stale, stale, True]


def test_filtered_instrument_costs_no_event_no_order_and_is_counted() -> None:
    feed = two(filtered=[1])
    raw_message(feed, directory(2, b"I1"))
    raw_message(feed, add_order(1, locate=1))
    raw_message(feed, add_order(2, locate=2, stock=b"I1"))
    raw_message(feed, add_order(3, locate=2, stock=b"I1")[:-1])
    raw_message(feed, delete_order(99, locate=2))
    raw_message(feed, directory(3, b"OTHER"))
    raw_message(feed, add_order(4, locate=3, stock=b"OTHER"))
    feed.turn()
    assert feed.norm.events()["order_ref"].tolist() == [1]
    assert feed.unused() == {"filtered": 6} and feed.counter(lib.FEED_LIVE_ORDERS) == 1
    assert feed.counter(lib.FEED_STALE_INSTRUMENTS) == 0


def test_locate_is_learnt_from_any_message_that_bears_the_symbol() -> None:
    feed = two(located=False)
    raw_message(feed, add_order(1, locate=7, stock=b"I1"))
    raw_message(feed, delete_order(5, locate=9))  # whose?
    raw_message(feed, add_order(2, locate=9, stock=b"I0"))  # that one's, of which an order was passed over
    raw_message(feed, add_order(3, locate=8, stock=b"NOBODY"))
    raw_message(feed, delete_order(3, locate=8))
    raw_message(feed, delete_order(1, locate=7))
    feed.turn()
    assert feed.norm.events()["header"]["instrument"].tolist() == [1, 0, 1]
    assert stale_flags(feed) == [False, True, False]
    assert feed.unused() == {"unknown_instrument": 3}


def test_locate_of_one_session_says_nothing_in_the_next() -> None:
    feed = two(located=False)
    feed.feed.trust_late_start = 1
    raw_message(feed, directory(7, b"I1"))
    raw_message(feed, add_order(1, locate=7, stock=b"I1"))
    raw_state(feed, lib.RAW_SESSION, sequence=50)  # another day, joined behind its directory
    raw_message(feed, add_order(2, locate=7, stock=b"I0"))
    raw_message(feed, delete_order(2, locate=7))
    feed.turn()
    events = feed.norm.events()
    assert events["header"]["instrument"][events["order_ref"] == 2].tolist() == [0, 0]
    assert not any(stale_flags(feed))


def test_what_was_passed_over_before_a_snapshot_lacks_in_no_book_after_it() -> None:
    feed = two(located=False)
    raw_message(feed, delete_order(5, locate=9))
    raw_state(feed, lib.RAW_SNAPSHOT_BEGIN, 1, sequence=50)
    raw_message(feed, directory(9, b"I0"))
    raw_state(feed, lib.RAW_SNAPSHOT_END, 1, sequence=50)
    raw_message(feed, add_order(2, locate=9, stock=b"I0"))
    feed.turn()
    assert stale_flags(feed)[-1] is False and feed.counter(lib.FEED_STALE_INSTRUMENTS) == 0


def test_directory_gives_a_locate_to_another_symbol() -> None:
    feed = two()
    raw_message(feed, directory(1, b"I1"))
    raw_message(feed, add_order(1, locate=1, stock=b"I1"))
    feed.turn()
    assert feed.norm.events()["header"]["instrument"].tolist() == [1, 1]

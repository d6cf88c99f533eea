"""Snapshots, over real sockets: after them the book is the venue's order for order; without them it stays stale."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ffi import lib
from tests.support.feed_driver import add_order, delete_order
from tests.support.recovery_driver import (
    RecoveringFeed,
    ScriptedServer,
    Venue,
    accepted,
    end,
    live,
    soup,
    symbols_like,
)


@pytest.fixture
def venue() -> Iterator[Venue]:
    venue = Venue()
    yield venue
    venue.close()


def joined(venue: Venue, **options: Any) -> RecoveringFeed:
    assert venue.glimpse.port is not None
    feed = RecoveringFeed(venue.glimpse.port, **options)
    symbols_like(feed, venue)
    return feed


def give(feed: RecoveringFeed, packets: list[bytes]) -> None:
    for data in packets:
        feed.receive(data)
        feed.settle()


# ---- what it is for ------------------------------------------------------------------------------------------------


def test_gap_lost_is_healed_and_queue_positions_are_the_venues(venue: Venue) -> None:
    feed = joined(venue)
    give(feed, venue.packets(50))
    assert not feed.is_stale() and feed.queues() == venue.queues()
    venue.packets(20)  # lost
    give(feed, venue.packets(20))
    assert feed.is_stale() and feed.counter(lib.FEED_GAPS_LOST) == 1
    feed.until(lambda: feed.idle and not feed.is_stale(), "a snapshot", meanwhile=venue.serve)
    assert feed.counter(lib.FEED_SNAPSHOTS) == feed.counter(lib.FEED_SNAPSHOT_ATTEMPTS) == 1
    assert feed.queues() == venue.queues() and len(feed.queues()) > 10
    give(feed, venue.packets(100))
    assert feed.queues() == venue.queues() and not feed.is_stale()
    assert feed.counter(lib.FEED_STALE_INSTRUMENTS) == 0 and feed.failures() == {}
    feed.assert_all_accounted()


def test_day_joined_late_is_stale_until_the_snapshot_and_then_the_venues(venue: Venue) -> None:
    venue.packets(100)
    feed = joined(venue)
    give(feed, venue.packets(10))
    assert feed.is_stale()
    feed.until(lambda: feed.idle and not feed.is_stale(), "a snapshot", meanwhile=venue.serve)
    give(feed, venue.packets(50))
    assert feed.queues() == venue.queues()
    assert feed.counter(lib.FEED_STALE_INSTRUMENTS) == 0


def test_day_joined_at_its_first_message_asks_for_nothing(venue: Venue) -> None:
    feed = joined(venue)
    give(feed, venue.packets(20))
    assert not feed.is_stale() and feed.counter(lib.FEED_SNAPSHOT_ATTEMPTS) == 0


def test_norm_tells_followers_to_empty_what_they_keep(venue: Venue) -> None:
    venue.packets(30)
    feed = joined(venue)
    give(feed, venue.packets(10))
    first = feed.norm.published
    feed.until(lambda: feed.idle and not feed.is_stale(), "a snapshot", meanwhile=venue.serve)
    events = feed.norm.events()[first:]
    types = events["header"]["type"].tolist()
    begin, whole = types.index(lib.NORM_CLEAR), types.index(lib.NORM_WHOLE)
    assert 0 <= begin < whole and types.count(lib.NORM_ADD) == lib.book_order_count(venue.market.live_book())
    flags = events["header"]["flags"]
    assert all(flags[begin:whole] & lib.FLAG_STALE) and not any(flags[whole:] & lib.FLAG_STALE)
    assert all(flags[begin + 1 : whole] & lib.FLAG_RECOVERED)


@pytest.mark.parametrize("seed", range(12))
def test_any_loss_while_messages_flow_ends_with_the_venues_book(seed: int) -> None:
    """Packets are lost, also during the recovery itself; the snapshot is taken in the middle of the stream."""
    rng = random.Random(seed)
    venue = Venue(seed=seed + 1)
    feed = joined(venue, raw_capacity=rng.choice([1024, 4096]))
    losing = True

    def flow() -> None:
        for data in venue.packets(rng.choice([0, 0.5, 3])):
            if not losing or rng.random() < 0.85:
                feed.receive(data)
        if rng.random() < 0.2:
            feed.receive(venue.heartbeat())
        if rng.random() < 0.7:
            venue.serve()

    feed.until(lambda: feed.counter(lib.FEED_SNAPSHOTS) >= 2, "two snapshots", meanwhile=flow)
    losing = False
    feed.until(lambda: feed.idle and not feed.is_stale(), "the last snapshot", meanwhile=flow)
    give(feed, venue.packets(5))
    feed.until(lambda: feed.idle and not feed.is_stale(), "the end", meanwhile=venue.serve)
    assert feed.queues() == venue.queues()
    assert feed.counter(lib.FEED_STALE_INSTRUMENTS) == 0
    feed.assert_all_accounted()
    feed.close()
    venue.close()


def flow_of(feed: RecoveringFeed, since: int) -> list[tuple[int, int, bool]]:
    """What followers of norm see: type, order and whether it is stale; the snapshot's order 70 left out."""
    events = feed.norm.events()[since:]
    header = events["header"]
    told = zip(header["type"].tolist(), events["order_ref"].tolist(), header["flags"].tolist(), strict=True)
    return [(kind, ref, bool(flags & lib.FLAG_STALE)) for kind, ref, flags in told if ref != 70]


def held_behind(server: ScriptedServer, *packets: bytes) -> tuple[RecoveringFeed, int]:
    """A feed that held `packets` while its snapshot was made, and is live again; and where norm stood before."""
    feed = RecoveringFeed(server.port, count=1)
    feed.line.gap_timeout_ns = 60 * 10**9
    feed.receive(live(8, add_order(1, locate=1)))
    feed.until(lambda: int(feed.snapshot.state) == lib.SNAPSHOT_RECEIVING, "an attempt")
    first = feed.norm.published
    for data in packets:
        feed.receive(data)
    feed.until(lambda: feed.idle and not feed.is_stale(), "the end", meanwhile=server.serve)
    feed.receive(live(int(feed.line.expected), add_order(90, locate=1)))
    feed.settle()
    server.close()
    feed.close()
    return feed, first


ADDED, GAP, WHOLE, CLEAR = lib.NORM_ADD, lib.NORM_GAP, lib.NORM_WHOLE, lib.NORM_CLEAR
FRESH = [(WHOLE, 0, False), (ADDED, 90, False)]


def test_what_was_held_is_stale_and_what_comes_after_it_fresh() -> None:
    """9 and 10 are covered; 11 and 12 are as old as the snapshot took, and only 13 is of now."""
    server = ScriptedServer(accepted() + soup(b"S", add_order(70, locate=1)) + end(11))
    feed, first = held_behind(server, *(live(n, add_order(n, locate=1)) for n in range(9, 13)))
    late = [(GAP, 0, True), (ADDED, 11, True), (ADDED, 12, True)]
    assert flow_of(feed, first) == [(CLEAR, 0, True), (WHOLE, 0, False), *late, *FRESH]


def test_held_messages_that_the_snapshot_covers_make_nothing_stale() -> None:
    server = ScriptedServer(accepted() + soup(b"S", add_order(70, locate=1)) + end(11))
    feed, first = held_behind(server, *(live(n, add_order(n, locate=1)) for n in range(9, 11)))
    assert flow_of(feed, first) == [(CLEAR, 0, True), *FRESH]


def test_gap_that_opens_and_closes_among_what_was_held_ends_no_age() -> None:
    """12 comes late: the line is whole before what it brought has gone out."""
    server = ScriptedServer(accepted() + soup(b"S", add_order(70, locate=1)) + end(11))
    order = (9, 10, 11, 13, 12, 14)
    feed, first = held_behind(server, *(live(n, add_order(n, locate=1)) for n in order))
    told = flow_of(feed, first)[2:]
    assert [ref for kind, ref, _ in told if kind == ADDED] == [11, 12, 13, 14, 90]
    assert all(stale for _, _, stale in told[:-2]) and told[-2:] == FRESH


def test_session_that_begins_among_what_was_held_is_stale_up_to_now() -> None:
    server = ScriptedServer(None)
    new = [b"SIM0000002" + live(n, add_order(n, locate=1))[10:] for n in (1, 2)]
    feed = RecoveringFeed(server.port, count=1)
    feed.receive(live(8, add_order(1, locate=1)))
    feed.until(lambda: int(feed.snapshot.state) == lib.SNAPSHOT_RECEIVING, "an attempt")
    first = feed.norm.published
    for data in (live(9)[:-2] + b"\xff\xff", *new):  # the end of one session, and another
        feed.receive(data)
    feed.until(lambda: feed.idle and not feed.is_stale(), "the new session", meanwhile=server.serve)
    late = [(CLEAR, 0, False), (GAP, 0, True), (ADDED, 1, True), (ADDED, 2, True)]
    assert flow_of(feed, first) == [*late, (WHOLE, 0, False)]
    server.close()
    feed.close()


def test_snapshot_is_taken_in_steps_however_much_of_it_is_here() -> None:
    count = 1000
    script = accepted() + b"".join(soup(b"S", add_order(100 + n, locate=1)) for n in range(count)) + end(9)
    server = ScriptedServer(script)
    feed = RecoveringFeed(server.port, count=1)
    feed.receive(live(8, add_order(1, locate=1)))
    taken: list[int] = []

    def look() -> None:
        server.serve()
        taken.append(int(feed.snapshot.count))

    feed.until(lambda: feed.idle and not feed.is_stale(), "the snapshot", meanwhile=look)
    assert max(taken) == count == len([ref for queue in feed.queues().values() for ref, _ in queue])
    assert max(after - before for before, after in itertools.pairwise(taken)) <= 256
    server.close()
    feed.close()


# ---- what may go wrong ---------------------------------------------------------------------------------------------

ADD = soup(b"S", add_order(7, locate=1))
FAULTS: dict[str, tuple[bytes | None, str]] = {
    "refused": (soup(b"J", b"A"), "refused"),
    "nothing said": (b"", "cut"),
    "cut before the end": (accepted() + ADD, "cut"),
    "cut within a packet": (accepted() + ADD + ADD[:-3], "cut"),
    "end of session": (accepted() + ADD + soup(b"Z"), "cut"),
    "no packet": (accepted() + b"\0\0", "malformed"),
    "unknown packet": (accepted() + soup(b"?"), "malformed"),
    "short message": (accepted() + soup(b"S", add_order(7)[:-1]) + end(9), "malformed"),
    "message of change": (accepted() + ADD + soup(b"S", delete_order(7)) + end(9), "malformed"),
    "empty message": (accepted() + soup(b"S") + end(9), "malformed"),
    "end without a number": (accepted() + end(b"x" * 20), "malformed"),
    "end at 0": (accepted() + end(0), "malformed"),
    "another session": (accepted(b"SIM0000002") + end(9), "other_session"),
    "another numbering": (accepted(sequence=5) + end(9), "refused"),
    "older than what is held": (accepted() + ADD + end(5), "wrong_sequence"),
    "ahead of the line": (accepted() + ADD + end(5000), "wrong_sequence"),
    "silent": (None, "slow"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_failed_snapshot_leaves_books_as_they_were_and_is_asked_for_again(fault: str) -> None:
    script, reason = FAULTS[fault]
    good = accepted() + soup(b"S", add_order(70, locate=1)) + end(12)
    server = ScriptedServer(script, script, good)
    feed = RecoveringFeed(server.port, count=1, timeout_ms=30)
    feed.receive(live(8, add_order(1, locate=1)))  # late: stale
    sequence = 9

    def flow() -> None:
        nonlocal sequence
        server.serve()
        if sequence < 11:
            feed.receive(live(sequence, add_order(sequence, locate=1)))
            sequence += 1

    feed.until(lambda: feed.counter(lib.FEED_SNAPSHOT_FAILURES) >= 2, "two failures", meanwhile=flow)
    assert feed.failures() == {reason: 2} and feed.counter(lib.FEED_SNAPSHOTS) == 0
    feed.settle()
    assert feed.is_stale() and feed.counter(lib.FEED_LIVE_ORDERS) == 1 + sequence - 9, "nothing of it was published"
    feed.receive(live(11, add_order(11, locate=1)))
    feed.until(lambda: feed.idle and not feed.is_stale(), "the good one", meanwhile=server.serve)
    feed.receive(live(12, add_order(12, locate=1)))
    feed.settle()
    assert [ref for queue in feed.queues().values() for ref, _ in queue] == [70, 12]
    server.close()
    feed.close()


def test_dead_server_is_asked_again_with_growing_pauses() -> None:
    server = ScriptedServer(None)
    server.close()
    feed = RecoveringFeed(server.port, count=1, retry_ms=2)
    feed.receive(live(8, add_order(1, locate=1)))
    feed.until(lambda: feed.counter(lib.FEED_SNAPSHOT_FAILURES) >= 4, "failures")
    assert feed.failures() == {"unreachable": feed.counter(lib.FEED_SNAPSHOT_FAILURES)} and feed.is_stale()
    assert feed.snapshot.backoff_ns >= 2_000_000 << 4


def test_wrong_password_is_refused(venue: Venue) -> None:
    assert venue.glimpse.port is not None
    feed = RecoveringFeed(venue.glimpse.port, password=b"wrong")
    symbols_like(feed, venue)
    venue.packets(5)
    give(feed, venue.packets(5))
    feed.until(lambda: "refused" in feed.failures(), "a refusal", meanwhile=venue.serve)
    assert venue.glimpse.counts["snapshot_login_rejects"] >= 1 and feed.is_stale()


def hold_is_full(server: ScriptedServer) -> RecoveringFeed:
    feed = RecoveringFeed(server.port, count=1, hold_capacity=2048)
    feed.receive(live(8, add_order(1, locate=1)))
    sequence = 9

    def flow() -> None:
        nonlocal sequence
        server.serve()
        feed.receive(live(sequence, *[add_order(sequence + i, locate=1) for i in range(30)]))
        sequence += 30

    feed.until(lambda: feed.failures() != {}, "a failure", meanwhile=flow)
    return feed


def snapshot_is_too_large(server: ScriptedServer) -> RecoveringFeed:
    feed = RecoveringFeed(server.port, count=1, snapshot_bytes=100)
    feed.receive(live(8, add_order(1, locate=1)))
    feed.until(lambda: feed.failures() != {}, "a failure", meanwhile=server.serve)
    return feed


@pytest.mark.parametrize(
    ("script", "provoke"), [(None, hold_is_full), (accepted() + ADD * 3 + end(9), snapshot_is_too_large)]
)
def test_memory_is_bounded(script: bytes | None, provoke: Callable[[ScriptedServer], RecoveringFeed]) -> None:
    server = ScriptedServer(script)
    feed = provoke(server)
    assert "no_room" in feed.failures() and feed.is_stale()
    feed.assert_all_accounted()
    server.close()
    feed.close()


def test_session_that_rolls_during_a_recovery_needs_none() -> None:
    server = ScriptedServer(None)
    feed = RecoveringFeed(server.port, count=1)
    feed.receive(live(8, add_order(1, locate=1)))
    feed.until(lambda: int(feed.snapshot.state) == lib.SNAPSHOT_RECEIVING, "an attempt", meanwhile=server.serve)
    feed.receive(live(9)[:-2] + b"\xff\xff")  # end of session
    feed.receive(b"SIM0000002" + live(1, add_order(5, locate=1))[10:])
    feed.until(lambda: feed.idle and not feed.is_stale(), "the new session", meanwhile=server.serve)
    assert feed.failures() == {"other_session": 1}
    assert [ref for queue in feed.queues().values() for ref, _ in queue] == [5]
    server.close()
    feed.close()


def test_gap_that_reaches_behind_the_snapshot_needs_another() -> None:
    """8 | 9 held, 10-14 lost | the snapshot ends before 12: 12-14 are still missing."""
    first = accepted() + soup(b"S", add_order(70, locate=1)) + end(12)
    server = ScriptedServer(None, first, accepted() + soup(b"S", add_order(80, locate=1)) + end(16))
    feed = RecoveringFeed(server.port, count=1, timeout_ms=30)
    feed.receive(live(8, add_order(1, locate=1)))
    feed.until(lambda: int(feed.snapshot.state) == lib.SNAPSHOT_RECEIVING, "an attempt", meanwhile=server.serve)
    feed.receive(live(9, add_order(9, locate=1)))
    feed.until(lambda: feed.counter(lib.FEED_SNAPSHOT_ATTEMPTS) == 2, "another attempt", meanwhile=server.serve)
    feed.receive(live(15, add_order(15, locate=1)))
    feed.until(lambda: feed.counter(lib.FEED_SNAPSHOTS) >= 1, "the first snapshot", meanwhile=server.serve)
    feed.until(lambda: feed.counter(lib.FEED_SNAPSHOTS) == 2, "the second snapshot", meanwhile=server.serve)
    feed.until(lambda: feed.idle and not feed.is_stale(), "the end", meanwhile=server.serve)
    feed.receive(live(16, add_order(16, locate=1)))
    feed.settle()
    assert [ref for queue in feed.queues().values() for ref, _ in queue] == [80, 16]
    server.close()
    feed.close()

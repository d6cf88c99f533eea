"""One MoldUDP64 line: order, gaps, requests, sessions, rings without room."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest

from ffi import lib
from tests.support.line_driver import (
    MILLISECOND_NS,
    SESSION,
    TIMEOUT_NS,
    DrivenLine,
    check_sequence,
    end_of_session,
    heartbeat,
    packet,
)

A, B, C, D, E, F = (bytes([letter]) * 20 for letter in b"ABCDEF")


@pytest.fixture
def line() -> Iterator[DrivenLine]:
    driven = DrivenLine()
    yield driven
    driven.close()


def test_first_packet_sets_the_number_where_nothing_can_be_asked_for() -> None:
    line = DrivenLine(server=False)
    assert line.give(packet(7, [A, B])) == 2
    assert line.events() == [(lib.RAW_SESSION, 7, SESSION), (7, A), (8, B)]


def test_session_is_taken_up_at_its_start_where_it_can_be_asked_for(line: DrivenLine) -> None:
    assert line.give(packet(7, [A])) == 0
    assert line.events() == [(lib.RAW_SESSION, 1, SESSION), (lib.RAW_GAP, 1, 6)]
    assert line.requests() == [(1, 6)]


def test_expected_number_given_by_the_caller_is_kept(line: DrivenLine) -> None:
    line.line.expected = 5
    line.give(packet(7, [A]))
    assert line.events() == [(lib.RAW_SESSION, 5, SESSION), (lib.RAW_GAP, 5, 2)]
    assert line.requests() == [(5, 2)]


def test_gap_is_asked_for_and_closed_by_its_answer(line: DrivenLine) -> None:
    line.give(packet(1, [A]))
    assert line.give(packet(3, [C])) == 0
    assert line.requests() == [(2, 1)]
    assert line.give(packet(2, [B])) == 2
    assert line.messages() == [(1, A), (2, B), (3, C)]
    assert [state[:2] for state in line.states()[1:]] == [(lib.RAW_GAP, 2), (lib.RAW_GAP_CLOSED, 4)]
    assert line.counter(lib.FEED_GAPS) == line.counter(lib.FEED_GAPS_CLOSED) == line.counter(lib.FEED_GAP_MESSAGES) == 1


def test_recovered_message_says_so(line: DrivenLine) -> None:
    for data in (packet(1, [A]), packet(3, [C]), packet(2, [B])):
        line.give(data)
    flags = {
        int(e["session_sequence"]): int(e["header"]["flags"]) for e in line.raw.events() if e["header"]["type"] == 1
    }
    assert [bool(flags[n] & lib.FLAG_RECOVERED) for n in (1, 2, 3)] == [False, True, False]


def test_gap_is_not_given_up_before_its_time(line: DrivenLine) -> None:
    line.give(packet(1, [A]))
    line.give(packet(3, [C]))
    line.poll(step_ns=TIMEOUT_NS - 1)
    assert line.counter(lib.FEED_GAPS_LOST) == 0
    line.poll(step_ns=1)
    assert line.states()[-1] == (lib.RAW_GAP_LOST, 2, 1)
    assert line.messages() == [(1, A), (3, C)]


def test_gap_found_by_a_packet_younger_than_the_poll_is_not_lost_in_that_poll(line: DrivenLine) -> None:
    """The poll's time is read before its packets arrive: their ages are 0, not 2^64 less a little."""
    line.give(packet(1, [A]), step_ns=MILLISECOND_NS)
    line.give(packet(3, [C]), step_ns=MILLISECOND_NS)
    line.poll(step_ns=-MILLISECOND_NS)
    assert line.counter(lib.FEED_GAPS_LOST) == 0 and line.line.gap_end == 3


def test_progress_renews_the_patience(line: DrivenLine) -> None:
    line.give(packet(1, [A]))
    line.give(packet(6, [F]))
    for number, message in ((2, B), (3, C), (4, D), (5, E)):
        line.give(packet(number, [message]), step_ns=TIMEOUT_NS - 1)
    assert check_sequence(line.events()) == 0 and len(line.messages()) == 6


def test_requests_repeat_at_their_interval_and_at_once_when_answered(line: DrivenLine) -> None:
    line.give(packet(1, [A]))
    line.give(packet(2500, [B]))
    assert line.requests() == [(2, lib.LINE_REQUEST_MAX)]
    line.poll(step_ns=MILLISECOND_NS)
    assert line.requests() == []
    line.poll(step_ns=4 * MILLISECOND_NS)
    assert line.requests() == [(2, lib.LINE_REQUEST_MAX)]
    for first in range(2, 1002, 100):
        line.give(packet(first, [b""] * 100))
    assert line.requests() == [(1002, lib.LINE_REQUEST_MAX)]


def test_gap_inside_a_gap_is_two_holes_of_one_gap(line: DrivenLine) -> None:
    for data in (packet(1, [A]), packet(3, [C]), packet(5, [E]), packet(4, [D]), packet(2, [B])):
        line.give(data)
    assert line.messages() == [(1, A), (2, B), (3, C), (4, D), (5, E)]
    assert [state[0] for state in line.states()[1:]] == [lib.RAW_GAP, lib.RAW_GAP_CLOSED]


def test_hole_behind_a_lost_one_is_a_gap_of_its_own(line: DrivenLine) -> None:
    for data in (packet(1, [A]), packet(3, [C]), packet(5, [E])):
        line.give(data)
    line.poll(step_ns=TIMEOUT_NS)
    line.give(packet(4, [D]))
    kinds = [(state[0], state[1]) for state in line.states()[1:]]
    assert kinds == [(lib.RAW_GAP, 2), (lib.RAW_GAP_LOST, 2), (lib.RAW_GAP, 4), (lib.RAW_GAP_CLOSED, 6)]
    assert check_sequence(line.events()) == 1


def test_heartbeat_reveals_the_tail(line: DrivenLine) -> None:
    line.give(packet(1, [A]))
    line.give(heartbeat(2))
    assert line.counter(lib.FEED_GAPS) == 0
    line.give(heartbeat(4))
    assert line.requests() == [(2, 2)]
    line.give(packet(2, [B, C]))
    assert check_sequence(line.events()) == 0 and len(line.messages()) == 3


def test_lost_tail_goes_on_from_what_the_heartbeat_said(line: DrivenLine) -> None:
    line.give(packet(1, [A]))
    line.give(heartbeat(4))
    line.poll(step_ns=TIMEOUT_NS)
    line.give(packet(4, [D]))
    assert line.states()[-1] == (lib.RAW_GAP_LOST, 2, 2)
    assert line.messages() == [(1, A), (4, D)]


def test_gap_at_time_zero_is_one_gap(line: DrivenLine) -> None:
    line.now_ns = 0
    for data in (packet(1, [A]), packet(3, [C]), packet(4, [D]), packet(2, [B])):
        line.give(data, step_ns=0)
    assert line.counter(lib.FEED_GAPS) == 1 and check_sequence(line.events()) == 0


def test_duplicates_are_counted_and_a_new_tail_is_taken(line: DrivenLine) -> None:
    line.give(packet(1, [A, B]))
    line.give(packet(1, [A, B]))
    line.give(packet(2, [B, C]))
    assert line.messages() == [(1, A), (2, B), (3, C)]
    assert line.counter(lib.FEED_DUPLICATES) == 3


def test_session_ends_once_and_only_when_whole(line: DrivenLine) -> None:
    line.give(packet(1, [A]))
    line.give(end_of_session(3))
    assert (lib.RAW_SESSION_END, 2, 0) not in line.states() and line.requests() == [(2, 1)]
    line.give(packet(2, [B]))
    line.give(end_of_session(3))
    line.give(end_of_session(3))
    assert line.states()[-1] == (lib.RAW_SESSION_END, 3, 0)
    assert [state[0] for state in line.states()].count(lib.RAW_SESSION_END) == 1


def test_new_session_is_believed_after_the_end_and_starts_at_one(line: DrivenLine) -> None:
    line.give(packet(1, [A]))
    line.give(packet(1, [F], session=b"SESSION002"))
    assert line.counter(lib.FEED_PACKETS_OTHER_SESSION) == 1 and line.messages() == [(1, A)]
    line.give(end_of_session(2))
    line.give(packet(2, [C], session=b"SESSION002"))
    assert line.requests() == [(1, 1)]
    line.give(packet(1, [B], session=b"SESSION002"))
    assert line.messages() == [(1, A), (1, B), (2, C)]
    assert check_sequence(line.events()) == 0


def test_pinned_session_is_never_left(line: DrivenLine) -> None:
    line.line.pinned_session = 1
    line.line.session = SESSION
    line.give(packet(1, [A]))
    line.give(end_of_session(2))
    line.give(packet(1, [F], session=b"SESSION002"))
    assert line.messages() == [(1, A)]


def test_another_session_does_not_break_the_silence(line: DrivenLine) -> None:
    line.give(packet(1, [A]))
    heard = line.line.heard_time_ns
    line.give(packet(1, [F], session=b"SESSION002"))
    assert line.line.heard_time_ns == heard
    line.give(heartbeat(2))
    assert line.line.heard_time_ns > heard


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"short",
        packet(1, [A])[:-1],
        packet(1, [A]) + b"x",
        packet(1, [A], count=2),
        packet(0, [A]),
        packet(2**63, [A]),
        heartbeat(2**64 - 1),
        end_of_session(1) + b"x",
        packet(1, [b"x" * 1451]),
        packet(1, [b"x" * 5000]),
    ],
)
def test_malformed_packet_is_counted_and_changes_nothing(line: DrivenLine, data: bytes) -> None:
    line.give(packet(1, [A]))
    line.give(data)
    line.give(packet(2, [B]))
    assert line.messages() == [(1, A), (2, B)] and line.counter(lib.FEED_PACKETS_MALFORMED) == 1
    assert line.counter(lib.FEED_GAPS) == 0


def test_stash_that_is_full_loses_nothing(line: DrivenLine) -> None:
    """What could not be kept aside is asked for again, without waiting for a heartbeat to tell of it."""
    line.give(packet(1, [A]))
    last = lib.LINE_STASH_MAX + 4
    for number in range(3, last + 1):
        line.give(packet(number, [struct.pack(">I", number)]))
    assert line.line.stash_count == lib.LINE_STASH_MAX
    line.requests()
    line.give(packet(2, [B]))
    assert line.requests() == [(last - 1, 2)]
    line.give(packet(last - 1, [C, D]))
    assert check_sequence(line.events()) == 0 and len(line.messages()) == last


def test_long_message_takes_consecutive_slots(line: DrivenLine) -> None:
    long = bytes(range(200))
    line.give(packet(1, [A, long]))
    assert line.messages() == [(1, A), (2, long)]
    ends = [bool(e["header"]["flags"] & lib.FLAG_PACKET_END) for e in line.raw.events()[1:]]
    assert ends == [False, False, False, False, True]


def test_packet_without_room_in_raw_is_dropped_whole_and_asked_for() -> None:
    line = DrivenLine(capacity=64)
    line.give(packet(1, [b""] * 40))
    assert line.give(packet(41, [b""] * 40)) == 0
    assert line.counter(lib.FEED_RAW_FULL) == 1 and line.line.expected == 41
    line.raw.release("feed")
    assert line.give(packet(81, [A])) == 0 and line.requests() == [(41, 40)]
    assert line.give(packet(41, [b""] * 40)) == 41
    line.close()


def test_stash_waits_for_room_in_raw_beyond_the_time_limit() -> None:
    line = DrivenLine(capacity=64)
    line.give(packet(1, [A]))
    for first in (22, 32, 42, 52, 62):
        line.give(packet(first, [b""] * 10))
    assert line.give(packet(2, [b""] * 20)) >= 20  # then raw has room for some of what was kept aside
    while line.line.gap_end:
        line.now_ns += 2 * TIMEOUT_NS
        line.raw.release("feed")
        line.give(heartbeat(72))
    assert line.counter(lib.FEED_GAPS_LOST) == 0 and line.line.expected == 72
    line.close()


def test_line_reads_real_sockets_and_leaves_what_raw_has_no_room_for() -> None:
    line = DrivenLine(capacity=1024, timeout_ns=10**12)
    feed, request, server, sender = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(4))
    line.sockets += [feed, request, server, sender]
    for each in (feed, server):
        each.bind(("127.0.0.1", 0))
    for each in (feed, request):
        each.setblocking(False)
    request.connect(server.getsockname())
    server.settimeout(5)
    line.line.side[0].socket, line.line.request_socket[0] = feed.fileno(), request.fileno()
    for data in (packet(1, [b""] * 300), packet(601, [A]), packet(1, [b"y"] * 3)):
        sender.sendto(data, feed.getsockname())
    line.now_ns = int(lib.clock_now(line.clock))
    assert line.poll(packets_max=8) == 300
    assert line.poll(packets_max=8) == 0  # the rest waits: raw may not hold another packet
    assert line.counter(lib.FEED_RAW_FULL) == 1 and line.counter(lib.FEED_PACKETS) == 1
    line.raw.release("feed")
    line.poll(packets_max=8)
    data, address = server.recvfrom(2048)
    assert data == packet(301, [], count=300)
    server.sendto(packet(301, [b""] * 300), address)
    line.poll(packets_max=8)
    assert line.line.expected == 602 and line.counter(lib.FEED_GAPS_CLOSED) == 1
    assert line.counter(lib.FEED_GAPS_LOST) == 0 and line.counter(lib.FEED_SOCKET_ERRORS) == 0
    line.close()

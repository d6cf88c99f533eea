"""Retransmission servers that are late, lost or wrong, and a late joiner that catches up."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from ffi import ffi, lib
from tests.support.line_driver import (
    MILLISECOND_NS,
    TIMEOUT_NS,
    DrivenLine,
    check_sequence,
    heartbeat,
    packet,
)

A, B, C, D, E, F = (bytes([letter]) * 20 for letter in b"ABCDEF")
INTERVAL_NS = 5 * MILLISECOND_NS
ANSWER = lib.LINE_ANSWER


@pytest.fixture
def line() -> Iterator[DrivenLine]:
    driven = DrivenLine()
    driven.give(packet(1, [A]))
    yield driven
    driven.check_fates()
    assert check_sequence(driven.events()) >= 0
    driven.close()


def second_server(line: DrivenLine) -> socket.socket:
    """A server that is asked when the first one does not answer."""
    server, client = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    server.setblocking(False)
    line.line.request_socket[1] = client.fileno()
    line.sockets += [server, client]
    return server


def asked(server: socket.socket) -> int:
    """How many requests wait at a server."""
    count = 0
    while True:
        try:
            server.recv(64)
        except BlockingIOError:
            return count
        count += 1


def test_server_that_does_not_answer_is_left_for_the_second_one(line: DrivenLine) -> None:
    second = second_server(line)
    line.give(packet(3, [C]))
    for _ in range(5):
        line.poll(step_ns=INTERVAL_NS)
    assert len(line.requests()) == 3 and asked(second) == 3
    assert line.counter(lib.FEED_SERVER_SWITCHES) == 1 and line.counter(lib.FEED_REQUEST_TIMEOUTS) == 5
    line.poll(step_ns=INTERVAL_NS)
    assert len(line.requests()) == 1  # and back
    line.give(packet(2, [B]), source=ANSWER)
    assert check_sequence(line.events()) == 0


def test_server_that_answers_is_kept(line: DrivenLine) -> None:
    second = second_server(line)
    line.give(packet(30, [C]))
    for number in range(2, 30):
        line.poll(step_ns=INTERVAL_NS)
        line.poll(step_ns=INTERVAL_NS)
        line.give(packet(number, [B]), source=ANSWER)
    assert asked(second) == 0 and check_sequence(line.events()) == 0


def test_gap_nobody_can_be_asked_about_says_so() -> None:
    line = DrivenLine(server=False)
    line.give(packet(1, [A]))
    line.give(packet(3, [C]))
    line.poll(step_ns=TIMEOUT_NS)
    assert line.reasons() == [lib.GAP_NO_SERVER]


def test_nothing_that_came_is_dropped_for_what_nobody_can_bring() -> None:
    line = DrivenLine(server=False)
    line.give(packet(1, [A]))
    last = 2 * lib.LINE_STASH_MAX
    for number in range(3, last + 1):
        line.give(packet(number, [C]))
    assert line.reasons() == [lib.GAP_NO_SERVER] and line.counter(lib.FEED_PACKETS_NO_STASH) == 0
    assert line.messages() == [(1, A), *((number, C) for number in range(3, last + 1))]


def test_gap_whose_requests_nobody_answers_says_so(line: DrivenLine) -> None:
    line.give(packet(3, [C]))
    line.poll(step_ns=TIMEOUT_NS)
    assert line.reasons() == [lib.GAP_UNANSWERED]


@pytest.mark.parametrize(
    "answer",
    [packet(2, [B], session=b"SESSION009"), packet(9, [B]), heartbeat(2)],
    ids=["another session", "another place", "nothing"],
)
def test_wrong_answers_change_nothing_and_say_so(line: DrivenLine, answer: bytes) -> None:
    line.give(packet(3, [C]))
    line.give(answer, source=ANSWER)
    assert line.counter(lib.FEED_PACKETS_WRONG_ANSWER) == 1
    line.poll(step_ns=TIMEOUT_NS)
    assert line.reasons() == [lib.GAP_WRONG_ANSWERS]
    assert line.messages() == [(1, A), (3, C)]


def test_gap_of_which_a_part_came_says_so(line: DrivenLine) -> None:
    line.give(packet(9, [C]))
    line.give(packet(2, [B]), source=ANSWER)
    assert line.requests()[-1] == (3, 2)  # twice what came
    line.poll(step_ns=TIMEOUT_NS)
    assert line.reasons() == [lib.GAP_STALLED] and check_sequence(line.events()) == 6


def test_answers_may_overlap_what_is_here(line: DrivenLine) -> None:
    line.give(packet(4, [D, E]))
    line.give(packet(1, [A, B]), source=ANSWER)
    line.give(packet(2, [B, C, D]), source=ANSWER)
    line.give(packet(2, [B, C]), source=ANSWER)  # late: the other server's
    assert line.messages() == [(1, A), (2, B), (3, C), (4, D), (5, E)]
    assert line.counter(lib.FEED_PACKETS_WRONG_ANSWER) == 0


def test_answer_does_not_break_the_silence_of_the_lines(line: DrivenLine) -> None:
    heard = line.line.heard_time_ns
    line.give(packet(3, [C]))
    heard = line.line.heard_time_ns
    line.give(packet(2, [B]), source=ANSWER)
    assert line.line.heard_time_ns == heard


def recorded(line: DrivenLine, *, lag_max: int) -> Any:
    """A journal's cursor that stands at the beginning of raw."""
    cursor = ffi.new("ring_cursor *")
    line.line.recorded, line.line.recorder, line.line.recorder_lag_max = line.writer, cursor, lag_max
    return cursor


def test_what_is_missing_is_asked_for_as_fast_as_the_journal_reads_and_all_of_it_comes(line: DrivenLine) -> None:
    cursor, lag_max, last = recorded(line, lag_max=16), 16, 500
    line.give(packet(last, [C]))
    worst, waited = 0, 0
    for _ in range(20 * last):
        for first, count in line.requests():
            line.give(packet(first, [B] * min(4, count)), source=ANSWER)
        worst = max(worst, line.writer.next - cursor.position)
        waited += line.counter(lib.FEED_RECOVERY_WAITS)
        cursor.position += line.writer.next > cursor.position  # slower than what a server gives
        line.poll(step_ns=INTERVAL_NS // 4)
    assert waited and worst <= lag_max + 8  # an answer, and what states the line tells
    assert check_sequence(line.events()) == 0 and line.messages()[-1] == (last, C)
    assert line.counter(lib.FEED_RECOVERY_WAITS) == 0


def test_gap_does_not_age_while_the_journal_is_behind(line: DrivenLine) -> None:
    cursor = recorded(line, lag_max=0)
    line.give(packet(3, [C]))
    for _ in range(10):
        line.poll(step_ns=TIMEOUT_NS // 2)
    assert line.requests() == [] and line.reasons() == [] and line.counter(lib.FEED_RECOVERY_WAITS) == 1
    line.give(packet(4, [D]))  # what is live is kept, and comes when the gap is filled
    cursor.position = 2**64 - 1  # the journal ended for good: nobody is waited for
    line.poll(step_ns=INTERVAL_NS)
    assert [first for first, _ in line.requests()] == [2]
    line.give(packet(2, [B]), source=ANSWER)
    assert line.messages() == [(1, A), (2, B), (3, C), (4, D)]


def test_server_that_is_gone_is_not_asked_thrice(line: DrivenLine) -> None:
    gone, client = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    gone.bind(("127.0.0.1", 0))
    client.connect(gone.getsockname())
    client.setblocking(False)
    gone.close()
    line.sockets.append(client)
    line.line.request_socket[1] = line.line.request_socket[0]
    line.line.request_socket[0] = client.fileno()
    line.give(packet(3, [C]))
    for _ in range(3):
        line.poll(step_ns=INTERVAL_NS)
    assert line.requests() and line.counter(lib.FEED_SERVER_SWITCHES) == 1


def test_late_joiner_catches_up_while_the_feed_goes_on() -> None:
    """It joins 5,000 messages late, far beyond what one packet is believed; a server gives 40 at a time."""
    stream = [number.to_bytes(4, "big") for number in range(1, 7001)]

    def build(first: int, count: int) -> bytes:
        return packet(first, stream[first - 1 : first - 1 + count])

    line = DrivenLine(capacity=16384)
    live, rounds = 5001, 0
    while line.line.expected <= len(stream):
        rounds += 1
        assert rounds < 400, "it never catches up"
        if live <= len(stream):
            line.give(build(live, 10))
            live += 10
        for first, count in line.requests():
            line.give(build(first, min(count, 40)), source=ANSWER)
        line.poll(step_ns=MILLISECOND_NS)
    assert line.messages() == list(enumerate(stream, 1))
    assert line.counter(lib.FEED_GAPS) == line.counter(lib.FEED_GAPS_CLOSED) == 1
    assert line.counter(lib.FEED_REQUEST_TIMEOUTS) == 0
    line.check_fates()
    line.close()


def test_late_joiner_with_nobody_to_ask_begins_where_the_feed_is() -> None:
    line = DrivenLine(server=False)
    line.give(packet(5001, [A]))
    line.give(packet(5002, [B]))
    assert line.messages() == [(5001, A), (5002, B)] and line.counter(lib.FEED_GAPS) == 0

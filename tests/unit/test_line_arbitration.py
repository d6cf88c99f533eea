"""Two lines of one stream: either first, each covering the other's losses, neither able to mislead."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ffi import lib
from tests.support.line_driver import (
    MILLISECOND_NS,
    TIMEOUT_NS,
    WAIT_NS,
    DrivenLine,
    check_sequence,
    end_of_session,
    heartbeat,
    packet,
)

A, B, C, D, E, F = (bytes([letter]) * 20 for letter in b"ABCDEF")
NEXT = b"SESSION002"
LAST = b"SESSION003"
FAR = 10 * lib.LINE_AHEAD_MAX


@pytest.fixture
def lines() -> Iterator[DrivenLine]:
    driven = DrivenLine(sides=2)
    yield driven
    driven.check_fates()
    assert check_sequence(driven.events()) >= 0
    driven.close()


@pytest.fixture
def line() -> Iterator[DrivenLine]:
    driven = DrivenLine()
    yield driven
    driven.check_fates()
    driven.close()


# ---- arbitration -------------------------------------------------------------------------------


def test_either_line_may_be_first(lines: DrivenLine) -> None:
    first, second = packet(1, [A, B]), packet(3, [C])
    lines.give(first, source=lib.LINE_A)
    lines.give(first, source=lib.LINE_B)
    lines.give(second, source=lib.LINE_B)
    lines.give(second, source=lib.LINE_A)
    assert lines.messages() == [(1, A), (2, B), (3, C)]
    assert lines.side(lib.LINE_A) == lines.side(lib.LINE_B) == (2, 1, 1, 0, 0)
    assert lines.counter(lib.FEED_DIVERGENCES) == 0


def test_what_only_the_other_line_brings_within_the_wait_is_no_gap(lines: DrivenLine) -> None:
    lines.give(packet(1, [A]))
    lines.give(packet(1, [A]), source=lib.LINE_B)
    lines.give(packet(3, [C]))
    lines.poll(step_ns=WAIT_NS // 2)
    lines.give(packet(2, [B]), source=lib.LINE_B)
    lines.give(packet(3, [C]), source=lib.LINE_B)
    assert lines.messages() == [(1, A), (2, B), (3, C)]
    assert lines.requests() == [] and lines.counter(lib.FEED_GAPS) == 0
    assert lines.counter(lib.FEED_HOLES_FILLED) == 1
    assert lines.side(lib.LINE_A)[3] == 1 and lines.side(lib.LINE_B)[3] == 0


def test_gap_opens_when_the_wait_is_over(lines: DrivenLine) -> None:
    lines.give(packet(1, [A]))
    lines.give(packet(3, [C]))
    lines.poll(step_ns=WAIT_NS - 1)
    assert lines.counter(lib.FEED_GAPS) == 0
    lines.poll(step_ns=1)
    assert lines.counter(lib.FEED_GAPS) == 1 and lines.requests() == [(2, 1)]


def test_gap_opens_at_once_when_both_lines_have_gone_past_it(lines: DrivenLine) -> None:
    lines.give(packet(1, [A]))
    lines.give(packet(1, [A]), source=lib.LINE_B)
    lines.give(packet(3, [C]))
    lines.give(packet(3, [C]), source=lib.LINE_B)
    assert lines.counter(lib.FEED_GAPS) == 1 and lines.requests() == [(2, 1)]
    assert lines.side(lib.LINE_A)[3] == lines.side(lib.LINE_B)[3] == 1


def test_gap_does_not_wait_for_a_line_that_is_silent(lines: DrivenLine) -> None:
    lines.line.line_silence_ns = MILLISECOND_NS
    lines.poll()
    lines.give(packet(1, [A]), step_ns=2 * MILLISECOND_NS)
    lines.poll()
    lines.give(packet(3, [C]))
    assert lines.side(lib.LINE_B)[4] == 1 and lines.requests() == [(2, 1)]


def test_each_of_several_holes_has_a_wait_of_its_own(lines: DrivenLine) -> None:
    for number in (1, 3, 5):
        lines.give(packet(number, [A]))
    lines.give(packet(2, [A]), source=lib.LINE_B, step_ns=WAIT_NS - 2000)
    lines.poll(step_ns=WAIT_NS // 2)
    assert lines.counter(lib.FEED_GAPS) == 0
    lines.give(packet(4, [A]), source=lib.LINE_B)
    assert len(lines.messages()) == 5 and lines.counter(lib.FEED_HOLES_FILLED) == 2


def test_losses_of_each_line_are_counted_and_taken_off_when_they_come_after_all(lines: DrivenLine) -> None:
    for number in range(1, 11):
        if number not in (3, 4):
            lines.give(packet(number, [A]), source=lib.LINE_A)
        if number != 7:
            lines.give(packet(number, [A]), source=lib.LINE_B)
    assert (lines.side(lib.LINE_A)[3], lines.side(lib.LINE_B)[3]) == (2, 1)
    lines.give(packet(3, [A]), source=lib.LINE_A)
    lines.give(packet(3, [A]), source=lib.LINE_A)  # twice: the second is no loss made good
    assert (lines.side(lib.LINE_A)[3], lines.side(lib.LINE_B)[3]) == (1, 1)
    lines.give(heartbeat(15), source=lib.LINE_B)
    assert lines.side(lib.LINE_B)[3] == 5


def test_other_bytes_under_one_number_are_a_divergence(lines: DrivenLine) -> None:
    lines.give(packet(1, [A, B]))
    lines.give(packet(1, [A, C]), source=lib.LINE_B)
    lines.give(packet(3, [D]), source=lib.LINE_B)
    lines.give(packet(3, [D]))
    assert lines.counter(lib.FEED_DIVERGENCES) == 1
    assert lines.messages() == [(1, A), (2, B), (3, D)]  # the first copy is what everybody saw


def test_silent_line_is_told_once_and_so_is_its_return(lines: DrivenLine) -> None:
    lines.line.line_silence_ns = 10 * MILLISECOND_NS
    lines.poll()
    for number in range(1, 31):
        lines.give(packet(number, [A]), step_ns=MILLISECOND_NS)
        lines.poll()
    assert lines.side(lib.LINE_A)[4] == 0 and lines.side(lib.LINE_B)[4] == 1
    lines.give(packet(30, [A]), source=lib.LINE_B)
    assert lines.side(lib.LINE_B)[4] == 0
    told = [state[::2] for state in lines.states() if state[0] != lib.RAW_SESSION]
    assert told == [(lib.RAW_LINE_SILENT, lib.LINE_B), (lib.RAW_LINE_HEARD, lib.LINE_B)]
    assert lines.counter(lib.FEED_LINE_SILENCES) == 1


def test_two_silent_lines_are_not_one_silent_line(lines: DrivenLine) -> None:
    lines.line.line_silence_ns = 10 * MILLISECOND_NS
    lines.give(packet(1, [A]))
    lines.give(packet(1, [A]), source=lib.LINE_B)
    lines.poll(step_ns=50 * MILLISECOND_NS)
    assert lines.counter(lib.FEED_LINE_SILENCES) == 0


# ---- sessions that roll ------------------------------------------------------------------------


def test_one_line_rolls_before_the_other(lines: DrivenLine) -> None:
    for source in (lib.LINE_A, lib.LINE_B):
        lines.give(packet(1, [A]), source=source)
    lines.give(end_of_session(2), source=lib.LINE_A)
    lines.give(packet(1, [B], session=NEXT), source=lib.LINE_A)
    lines.give(packet(1, [A]), source=lib.LINE_B)
    lines.give(end_of_session(2), source=lib.LINE_B)
    lines.give(packet(2, [C], session=NEXT), source=lib.LINE_A)
    lines.give(packet(1, [B], session=NEXT), source=lib.LINE_B)
    lines.give(packet(2, [C], session=NEXT), source=lib.LINE_B)
    assert lines.messages() == [(1, A), (1, B), (2, C)]
    assert lines.counter(lib.FEED_PACKETS_OLD_SESSION) == 2 and lines.counter(lib.FEED_DIVERGENCES) == 0
    assert lines.counter(lib.FEED_SESSIONS) == 2 and lines.counter(lib.FEED_GAPS) == 0


def test_the_other_line_brings_the_tail_of_a_session_that_this_one_has_ended(lines: DrivenLine) -> None:
    lines.give(packet(1, [A]))
    lines.give(end_of_session(3))
    lines.give(packet(1, [D], session=NEXT))  # not yet: the old session is not whole
    assert lines.counter(lib.FEED_PACKETS_OTHER_SESSION) == 1
    lines.give(packet(2, [B]), source=lib.LINE_B)  # nobody need say again that it ended
    assert lines.states()[-1] == (lib.RAW_SESSION_END, 3, 0)
    lines.give(packet(2, [E], session=NEXT))
    lines.give(packet(1, [D], session=NEXT), source=lib.LINE_B)
    assert lines.messages() == [(1, A), (2, B), (1, D), (2, E)]


def test_session_that_was_left_never_comes_back(line: DrivenLine) -> None:
    line.give(packet(1, [A]))
    line.give(end_of_session(2))
    line.give(packet(1, [B], session=NEXT))
    line.give(end_of_session(2, session=NEXT))
    line.give(packet(1, [F]))
    line.give(packet(1, [C], session=LAST))
    assert line.messages() == [(1, A), (1, B), (1, C)]
    assert line.counter(lib.FEED_PACKETS_OLD_SESSION) == 1


def test_session_that_nobody_ended_is_left_after_its_silence_and_two_packets_of_the_next(line: DrivenLine) -> None:
    line.line.session_wait_ns = 100 * MILLISECOND_NS
    line.give(packet(1, [A]))
    line.give(packet(1, [B], session=NEXT))
    line.give(packet(2, [C], session=NEXT))
    assert line.counter(lib.FEED_PACKETS_OTHER_SESSION) == 2
    line.give(packet(3, [D], session=NEXT), step_ns=100 * MILLISECOND_NS)
    assert line.counter(lib.FEED_SESSIONS) == 1  # one packet alone is not believed
    line.give(packet(4, [E], session=NEXT))
    assert line.counter(lib.FEED_SESSIONS) == 2 and line.requests() == [(1, 3)]
    line.give(packet(1, [B, C, D], session=NEXT), source=lib.LINE_ANSWER)
    assert line.messages() == [(1, A), (1, B), (2, C), (3, D), (4, E)]


def test_pinned_session_is_announced_and_others_are_counted(line: DrivenLine) -> None:
    line.line.pinned_session = 1
    line.line.session = NEXT
    line.give(packet(1, [A]))
    line.give(packet(1, [B], session=NEXT))
    assert line.events() == [(lib.RAW_SESSION, 1, NEXT), (1, B)]
    assert line.counter(lib.FEED_PACKETS_OTHER_SESSION) == 1


def test_end_below_what_was_received_is_not_believed(line: DrivenLine) -> None:
    line.give(packet(1, [A, B, C]))
    line.give(end_of_session(2))
    assert line.line.ended == 0
    line.give(end_of_session(4))
    assert line.line.ended == 1


def test_packets_kept_aside_when_their_session_is_left_are_counted(line: DrivenLine) -> None:
    line.line.session_wait_ns = 100 * MILLISECOND_NS
    line.give(packet(1, [A]))
    line.give(packet(3, [C]))
    line.give(packet(7, [C], session=NEXT), step_ns=100 * MILLISECOND_NS)
    line.give(packet(8, [C], session=NEXT))
    assert line.counter(lib.FEED_PACKETS_LEFT) == 1


# ---- how far one packet is believed ------------------------------------------------------------


def test_one_packet_far_ahead_moves_nothing(line: DrivenLine) -> None:
    line.give(packet(1, [A]))
    line.give(packet(FAR, [F]))
    line.poll(step_ns=3 * TIMEOUT_NS)
    line.give(packet(2, [B]))
    line.give(packet(5 * FAR, [F]))  # another, elsewhere
    line.give(packet(3, [C]))
    assert line.messages() == [(1, A), (2, B), (3, C)]
    assert line.counter(lib.FEED_GAPS) == 0 and line.requests() == []
    assert line.counter(lib.FEED_PACKETS_UNBELIEVED) == 1 and line.counter(lib.FEED_PACKETS_HELD) == 1


def test_one_heartbeat_far_ahead_moves_nothing(line: DrivenLine) -> None:
    line.give(packet(1, [A]))
    line.give(heartbeat(2**62))
    line.poll(step_ns=3 * TIMEOUT_NS)
    line.give(packet(2, [B]))
    assert line.messages() == [(1, A), (2, B)] and line.counter(lib.FEED_GAPS) == 0


@pytest.mark.parametrize(
    "second",
    [packet(FAR + 1, [B]), packet(FAR - 1, [B]), heartbeat(FAR + 1), heartbeat(FAR + 2)],
    ids=["next", "before", "heartbeat", "heartbeat beyond"],
)
def test_a_second_packet_confirms_a_first_far_ahead(line: DrivenLine, second: bytes) -> None:
    line.give(packet(1, [A]))
    line.give(packet(FAR, [F]))
    line.give(second)
    assert line.requests() == [(2, lib.LINE_REQUEST_MAX)]
    line.poll(step_ns=2 * TIMEOUT_NS)
    assert (FAR, F) in line.messages()  # nothing of it was thrown away
    assert line.counter(lib.FEED_PACKETS_UNBELIEVED) == 0


def test_the_copy_on_the_other_line_confirms_and_a_repeat_on_its_own_does_not(lines: DrivenLine) -> None:
    lines.give(packet(1, [A]))
    lines.give(packet(FAR, [F]))
    lines.give(packet(FAR, [F]))
    lines.poll(step_ns=WAIT_NS)
    assert lines.counter(lib.FEED_GAPS) == 0
    lines.give(packet(FAR, [F]), source=lib.LINE_B)
    lines.poll(step_ns=WAIT_NS)
    assert lines.counter(lib.FEED_GAPS) == 1


def test_session_taken_up_at_a_corrupt_number_is_taken_up_again() -> None:
    line = DrivenLine(server=False)
    line.give(packet(2**50, [F]))
    line.give(packet(7, [A]))
    line.give(packet(8, [B]))
    assert line.messages()[1:] == [(7, A), (8, B)]
    assert [state[:2] for state in line.states()] == [(lib.RAW_SESSION, 2**50), (lib.RAW_SESSION, 7)]
    line.check_fates()

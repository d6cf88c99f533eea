"""hotpath/venues/message_log.py: a session's day, numbered from 1, whatever of it is still in memory."""

from __future__ import annotations

import tracemalloc

import pytest

from hotpath.venues.message_log import KEPT, MARKED, MessageLog

COUNT = KEPT + 2 * MARKED + 7


def said(number: int) -> bytes:
    """Of many lengths, so that a wrong offset is seen."""
    return f"{number}".encode().ljust(1 + number % 90, b".")


@pytest.fixture(scope="module")
def log() -> MessageLog:
    made = MessageLog()
    for number in range(1, COUNT + 1):
        made.append(said(number))
    return made


@pytest.mark.parametrize("limit", [1, 700, COUNT])
@pytest.mark.parametrize(
    "number", [1, 2, MARKED, MARKED + 1, MARKED + 2, COUNT - KEPT, COUNT - KEPT + 1, COUNT, COUNT + 1]
)
def test_any_part_is_had_again(log: MessageLog, number: int, limit: int) -> None:
    expected = [said(n) for n in range(number, min(COUNT, number + limit - 1) + 1)]
    assert log.since(number, limit=limit) == expected


def test_whole_log_is_had_again_and_goes_on(log: MessageLog) -> None:
    assert list(log) == [said(n) for n in range(1, len(log) + 1)]
    assert list(MessageLog()) == []
    short = MessageLog()
    short.append(b"one")
    assert list(short) == [b"one"] and short.since(2, limit=9) == []


def test_a_long_day_takes_no_more_memory_than_a_short_one() -> None:
    made = MessageLog()
    tracemalloc.start()
    try:
        sizes = []
        for _ in range(3):
            for _ in range(4 * KEPT):
                made.append(b"x" * 80)
            sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert sizes[2] - sizes[0] < 4 * KEPT  # 80 bytes a message would be 160 times as much

"""Whatever the network does to the packets, each message comes out once, in order, or is counted as lost."""

from __future__ import annotations

import random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ffi import lib
from tests.support.line_driver import TIMEOUT_NS, DrivenLine, check_sequence, end_of_session, heartbeat, packet

QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def message(number: int) -> bytes:
    """A message that tells its number; some are longer than a slot, some empty."""
    return b"" if number % 11 == 0 else f"{number}:".encode() * (1 + 30 * (number % 7 == 0))


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[int, list[tuple[int, int]], random.Random]:
    """How many messages there are, and packets (first, count) as they arrive: lost, doubled, cut anew, shuffled."""
    total = draw(st.integers(1, 60))
    rng = random.Random(draw(st.integers(0, 2**32)))
    packets, first = [], 1
    while first <= total:
        count = min(rng.choice([1, 1, 2, 5]), total + 1 - first)
        packets.append((first, count))
        first += count
    arriving = []
    loss, twice, distance = rng.choice([0, 0.1, 0.5]), rng.choice([0, 0.3]), rng.choice([0, 1, 5, 60])
    for index, each in enumerate(packets):
        copies = (rng.random() >= loss) + (rng.random() < twice)
        arriving += [(index + rng.uniform(0, distance), each)] * copies
    if draw(st.booleans()):  # another cut of the same messages, as a second server would make
        start = rng.randint(1, total)
        arriving.append((rng.uniform(0, len(packets)), (start, min(7, total + 1 - start))))
    return total, [each for _, each in sorted(arriving, key=lambda item: item[0])], rng


def build(first: int, count: int) -> bytes:
    return packet(first, [message(number) for number in range(first, first + count)])


@QUICK
@given(deliveries())
def test_every_message_comes_once_and_in_order_when_the_server_answers(
    delivery: tuple[int, list[tuple[int, int]], random.Random],
) -> None:
    total, arriving, rng = delivery
    line = DrivenLine(timeout_ns=100 * TIMEOUT_NS)  # the server forgets one answer in five
    line.line.expected = 1
    for first, count in arriving:
        line.give(build(first, count))
        if rng.random() < 0.3:
            serve(line, rng)
    for _ in range(100):
        line.give(heartbeat(total + 1))
        line.poll(step_ns=TIMEOUT_NS // 5)
        serve(line, rng)
    line.give(end_of_session(total + 1))
    assert line.messages() == [(number, message(number)) for number in range(1, total + 1)]
    assert check_sequence(line.events()) == 0
    assert line.states()[-1][0] == lib.RAW_SESSION_END
    assert line.line.stash_count == 0 and line.line.gap_end == 0
    assert line.counter(lib.FEED_GAPS) == line.counter(lib.FEED_GAPS_CLOSED)
    line.close()


def serve(line: DrivenLine, rng: random.Random) -> None:
    """Answer what was asked, in packets of a few messages, some of them late or never."""
    for first, count in line.requests():
        while count > 0:
            size = min(rng.choice([1, 4, 10]), count)
            if rng.random() < 0.8:
                line.give(build(first, size))
            first, count = first + size, count - size


@QUICK
@given(deliveries())
def test_what_nobody_retransmits_is_lost_and_counted_exactly(
    delivery: tuple[int, list[tuple[int, int]], random.Random],
) -> None:
    total, arriving, rng = delivery
    line = DrivenLine(server=False)
    line.line.expected = 1
    for first, count in arriving:
        line.give(build(first, count), step_ns=rng.choice([1, TIMEOUT_NS // 3, 2 * TIMEOUT_NS]))
        if rng.random() < 0.3:
            line.poll(step_ns=rng.choice([0, TIMEOUT_NS]))
    for _ in range(2 * total + 2):
        line.give(heartbeat(total + 1))
        line.poll(step_ns=TIMEOUT_NS)
    received = line.messages()
    assert all(data == message(number) for number, data in received)
    lost = check_sequence(line.events())
    assert len(received) + lost == total
    assert line.counter(lib.FEED_GAPS) == line.counter(lib.FEED_GAPS_CLOSED) + line.counter(lib.FEED_GAPS_LOST)
    assert line.line.stash_count == 0 and line.line.gap_end == 0 and line.line.expected == total + 1
    line.close()

"""Whatever the network does to the packets, each message comes out once, in order, or is counted as lost."""

from __future__ import annotations

import random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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


# ---- two lines ---------------------------------------------------------------------------------


@st.composite
def copies(draw: st.DrawFn) -> tuple[int, list[tuple[int, tuple[int, int]]], random.Random]:
    """How many messages there are, and packets (line, (first, count)) as they arrive on two lines with faults."""
    total = draw(st.integers(1, 80))
    rng = random.Random(draw(st.integers(0, 2**32)))
    packets, first = [], 1
    while first <= total:
        count = min(rng.choice([1, 1, 2, 5]), total + 1 - first)
        packets.append((first, count))
        first += count
    arriving: list[tuple[float, int, tuple[int, int]]] = []
    for line in (lib.LINE_A, lib.LINE_B):
        loss, twice = rng.choice([0, 0.1, 0.5, 1]), rng.choice([0, 0.3])
        lag, distance = rng.choice([0, 0, 3, 20]), rng.choice([0, 1, 5, 40])
        for index, each in enumerate(packets):
            times = (rng.random() >= loss) + (rng.random() < twice)
            arriving += [(index + lag + rng.uniform(0, distance), line, each)] * times
    return total, [(line, each) for _, line, each in sorted(arriving)], rng


def finish(line: DrivenLine, total: int) -> None:
    """Both lines go on with heartbeats until the last hole is settled."""
    for _ in range(2 * total + 5):
        for source in (lib.LINE_A, lib.LINE_B):
            line.give(heartbeat(total + 1), source=source)
        line.poll(step_ns=TIMEOUT_NS)


@QUICK
@given(copies())
def test_two_lossy_lines_give_the_stream_once_and_in_order_or_count_what_is_lost(
    delivery: tuple[int, list[tuple[int, tuple[int, int]]], random.Random],
) -> None:
    total, arriving, rng = delivery
    line = DrivenLine(server=False, sides=2)
    line.line.expected = 1
    for source, (first, count) in arriving:
        line.give(build(first, count), source=source, step_ns=rng.choice([0, WAIT_NS // 3, 2 * WAIT_NS]))
        if rng.random() < 0.2:
            line.poll(step_ns=rng.choice([0, WAIT_NS]))
    finish(line, total)
    lost = check_sequence(line.events())
    received = line.messages()
    assert all(data == message(number) for number, data in received)
    assert len(received) + lost == total
    brought = {number for _, (first, count) in arriving for number in range(first, first + count)}
    assert lost == total - len(brought), "something that came was thrown away"
    for source in (lib.LINE_A, lib.LINE_B):
        check_losses(line, source, total, [each for side, each in arriving if side == source])
    assert line.counter(lib.FEED_DIVERGENCES) == 0
    assert line.line.stash_count == 0 and line.line.gap_end == 0
    line.check_fates()
    line.close()


def check_losses(line: DrivenLine, source: int, total: int, arriving: list[tuple[int, int]]) -> None:
    """What a line is said to have lost is what it never brought, from its first packet on."""
    brought = {number for first, count in arriving for number in range(first, first + count)}
    start = arriving[0][0] if arriving else total + 1
    early = sum(1 for number in brought if number < start)  # out of order before the first: no loss made good
    missing = sum(1 for number in range(start, total + 1) if number not in brought)
    assert missing - early <= line.side(source)[3] <= missing


@QUICK
@given(copies())
def test_two_lossy_lines_and_a_bad_server_lose_nothing_that_is_given_in_time(
    delivery: tuple[int, list[tuple[int, tuple[int, int]]], random.Random],
) -> None:
    """The server answers late, twice, short, elsewhere, for another session; packets have corrupt numbers."""
    total, arriving, rng = delivery
    line = DrivenLine(sides=2, timeout_ns=10**6 * TIMEOUT_NS)
    line.line.expected = 1
    late: list[bytes] = []
    for source, (first, count) in arriving:
        line.give(build(first, count), source=source, step_ns=rng.choice([0, WAIT_NS // 3, 2 * WAIT_NS]))
        misserve(line, rng, total, late)
        if rng.random() < 0.05:  # on either line
            line.give(packet(rng.randrange(2**20, 2**62), [b"?"]), source=rng.choice([lib.LINE_A, lib.LINE_B]))
    for turn in range(3000):
        if line.line.expected == total + 1:
            break
        line.give(heartbeat(total + 1), source=rng.choice([lib.LINE_A, lib.LINE_B]))
        line.poll(step_ns=5 * MILLISECOND_NS)
        misserve(line, rng if turn < 100 else random.Random(0), total, late)
    assert line.messages() == [(number, message(number)) for number in range(1, total + 1)]
    assert check_sequence(line.events()) == 0
    line.check_fates()
    line.close()


def misserve(line: DrivenLine, rng: random.Random, total: int, late: list[bytes]) -> None:
    """Answer what was asked, with faults; `late` keeps answers for another time."""
    for first, count in line.requests():
        count = min(count, total + 1 - first, rng.choice([1, 3, 20]))
        answer = build(first, max(count, 0))
        match rng.randrange(8):
            case 0:
                continue
            case 1:
                late.append(answer)
                continue
            case 2:
                answer = packet(first, [b"?"] * 3, session=b"SESSION009")
            case 3:
                answer = packet(total + 50, [b"?"])
            case 4:
                start = max(1, first - 3)
                answer = build(start, min(8, total + 1 - start))
            case 5:
                line.give(answer, source=lib.LINE_ANSWER)
        line.give(answer, source=lib.LINE_ANSWER)
    if late and rng.random() < 0.2:
        line.give(late.pop(rng.randrange(len(late))), source=lib.LINE_ANSWER)

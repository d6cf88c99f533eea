"""Mutated packets: the line never leaves its sequence, and goes on with what is sound.

HOTPATH_FUZZ_SEED replays a run, HOTPATH_FUZZ_ROUNDS lengthens it.
"""

from __future__ import annotations

import os
import random

import pytest

from ffi import lib
from tests.support.line_driver import SESSION, DrivenLine, check_sequence, end_of_session, heartbeat, packet

SEED = int(os.environ.get("HOTPATH_FUZZ_SEED", random.SystemRandom().randrange(2**32)))
ROUNDS = int(os.environ.get("HOTPATH_FUZZ_ROUNDS", "150"))


def mutate(rng: random.Random, data: bytes) -> bytes:
    """Flip, cut, extend, repeat or splice."""
    changed = bytearray(data)
    for _ in range(rng.choice([0, 1, 1, 2, 6])):
        match rng.randrange(5):
            case 0 if changed:
                changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
            case 1:
                del changed[rng.randrange(len(changed) + 1) :]
            case 2:
                changed += rng.randbytes(rng.choice([1, 2, 64, 1500]))
            case 3 if len(changed) > 20:
                changed[10:18] = rng.choice([0, 1, 2**31, 2**63, 2**64 - 1, rng.randrange(200)]).to_bytes(8, "big")
            case _ if len(changed) > 20:
                changed[18:20] = rng.choice([0, 1, 2, 65534, 65535]).to_bytes(2, "big")
    return bytes(changed)


def drive(seed: int, *, check: bool = True) -> DrivenLine:
    """One line through one storm; its own sequence is checked at the end."""
    rng = random.Random(seed)
    line = DrivenLine(capacity=rng.choice([64, 8192]), sides=rng.choice([1, 2]))
    line.line.line_silence_ns, line.line.session_wait_ns = rng.choice([0, 10**7]), rng.choice([0, 10**8])
    number = 1
    for _ in range(60):
        session = rng.choice([SESSION] * 8 + [b"SESSION002"])
        count = rng.choice([1, 2, 3, 30])
        messages = [rng.randbytes(rng.choice([0, 19, 36, 65])) for _ in range(count)]
        sound = rng.choice(
            [packet(number, messages, session=session)] * 6
            + [heartbeat(number, session=session), end_of_session(number, session=session)]
        )
        source = rng.choice([lib.LINE_A, lib.LINE_A, lib.LINE_B, lib.LINE_B, lib.LINE_ANSWER])
        data = mutate(rng, sound) if rng.random() < 0.6 else sound
        line.give(data, source=source, step_ns=rng.choice([0, 1000, 10**8]))
        number += rng.choice([0, count, count, count + 3])
        if rng.random() < 0.3:
            line.poll(step_ns=rng.choice([0, 10**8, -(10**6)]))
        if line.raw.capacity == 64:
            line.raw.release("feed")
    line.close()
    line.check_fates()
    if check and line.raw.published <= line.raw.capacity:
        check_sequence(line.events())
    return line


@pytest.mark.parametrize("part", range(3))
def test_line_survives_mutated_packets(part: int) -> None:
    print(f"HOTPATH_FUZZ_SEED={SEED}")
    for turn in range(ROUNDS // 3):
        seed = SEED + part * 1_000_003 + turn
        line = drive(seed)
        assert line.line.stash_count == sum(1 for place in line.line.stash_sequence if place), seed


def test_canary_a_doubled_message_is_noticed() -> None:
    """The check that the fuzzer relies on fails when it should."""
    events = [(1, b""), (2, b""), (2, b"")]
    with pytest.raises(AssertionError):
        check_sequence(events)

"""Damaged messages through the feed stage: each is used, or counted under exactly one reason.

HOTPATH_FUZZ_SEED replays a run, HOTPATH_FUZZ_ROUNDS lengthens it.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from ffi import lib
from hotpath import captures
from tests.support.feed_driver import DrivenFeed, add_order, directory, raw_message, raw_state

SEED = int(os.environ.get("HOTPATH_FUZZ_SEED", random.SystemRandom().randrange(2**32)))
ROUNDS = int(os.environ.get("HOTPATH_FUZZ_ROUNDS", "40"))
STATES = (
    lib.RAW_GAP,
    lib.RAW_GAP_CLOSED,
    lib.RAW_GAP_LOST,
    lib.RAW_SESSION,
    lib.RAW_SILENT,
    lib.RAW_SNAPSHOT_BEGIN,
    lib.RAW_SNAPSHOT_END,
)


def damaged(rng: random.Random, message: bytes) -> bytes:
    """Flip, cut, extend, or say another locate."""
    changed = bytearray(message)
    match rng.randrange(6):
        case 0:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        case 1:
            del changed[rng.randrange(len(changed)) :]
        case 2:
            changed += rng.randbytes(rng.choice([1, 40, 200]))
        case 3:
            changed[1:3] = rng.randrange(6).to_bytes(2, "big")
        case _:
            pass
    return bytes(changed)


def storm(seed: int, messages: list[bytes]) -> DrivenFeed:
    rng = random.Random(seed)
    feed = DrivenFeed(count=3, filtered=[2], located=rng.random() < 0.5, norm_capacity=8192, orders_max=1024)
    for _ in range(600):
        if rng.random() < 0.02:
            raw_state(feed, rng.choice(STATES), rng.randrange(3), sequence=rng.randrange(3))
        raw_message(feed, damaged(rng, rng.choice(messages)))
    while feed.turn():
        pass
    return feed


def ours(rng: random.Random) -> list[bytes]:
    made = [directory(locate, f"I{locate - 1}".encode()) for locate in range(1, 6)]
    for ref in range(1, 300):
        made.append(add_order(ref, rng.randrange(1, 9), locate=1 + ref % 5, stock=f"I{ref % 5}".encode()))
    return made


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_every_message_is_used_or_has_a_reason(round_: int) -> None:
    seed = SEED + round_
    feed = storm(seed, ours(random.Random(seed)))
    assert feed.counter(lib.FEED_MESSAGES) == 600, f"HOTPATH_FUZZ_SEED={seed}"
    feed.assert_all_accounted()
    assert feed.counter(lib.FEED_STALE_INSTRUMENTS) == sum(feed.feed.partial[0:3])


def test_damaged_real_messages_are_accounted_for(shared_data: Path) -> None:
    found = list(captures.itch_messages(shared_data / "itch_aapl_20200130" / "locate-13-10k.bin"))
    found += list(captures.itch_messages(shared_data / "itch_dir_sample" / "sample.itch"))
    for seed in range(SEED, SEED + 10):
        storm(seed, found).assert_all_accounted()


def test_canary_a_message_counted_twice_is_noticed() -> None:
    feed = storm(SEED, ours(random.Random(SEED)))
    feed.context.page.counter[lib.FEED_BAD_EVENT] += 1
    with pytest.raises(AssertionError):
        feed.assert_all_accounted()


@pytest.mark.parametrize(
    ("folder", "name", "locate", "symbol"),
    [
        ("itch_aapl_20200130", "locate-13-10k.bin", 13, b"AAPL"),
        ("itch_aapl_20200130", "locate-13-10k.bin", 14, b"OTHER"),
        ("itch_goog_20120621_derived", "GOOG_20120621_L10.itch50", 1, b"GOOG"),
        ("itch_dir_sample", "sample.itch", 1, b"A"),
    ],
)
def test_whole_days_are_accounted_for(shared_data: Path, folder: str, name: str, locate: int, symbol: bytes) -> None:
    feed = DrivenFeed((shared_data / folder / name).read_bytes(), locate=locate, symbol=symbol, orders_max=100_000)
    feed.run()
    assert feed.counter(lib.FEED_MESSAGES) == len(
        captures.index_messages(captures.MappedFile(shared_data / folder / name))
    )
    feed.assert_all_accounted()

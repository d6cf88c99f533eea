"""Digests: every field of the canonical command counts, and nothing else does."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from ffi import ffi, lib


def command() -> ffi.CData:
    made = ffi.new("cmd_event *")
    made.header.type = lib.CMD_NEW
    made.header.instrument = 7
    made.id.cause_sequence = 1000
    made.order_id = 12
    made.price_ticks = 1_234_500
    made.quantity_lots = 100
    made.limits_version = 3
    made.kill_epoch = 1
    return made


def nested(target: ffi.CData, path: str) -> tuple[ffi.CData, str]:
    *outer, field = path.split(".")
    for name in outer:
        target = getattr(target, name)
    return target, field


CANONICAL = [
    *("header.type", "header.instrument", "id.cause_sequence", "id.account", "id.strategy", "id.strategy_epoch"),
    *("id.input", "id.leg", "order_id", "target_order_id", "price_ticks", "quantity_lots", "limits_version"),
    *("kill_epoch", "side", "time_in_force", "venue"),
]
INCIDENTAL = ["header.stamp", "header.publish_time_ns", "header.ingress_time_ns", "feed_ns", "signal_ns", "digest"]


@pytest.mark.parametrize("path", CANONICAL)
def test_command_digest_covers(path: str) -> None:
    changed = command()
    target, field = nested(changed, path)
    setattr(target, field, getattr(target, field) ^ 1)
    assert lib.digest_command(changed) != lib.digest_command(command())


@pytest.mark.parametrize("path", INCIDENTAL)
def test_command_digest_leaves_out(path: str) -> None:
    changed = command()
    target, field = nested(changed, path)
    setattr(target, field, getattr(target, field) ^ 1)
    assert lib.digest_command(changed) == lib.digest_command(command())


@given(st.binary(max_size=40), st.integers(0, 319), st.integers(0, 2**64 - 1))
def test_every_bit_of_the_bytes_counts(data: bytes, bit: int, seed: int) -> None:
    changed = bytearray(data)
    if data:
        changed[bit // 8 % len(data)] ^= 1 << bit % 8
        assert lib.digest_bytes(seed, bytes(changed), len(data)) != lib.digest_bytes(seed, data, len(data))
    assert lib.digest_bytes(seed, data, len(data)) != lib.digest_bytes(seed, data + b"\0", len(data) + 1)


def test_digest_is_chained_in_order() -> None:
    def chain(*words: bytes) -> int:
        digest = 0
        for word in words:
            digest = lib.digest_bytes(digest, word, len(word))
        return int(digest)

    assert chain(b"first", b"second") != chain(b"second", b"first")


def test_digest_of_known_bytes_does_not_change() -> None:
    """Digests are stored in intents and turn records: another algorithm would disown them."""
    assert lib.digest_bytes(0, b"hotpath", 7) == DIGEST_OF_HOTPATH


DIGEST_OF_HOTPATH = 0x3AA1E1E087622B42

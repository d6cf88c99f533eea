"""Any events, written in any batches, cut anywhere: what is read back is a prefix of what was written, unchanged."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ffi import ffi, lib
from hotpath.journal import Journal
from hotpath.journal.format import HEAD_BYTES, RECORD_BYTES
from hotpath.journal.verify import verify
from hotpath.journal.writer import RingWriter, Sizes
from tests.support.journals import RUN_EPOCH, make_folder, random_events

SIZES = Sizes(first=512 * RECORD_BYTES, largest=1024 * RECORD_BYTES)
POLYNOMIAL = 0x82F63B78


def crc_by_bits(data: bytes) -> int:
    """CRC-32C as its definition says it, a bit at a time."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (POLYNOMIAL if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def test_checksum_of_the_standard() -> None:
    """RFC 3720, appendix B.4."""
    for data, crc in {
        bytes(32): 0x8A9136AA,
        b"\xff" * 32: 0x62A8AB43,
        bytes(range(32)): 0x46DD794E,
        b"123456789": 0xE3069283,
    }.items():
        assert lib.journal_crc32c(0, data, len(data)) == crc
        assert lib.journal_crc32c_portable(0, data, len(data)) == crc


@given(data=st.binary(max_size=300), cut=st.integers(0, 300))
def test_both_checksums_are_the_definition_s(data: bytes, cut: int) -> None:
    head, tail = data[:cut], data[cut:]
    for checksum in (lib.journal_crc32c, lib.journal_crc32c_portable):
        assert checksum(0, data, len(data)) == crc_by_bits(data)
        assert checksum(checksum(0, head, len(head)), tail, len(tail)) == crc_by_bits(data)


@given(sequence=st.integers(0, 2**64 - 20), count=st.integers(1, 11), seed=st.integers(0, 99), bit=st.integers(0, 1023))
def test_one_changed_bit_or_another_place_makes_a_record_bad(sequence: int, count: int, seed: int, bit: int) -> None:
    records = random_events("norm", count, seed=seed)
    before = records.tobytes()
    lib.journal_seal(ffi.from_buffer(records), sequence, count)
    sealed = bytearray(records.tobytes())
    for at in range(0, len(sealed), RECORD_BYTES):
        assert sealed[at + 8 : at + RECORD_BYTES] == before[at + 8 : at + RECORD_BYTES]
        own = sequence + at // RECORD_BYTES
        assert int.from_bytes(sealed[at : at + 4], "little") == (own + 1) % 2**32
        covered = bytes(sealed[at + 8 : at + RECORD_BYTES]) + own.to_bytes(8, "little")
        assert int.from_bytes(sealed[at + 4 : at + 8], "little") == crc_by_bits(covered)
    assert lib.journal_valid(bytes(sealed), sequence, count) == count
    assert lib.journal_valid(bytes(sealed), sequence ^ 1 << 32, count) == 0
    bad = (seed * 7 + bit) % count
    sealed[bad * RECORD_BYTES + bit // 8] ^= 1 << bit % 8
    assert lib.journal_valid(bytes(sealed), sequence, count) == bad
    assert lib.journal_count_valid(bytes(sealed), sequence, count) == count - 1


batches = st.lists(st.tuples(st.integers(1, 900), st.sampled_from([0, 0, 0, 0, 1, 700])), min_size=1, max_size=8)


@settings(max_examples=40, deadline=None)
@given(batches=batches, resume_at=st.sets(st.integers(0, 7)), torn=st.integers(0, 40))
def test_what_was_appended_is_read_back(batches: list[tuple[int, int]], resume_at: set[int], torn: int) -> None:
    """Holes included, and with successors that take up what a killed one left."""
    with TemporaryDirectory() as scratch:
        folder = make_folder(Path(scratch))
        writer = RingWriter(folder, "norm", run_epoch=RUN_EPOCH, sizes=SIZES)
        reader = Journal(folder)
        expected, sequences, holes, sequence = [], [], [], 0
        for number, (count, lost) in enumerate(batches):
            if number in resume_at:
                _tear(folder, torn)
                writer = RingWriter(folder, "norm", run_epoch=RUN_EPOCH, sizes=SIZES)
                writer.resume()
                assert writer.next == sequence
            if lost:
                holes.append((sequence, sequence + lost))
                sequence += lost
            events = random_events("norm", count, seed=number)
            expected.append(events.copy())
            sequences.append(np.arange(sequence, sequence + count))
            writer.append(events, sequence)
            sequence += count
            reader.refresh()
            assert reader.next("norm") == sequence and reader.count("norm") == sum(map(len, expected))
        end = writer.close()
        wanted, places = np.concatenate(expected), np.concatenate(sequences)
        for journal in (reader, Journal(folder)):
            journal.refresh()
            found = journal.events("norm")
            assert found["price_ticks"].tolist() == wanted["price_ticks"].tolist()
            assert found["header"]["cause_sequence"].tolist() == wanted["header"]["cause_sequence"].tolist()
            assert journal.sequences("norm").tolist() == places.tolist()
            assert journal.holes("norm") == holes and journal.lost("norm") == sum(b - a for a, b in holes)
            low, high = sequence // 3, sequence // 2
            inside = (places >= low) & (places < high)
            assert journal.events("norm", low, high)["order_ref"].tolist() == wanted["order_ref"][inside].tolist()
        verdict = verify(folder)
        assert not verdict.findings and verdict.rings["norm"].events == end.events == len(wanted)
        assert verdict.rings["norm"].chain == end.chain


def _tear(folder: Path, size: int) -> None:
    """What a write that was cut short leaves behind the last good record."""
    last = max(folder.glob("norm.*.events"), default=None)
    if last is None or not size:
        return
    journal = Journal(folder)
    (*_, segment) = journal.segments("norm")
    offset = HEAD_BYTES + segment.count * RECORD_BYTES
    with last.open("r+b") as file:
        if offset + size <= last.stat().st_size:
            file.seek(offset)
            file.write(b"\x5a" * size)

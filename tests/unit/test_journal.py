"""The journal's folder: what is found in a damaged one, what a repair leaves, what an older build wrote."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import msgspec
import numpy as np
import pytest

from ffi.dtypes import dtype_of
from hotpath.config import JournalConfig
from hotpath.errors import JournalError
from hotpath.journal import Journal
from hotpath.journal import format as layout
from hotpath.journal.format import END_FILE, HEAD_BYTES, RECORD_BYTES, End
from hotpath.journal.keeper import Keeper
from hotpath.journal.verify import verify
from hotpath.journal.writer import RingWriter, Sizes
from tests.support.journals import RUN_EPOCH, make_folder, random_events, write_ring

SMALL = Sizes(first=512 * RECORD_BYTES, largest=1024 * RECORD_BYTES)


@pytest.fixture
def ended(tmp_path: Path) -> Path:
    """A whole journal of two rings; norm has three segments."""
    folder = make_folder(tmp_path / "journal")
    ends = {ring: write_ring(folder, ring, random_events(ring, count), sizes=SMALL) for ring, count in RINGS.items()}
    (folder / END_FILE).write_bytes(msgspec.json.encode(End(ends)))
    return folder


RINGS = {"norm": 2000, "exec": 700}


def damages(folder: Path) -> list[str]:
    """What verify finds that no crash explains."""
    return [f"{each.file}: {each.what}" for each in verify(folder).findings if not each.torn]


def flip(path: Path, byte: int, bit: int = 0) -> None:
    with path.open("r+b") as file:
        file.seek(byte)
        value = file.read(1)[0]
        file.seek(byte)
        file.write(bytes([value ^ 1 << bit]))


# ---- whole, growing --------------------------------------------------------------------------------------


def test_whole_journal_is_whole(ended: Path) -> None:
    verdict = verify(ended)
    assert not verdict.findings and not verdict.damaged and verdict.ended
    assert {name: ring.events for name, ring in verdict.rings.items()} == RINGS
    assert verdict.rings["norm"].segments == 3


def test_reader_follows_a_writer(tmp_path: Path) -> None:
    """Another thread writes; what is read is always a prefix, and in the end it is all."""
    folder = make_folder(tmp_path / "journal")
    events = random_events("norm", 30_000)
    writer = RingWriter(folder, "norm", run_epoch=RUN_EPOCH, sizes=SMALL)

    def write() -> None:
        for begin in range(0, len(events), 77):
            writer.append(events[begin : begin + 77].copy(), begin)

    thread = threading.Thread(target=write)
    reader, seen = Journal(folder), 0
    thread.start()
    while seen < len(events):
        reader.refresh()
        fresh = reader.events("norm", begin=seen)
        assert fresh["order_ref"].tolist() == events["order_ref"][seen : seen + len(fresh)].tolist()
        seen += len(fresh)
    thread.join()
    assert not reader.refresh() and not reader.ended


def test_events_of_one_segment_are_mapped_not_copied(ended: Path) -> None:
    journal = Journal(ended)
    assert isinstance(journal.events("norm", 0, 500), np.memmap)
    assert isinstance(journal.events("norm", 600, 700), np.memmap)
    assert len(journal.events("norm", 500, 600)) == 100


def test_sequence_at_a_time(ended: Path) -> None:
    journal = Journal(ended)
    for sequence in (0, 1, 511, 512, 1536, 1999):
        assert journal.sequence_at("norm", RUN_EPOCH + sequence * 1000) == sequence
        assert journal.sequence_at("norm", RUN_EPOCH + sequence * 1000 - 1) == sequence
    assert journal.sequence_at("norm", RUN_EPOCH + 10**9) == 2000


def test_numpy_alone_reads_a_segment(ended: Path) -> None:
    """What the format promises: one dtype, from byte 4,096 on."""
    path = layout.segment_path(ended, "exec", 0)
    records = np.memmap(path, layout.read_head(path).dtype, mode="r", offset=HEAD_BYTES)
    assert records["order_id"].tolist() == Journal(ended).events("exec", 0, 512)["order_id"].tolist()


# ---- damaged ---------------------------------------------------------------------------------------------


def test_every_flipped_bit_of_records_and_chain_is_found(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "journal")
    end = write_ring(folder, "cmd", random_events("cmd", 2), sizes=SMALL)
    (folder / END_FILE).write_bytes(msgspec.json.encode(End({"cmd": end})))
    segment = layout.segment_path(folder, "cmd", 0)
    chain = layout.chain_path(segment)
    for path, begin, size in ((segment, HEAD_BYTES, 2 * RECORD_BYTES), (chain, 0, layout.ENTRY.itemsize)):
        for byte in range(begin, begin + size):
            for bit in range(0, 8, 3):
                flip(path, byte, bit)
                assert verify(folder).damaged, (path.name, byte, bit)
                flip(path, byte, bit)
    for byte in range(0, HEAD_BYTES, 41):
        flip(segment, byte)
        assert verify(folder).damaged, ("head", byte)
        flip(segment, byte)
    assert not verify(folder).findings


@pytest.mark.parametrize(
    ("what", "found"),
    {
        "a record in the middle": "record 1000 is damaged; 535 good ones follow",
        "two records change places": "record 700 is damaged",
        "a segment is gone": "begins at 1536, the one before ends at 512 and no loss was recorded",
        "a segment is cut": "1024 records stand in the chain, 512 are left",
        "a chain is gone": "is missing in the chain",
        "another run's file": "its chain does not begin with this run's hashes",
        "a forged record": "its hash is not that of its records",
        "a forged end": "its chain is another one",
        "the reference data was changed": "its chain does not begin with this run's hashes",
    }.items(),
)
def test_damage_is_told_by_file_and_sequence(what: str, found: str, ended: Path, tmp_path: Path) -> None:
    first, second, _ = (each.path for each in Journal(ended).segments("norm"))
    record = HEAD_BYTES + 488 * RECORD_BYTES
    if what == "a record in the middle":
        flip(second, record)
    elif what == "two records change places":
        data = bytearray(second.read_bytes())
        a, b = (slice(at := HEAD_BYTES + place * RECORD_BYTES, at + RECORD_BYTES) for place in (188, 189))
        data[a], data[b] = data[b], data[a]
        second.write_bytes(data)
    elif what == "a segment is gone":
        second.unlink()
    elif what == "a segment is cut":
        os.truncate(second, HEAD_BYTES + 512 * RECORD_BYTES)
    elif what == "a chain is gone":
        layout.chain_path(second).unlink()
    elif what == "another run's file":
        other = make_folder(tmp_path / "other")
        (other / "run.json").write_text("{ }")
        write_ring(other, "norm", random_events("norm", 2000), sizes=SMALL)
        shutil.copy(layout.segment_path(other, "norm", 0), first)
    elif what == "a forged record":  # with a checksum that holds
        other = make_folder(tmp_path / "other")
        events = np.array(Journal(ended).events("norm"))
        events["price_ticks"][77] += 1
        write_ring(other, "norm", events, sizes=SMALL)
        shutil.copy(layout.segment_path(other, "norm", 0), first)
    elif what == "a forged end":
        end = msgspec.json.decode((ended / END_FILE).read_bytes(), type=End)
        forged = msgspec.structs.replace(end.rings["norm"], chain="00" * 32)
        (ended / END_FILE).write_bytes(msgspec.json.encode(End({**end.rings, "norm": forged})))
    else:
        np.save(ended / "instruments.npy", np.ones(64, np.uint8).view(dtype_of("instrument_entry")))
    told = damages(ended)
    assert any(found in each for each in told), told


def test_torn_end_is_no_damage_and_is_not_read(tmp_path: Path) -> None:
    """Cut off at every byte of the last two records, and the rest zeros, as written ahead; or garbage there."""
    folder = make_folder(tmp_path / "journal")
    writer = RingWriter(folder, "norm", run_epoch=RUN_EPOCH, sizes=SMALL)
    writer.append(random_events("norm", 100), 0)
    path = layout.segment_path(folder, "norm", 0)
    whole = path.read_bytes()
    for cut in range(HEAD_BYTES + 98 * RECORD_BYTES, HEAD_BYTES + 100 * RECORD_BYTES):
        path.write_bytes(whole[:cut] + bytes(len(whole) - cut))
        verdict = verify(folder)
        assert not verdict.damaged and Journal(folder).count("norm") == (cut - HEAD_BYTES) // RECORD_BYTES
        path.write_bytes(whole[:cut])
        assert not verify(folder).damaged


# ---- disk and time ---------------------------------------------------------------------------------------


def test_segments_are_written_ahead_and_double(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "journal")
    writer = RingWriter(folder, "norm", run_epoch=RUN_EPOCH, sizes=SMALL)
    keeper = Keeper(folder, JournalConfig(sync="none", space_low_mib=0, space_out_mib=0), [writer], lambda: 1)
    keeper.begin()
    try:
        spare = folder / "norm.spare"
        assert spare.stat().st_size == HEAD_BYTES + 512 * RECORD_BYTES
        writer.append(random_events("norm", 300), 0)
        path = layout.segment_path(folder, "norm", 0)
        assert path.stat().st_blocks * 512 >= HEAD_BYTES + 512 * RECORD_BYTES, "its room is on the disk already"
        while writer.wants_spare:
            pass
        writer.append(random_events("norm", 300), 300)
        assert layout.segment_path(folder, "norm", 512).stat().st_size == HEAD_BYTES + 1024 * RECORD_BYTES
        assert writer.late == 0
    finally:
        keeper.end()
    writer.close()
    assert not spare.exists()


@pytest.mark.parametrize(("low", "out", "space"), [(0, 0, "ENOUGH"), (2**40, 0, "LOW"), (2**40, 2**40, "OUT")])
def test_room_on_the_disk_is_told(low: int, out: int, space: str, tmp_path: Path) -> None:
    from ffi import lib

    folder = make_folder(tmp_path / "journal")
    keeper = Keeper(folder, JournalConfig(space_low_mib=low, space_out_mib=out), [], lambda: 1)
    keeper.begin()
    keeper.end()
    assert keeper.space == getattr(lib, f"JOURNAL_SPACE_{space}") and keeper.free_bytes > 0


# ---- other builds ----------------------------------------------------------------------------------------


def test_fields_are_read_by_name() -> None:
    """A build that had one field less, one narrower, one elsewhere, and one that is gone today."""
    schema = msgspec.json.encode(
        [
            ["header.stamp", "u8", 0],
            ["header.type", "u1", 8],
            ["header.instrument", "u2", 10],
            ["price_ticks", "i4", 16],
            ["bid_price_ticks", "i8", 24],
            ["forgotten", "u8", 32],
        ]
    )
    old = np.zeros(3, layout.dtype_from(schema, record_bytes=128))
    old["header"]["instrument"], old["price_ticks"], old["bid_price_ticks"] = [1, 2, 65535], [-5, 6, 7], [8, 9, 10]
    now = layout.converted(old, dtype_of("norm_event"))
    assert now.dtype == dtype_of("norm_event")
    assert now["header"]["instrument"].tolist() == [1, 2, 65535] and now["price_ticks"].tolist() == [-5, 6, 7]
    assert now["bid_price_ticks"].tolist() == [8, 9, 10] and not now["quantity_lots"].any()


@pytest.mark.parametrize("record", sorted(set(layout.EVENT_OF_RING.values()) | {"turn_event"}))
def test_schema_says_all_of_a_record(record: str) -> None:
    dtype = dtype_of(record)
    schema = layout.schema_of(dtype)
    assert layout.dtype_from(schema, record_bytes=128) == dtype
    assert len(schema) <= HEAD_BYTES - 224


def test_segment_of_a_later_format_is_refused(ended: Path) -> None:
    path = layout.segment_path(ended, "exec", 0)
    data = bytearray(path.read_bytes())
    data[8] = layout.FORMAT + 1
    path.write_bytes(data)
    with pytest.raises(JournalError, match=f"format {layout.FORMAT + 1}, known here is {layout.FORMAT}"):
        Journal(ended)


def test_folder_without_a_journal_is_named(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="holds no journal"):
        Journal(tmp_path)

"""The journal's folder: what is found in a damaged one, what a repair leaves, what an older build wrote."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import numpy as np
import pytest

from ffi.dtypes import dtype_of
from hotpath.config import JournalConfig
from hotpath.errors import JournalError
from hotpath.journal import Journal, compression
from hotpath.journal import format as layout
from hotpath.journal.compare import compare
from hotpath.journal.format import END_FILE, HEAD_BYTES, RECORD_BYTES, End
from hotpath.journal.keeper import Keeper
from hotpath.journal.repair import RingRepair, close_at_last_good
from hotpath.journal.retention import closed_segments, pack_run, retire
from hotpath.journal.verify import verify
from hotpath.journal.writer import RingWriter, Sizes
from tests.support.journals import RUN_EPOCH, make_folder, random_events, rewrite_ring, write_ring

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


def test_pages_that_a_loss_of_power_kept_from_the_disk_are_no_damage(tmp_path: Path) -> None:
    """Any of the last pages missing, the chain there or not: what is read ends before the first of them."""
    folder = make_folder(tmp_path / "journal")
    writer = RingWriter(folder, "norm", run_epoch=RUN_EPOCH, sizes=SMALL)
    writer.append(random_events("norm", 1300), 0)
    path = layout.segment_path(folder, "norm", 512)
    whole = path.read_bytes()
    chain = layout.chain_path(path).read_bytes()
    for page in (1, 7, 16, 20, 24):
        for entries in (len(chain), 0):
            path.write_bytes(whole[: page * 4096] + bytes(4096) + whole[(page + 1) * 4096 :])
            layout.chain_path(path).write_bytes(chain[:entries])
            assert not verify(folder).damaged, (page, verify(folder).findings)
            assert Journal(folder).next("norm") == min(512 + (page - 1) * 32, 1300)
    path.write_bytes(whole[: 7 * 4096] + b"\x01" + whole[7 * 4096 + 1 :])
    assert verify(folder).damaged, "a page that was there and changed"


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


def test_day_of_the_first_format_is_read_as_it_was_written() -> None:
    """Kept from the release that brought the format; the first events of a run on paper of a generated day."""
    folder = Path(__file__).resolve().parent.parent / "data" / "journal-format-1"
    journal = Journal(folder)
    assert not verify(folder).findings
    assert {ring: journal.count(ring) for ring in journal.rings} == {
        "cmd": 20,
        "exec": 30,
        "gateway.ctl": 20,
        "norm": 40,
    }
    executions, commands = journal.events("exec"), journal.events("cmd")
    assert executions["order_id"][:8].tolist() == [12, 13, 14, 15, 16, 17, 18, 18]
    assert commands["order_id"].tolist() == list(range(12, 32)) and int(commands["price_ticks"][0]) == 732_000
    assert np.diff(journal.events("gateway.ctl")["turn"].astype(np.int64)).tolist() == [1] * 19
    assert journal.instruments["symbol"][:2].tolist() == [b"ZAAAA", b"ZAAAB"]
    assert executions.dtype == dtype_of("exec_event")


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


# ---- verbs -------------------------------------------------------------------------------------------------


def hotpath(*arguments: str) -> tuple[int, str]:
    """A verb as its user types it."""
    found = subprocess.run([sys.executable, "-m", "hotpath", *arguments], capture_output=True, text=True, check=False)
    return found.returncode, found.stdout + found.stderr


@pytest.mark.skipif(not compression.available(), reason="neither zstandard nor Python 3.14 is installed")
def test_packed_journal_reads_as_before(ended: Path) -> None:
    before = {ring: np.array(Journal(ended).events(ring)) for ring in RINGS}
    follower = Journal(ended)
    assert pack_run(ended) > 0
    assert not list(ended.glob("*.events")) and len(list(ended.glob("*.events.zst"))) == 5
    follower.refresh()
    for journal in (follower, Journal(ended)):
        for ring, events in before.items():
            assert journal.events(ring).tobytes() == events.tobytes()
            assert journal.events(ring, 500, 600).tobytes() == events[500:600].tobytes()
    assert not verify(ended).findings
    flip(ended / "norm.000000000512.events.zst", HEAD_BYTES + 5000)
    assert damages(ended)


def test_damaged_segment_is_not_packed(ended: Path) -> None:
    path = layout.segment_path(ended, "norm", 512)
    flip(path, HEAD_BYTES + 5000)
    with pytest.raises(JournalError, match="is damaged and stays as it is"):
        pack_run(ended)
    assert path.exists()


def test_growing_journal_is_packed_up_to_its_last_segment(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "journal")
    writer = RingWriter(folder, "norm", run_epoch=RUN_EPOCH, sizes=SMALL)
    writer.append(random_events("norm", 2000), 0)
    assert [path.name for path in closed_segments(folder)] == ["norm.000000000000.events", "norm.000000000512.events"]
    pack_run(folder)
    successor = RingWriter(folder, "norm", run_epoch=RUN_EPOCH, sizes=SMALL)
    successor.resume()
    assert successor.next == successor.events == 2000
    successor.append(random_events("norm", 100, seed=2), 2000)
    successor.close()
    assert Journal(folder).count("norm") == 2100 and not verify(folder).damaged


def test_retention_removes_whole_runs_oldest_first_and_never_one_that_was_cut_off(ended: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    for day in (20260101, 20260102, 20260103, 20260104):
        shutil.copytree(ended, root / f"{day}-1")
    (root / "20260101-1" / END_FILE).unlink()
    size = sum(path.stat().st_size for path in (root / "20260102-1").iterdir())
    assert retire(root, JournalConfig()) == []
    assert retire(root, JournalConfig(keep_days=1)) == []
    assert retire(root, JournalConfig(keep_mib=2 * size // 2**20 + 1)) == [root / "20260102-1"] or size > 2**20
    later = (root / "20260103-1" / END_FILE).stat().st_mtime_ns + 3 * 86_400 * 10**9
    assert retire(root, JournalConfig(keep_days=2), now_ns=later) == [root / "20260103-1", root / "20260104-1"]
    assert [path.name for path in root.iterdir()] == ["20260101-1"]


def test_repair_closes_at_the_last_good_record_and_keeps_what_it_cuts(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "journal")
    writers = [RingWriter(folder, ring, run_epoch=RUN_EPOCH, sizes=SMALL) for ring in RINGS]
    for writer in writers:
        writer.append(random_events(writer.ring, RINGS[writer.ring]), 0)
    path = layout.segment_path(folder, "norm", 1536)
    flip(path, HEAD_BYTES + 463 * RECORD_BYTES + 77)  # the last one
    assert verify(folder).rings["norm"].events == 1999 and not verify(folder).damaged
    repaired = cut_and_close(folder)
    assert repaired["norm"].events == 1999 and repaired["norm"].cut_bytes > 100
    assert path.with_name(f"{path.name}.cut").stat().st_size == repaired["norm"].cut_bytes
    assert not verify(folder).findings and Journal(folder).end is not None


def test_repair_gives_up_good_records_only_when_told_to(ended: Path) -> None:
    with pytest.raises(JournalError, match="is whole"):
        cut_and_close(ended)
    flip(layout.segment_path(ended, "norm", 512), HEAD_BYTES + 100 * RECORD_BYTES)
    with pytest.raises(JournalError, match="damaged, not only cut off"):
        cut_and_close(ended)
    repaired = cut_and_close(ended, cut_damage=True)
    assert repaired["norm"].events == 612 and repaired["norm"].cut_segments == 1
    assert not verify(ended).findings and len(list(ended.glob("*.cut"))) == 3


def cut_and_close(folder: Path, *, cut_damage: bool = False) -> dict[str, RingRepair]:
    """Repair a folder whose run.json is no run's: nobody can still write it."""
    return close_at_last_good(folder, cut_damage=cut_damage)


def test_diff_says_where_two_journals_part(ended: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(ended, other)
    assert all(each.same for each in compare(ended, other))
    events = np.array(Journal(ended).events("norm"))
    events["header"]["publish_time_ns"] += 7
    rewrite_ring(other, "norm", events)
    assert all(each.same for each in compare(ended, other)), "what was measured"
    events["price_ticks"][[1000, 1500]] ^= 1
    rewrite_ring(other, "norm", events[:1800])
    found = {each.ring: each for each in compare(ended, other)}
    assert found["exec"].same and found["norm"].first == 1000 and found["norm"].different == 2
    assert found["norm"].fields == {"price_ticks": 2} and found["norm"].events == (2000, 1800)
    code, text = hotpath("journal", "diff", str(ended), str(other), "--ring", "norm")
    assert code == 1 and "differs from 1000 on" in text and "price_ticks:" in text


def test_export_writes_what_was_recorded(ended: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    code, text = hotpath("journal", "export", str(ended), str(tmp_path / "out"))
    assert code == 0, text
    table = parquet.read_table(tmp_path / "out" / "norm.parquet").to_pydict()
    events = Journal(ended).events("norm")
    assert table["sequence"] == list(range(2000))
    assert table["price_ticks"] == events["price_ticks"].tolist()
    assert table["publish_time_ns"] == events["header"]["publish_time_ns"].tolist()


def test_verbs_say_what_they_find(ended: Path, tmp_path: Path) -> None:
    code, text = hotpath("journal", "verify", str(ended))
    assert code == 0 and text.rstrip().endswith("\nwhole")
    code, text = hotpath("journal", "stat", str(tmp_path), "--json")
    assert code == 0 and msgspec.json.decode(text)[0]["rings"]["norm"]["events"] == 2000
    code, text = hotpath("journal", "stat", str(ended))
    assert code == 0 and "norm" in text and "2,000" in text
    flip(layout.segment_path(ended, "exec", 0), HEAD_BYTES + 9)
    code, text = hotpath("journal", "verify", str(ended))
    assert code == 1 and "DAMAGED: exec.000000000000.events: record 0 is damaged" in text

"""hotpath/segments.py: made whole, attached only when everything in the header is right, reaped when dead."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ffi import ffi, lib
from ffi.dtypes import dtype_of, layout_hash
from hotpath import segments
from hotpath.engine import HUGE_PAGE_BYTES, huge_memory
from hotpath.errors import (
    SegmentError,
    SegmentMismatchError,
    SegmentMissingError,
    SegmentOwnedError,
    SegmentSpaceError,
)

REPOSITORY = Path(__file__).resolve().parents[2]
EPOCH = 1_700_000_000_000_000_000


def path_of(engine: str, segment: str) -> Path:
    return Path("/dev/shm") / segments.posix_name(engine, segment)[1:]


def patch_header(engine: str, segment: str, field: str, value: object) -> None:
    """Overwrite one field of a segment's header from outside, as a foreign maker would have."""
    dtype = dtype_of("segment_header")
    patched = np.zeros(1, dtype[field])
    patched[0] = value
    assert dtype.fields is not None
    with path_of(engine, segment).open("r+b") as file:
        file.seek(dtype.fields[field][1])
        file.write(patched.tobytes())


def leave_by_a_dead_process(engine: str, *names: str) -> int:
    """Segments whose maker is gone; returns its pid."""
    code = f"""
        import os, sys
        from ffi import lib
        from hotpath import segments
        for name in {names!r}:
            made = segments.create({engine!r}, name, lib.SEGMENT_STAGE, 8192, run_epoch={EPOCH})
            made.view('u8', offset=4096)[0] = 42
        print(os.getpid())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=REPOSITORY, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


# ---- made and attached ----------------------------------------------------------------------------------


def test_attached_segment_shares_its_bytes(engine: str) -> None:
    made = segments.create(engine, "risk", lib.SEGMENT_STAGE, 8192, run_epoch=EPOCH)
    seen = segments.attach(engine, "risk", lib.SEGMENT_STAGE, run_epoch=EPOCH, size_min=8192)
    made.view("stage_page")["turns"] = 17
    assert seen.view("stage_page")[0]["turns"] == 17
    assert made.cast("stage_page *").turns == 17


def test_new_segment_is_all_zeros_after_its_header(engine: str) -> None:
    made = segments.create(engine, "risk", lib.SEGMENT_STAGE, 8192, run_epoch=EPOCH)
    assert not made.view("u1", count=8192 - segments.HEADER_SIZE).any()


def test_view_is_no_copy_and_lies_at_the_c_address(engine: str) -> None:
    made = segments.create(engine, "risk", lib.SEGMENT_STAGE, 8192, run_epoch=EPOCH)
    view = made.view("u8", offset=4096, count=512)
    assert view.ctypes.data == made.address + 4096
    assert not view.flags.owndata


def test_reading_attachment_cannot_be_written(engine: str) -> None:
    segments.create(engine, "risk", lib.SEGMENT_STAGE, 8192, run_epoch=EPOCH)
    view = segments.attach(engine, "risk", lib.SEGMENT_STAGE).view("stage_page")
    with pytest.raises(ValueError, match="read-only"):
        view["turns"] = 1


def test_header_tells_who_made_it(engine: str) -> None:
    made = segments.create(
        engine, "norm", lib.SEGMENT_RING, lib.ring_bytes(64, 128), run_epoch=EPOCH, capacity=64, slot_size=128
    )
    info = made.info
    assert (info.owner_pid, info.owner_start_time) == (os.getpid(), segments.process_start_time(os.getpid()))
    assert (info.capacity, info.slot_size, info.kind_name) == (64, 128, "ring")
    assert info.layout_hash == layout_hash()
    assert info.boot_id == segments.boot_id()
    assert info.owner_alive


def test_closed_segment_lives_on_in_its_views(engine: str) -> None:
    made = segments.create(engine, "risk", lib.SEGMENT_STAGE, 8192, run_epoch=EPOCH)
    view = made.view("u8", offset=4096)
    made.close()
    view[0] = 5
    assert view[0] == 5
    with pytest.raises(SegmentError, match="after close"):
        made.view("u8")


def test_mapping_lives_as_long_as_a_pointer_to_it(engine: str) -> None:
    page = segments.create(engine, "risk", lib.SEGMENT_STAGE, 8192, run_epoch=EPOCH).cast("stage_page *")
    gc.collect()
    page.turns = 3
    assert segments.attach(engine, "risk", lib.SEGMENT_STAGE).cast("stage_page *").turns == 3


def test_view_beyond_the_end_is_refused(engine: str) -> None:
    made = segments.create(engine, "risk", lib.SEGMENT_STAGE, 4096, run_epoch=EPOCH)
    with pytest.raises(SegmentError, match="of 4096"):
        made.view("u8", offset=4096)
    with pytest.raises(SegmentError, match="there are 4096"):
        made.cast("histogram *")


def test_every_page_is_allocated_at_once(engine: str) -> None:
    segments.create(engine, "risk", lib.SEGMENT_STAGE, 1 << 20, run_epoch=EPOCH)
    assert path_of(engine, "risk").stat().st_blocks * 512 == 1 << 20


@pytest.mark.parametrize("option", ["huge_pages", "lock"])
def test_segment_made_with(option: str, engine: str) -> None:
    made = segments.create(engine, "risk", lib.SEGMENT_STAGE, 1 << 21, run_epoch=EPOCH, **{option: True})
    assert path_of(engine, "risk").stat().st_blocks * 512 >= 1 << 21
    assert made.view("u8", offset=(1 << 21) - 8)[0] == 0


@pytest.mark.parametrize("bad", [("A", "norm"), ("a.b", "norm"), ("a", "../x"), ("a", ""), ("a", "n" * 60)])
def test_bad_name_is_refused(bad: tuple[str, str]) -> None:
    with pytest.raises(SegmentError, match="name"):
        segments.posix_name(*bad)


# ---- refused --------------------------------------------------------------------------------------------


def refusal(engine: str, **expected: Any) -> str:
    with pytest.raises(SegmentMismatchError) as caught:
        segments.attach(engine, "risk", lib.SEGMENT_STAGE, **expected)
    message = str(caught.value)
    assert f"/hotpath.{engine}.risk" in message
    return message


@pytest.fixture
def made(engine: str) -> segments.Segment:
    return segments.create(engine, "risk", lib.SEGMENT_STAGE, 8192, run_epoch=EPOCH)


def test_missing_segment_is_named_with_its_engine(engine: str) -> None:
    with pytest.raises(SegmentMissingError, match=f"/hotpath.{engine}.risk") as caught:
        segments.attach(engine, "risk", lib.SEGMENT_STAGE)
    assert engine in caught.value.next_step


def test_half_made_segment_is_refused(engine: str, made: segments.Segment) -> None:
    patch_header(engine, "risk", "magic", 0)
    assert "HOTPATH1" in refusal(engine)


def test_segment_shorter_than_its_header_is_refused(engine: str, made: segments.Segment) -> None:
    os.truncate(path_of(engine, "risk"), 100)
    message = refusal(engine)
    assert "100 bytes" in message and "128" in message


def test_other_layout_is_refused_with_both_hashes(engine: str, made: segments.Segment) -> None:
    patch_header(engine, "risk", "layout_hash", 0xDEADBEEF)
    message = refusal(engine)
    assert f"{0xDEADBEEF:016x}" in message and f"{layout_hash():016x}" in message


def test_other_boot_is_refused_with_both_ids(engine: str, made: segments.Segment) -> None:
    patch_header(engine, "risk", "boot_id", np.full(16, 0xAB, np.uint8))
    message = refusal(engine)
    assert "ab" * 16 in message and segments.boot_id().hex() in message


def test_other_run_is_refused_with_both_epochs(engine: str, made: segments.Segment) -> None:
    message = refusal(engine, run_epoch=EPOCH + 1)
    assert str(EPOCH) in message and str(EPOCH + 1) in message


def test_other_kind_is_refused_with_both_kinds(engine: str, made: segments.Segment) -> None:
    patch_header(engine, "risk", "kind", lib.SEGMENT_CURSOR)
    message = refusal(engine)
    assert "cursor" in message and "stage" in message


def test_other_slot_size_is_refused(engine: str, made: segments.Segment) -> None:
    patch_header(engine, "risk", "slot_size", 64)
    message = refusal(engine, slot_size=128)
    assert "64 bytes" in message and "128" in message


def test_too_small_segment_is_refused(engine: str, made: segments.Segment) -> None:
    message = refusal(engine, size_min=1 << 20)
    assert "8192 bytes" in message and str(1 << 20) in message


def test_ring_cut_short_is_refused(engine: str) -> None:
    size = lib.ring_bytes(64, 128)
    segments.create(engine, "norm", lib.SEGMENT_RING, size, run_epoch=EPOCH, capacity=64, slot_size=128)
    os.truncate(path_of(engine, "norm"), size - 4096)
    with pytest.raises(SegmentMismatchError, match=f"{size - 4096} bytes, wanted {size}"):
        segments.attach(engine, "norm", lib.SEGMENT_RING)


def test_reused_pid_is_not_the_owner(engine: str, made: segments.Segment) -> None:
    patch_header(engine, "risk", "owner_start_time", 1)
    message = refusal(engine)
    assert str(os.getpid()) in message and "wanted 1" in message


def test_dead_run_is_refused_but_can_be_looked_at(engine: str) -> None:
    pid = leave_by_a_dead_process(engine, "risk")
    message = refusal(engine)
    assert str(pid) in message and "dead" in message
    seen = segments.attach(engine, "risk", lib.SEGMENT_STAGE, allow_dead=True)
    assert seen.view("u8", offset=4096)[0] == 42
    assert not seen.info.owner_alive


def test_dead_run_is_never_mapped_writable(engine: str) -> None:
    leave_by_a_dead_process(engine, "risk")
    with pytest.raises(SegmentError, match="read-only"):
        segments.attach(engine, "risk", lib.SEGMENT_STAGE, allow_dead=True, writable=True)


def test_zombie_is_dead() -> None:
    child = subprocess.Popen(["sleep", "60"])
    assert segments.process_start_time(child.pid) is not None
    child.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, not yet collected
    assert segments.process_start_time(child.pid) is None
    child.wait()


def test_symbolic_link_is_not_followed(engine: str, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"\0" * 8192)
    path_of(engine, "risk").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SegmentError, match="cannot be opened"):
        segments.attach(engine, "risk", lib.SEGMENT_STAGE)
    path_of(engine, "risk").unlink()


# ---- owned, listed, reaped ------------------------------------------------------------------------------


def test_name_of_a_live_run_is_refused(engine: str, made: segments.Segment) -> None:
    with pytest.raises(SegmentOwnedError, match=str(os.getpid())):
        segments.create(engine, "risk", lib.SEGMENT_STAGE, 8192, run_epoch=EPOCH + 1)
    segments.attach(engine, "risk", lib.SEGMENT_STAGE, run_epoch=EPOCH)


def test_name_of_a_dead_run_is_refused_until_reaped(engine: str) -> None:
    leave_by_a_dead_process(engine, "risk", "norm.reader")
    with pytest.raises(SegmentError, match="dead") as caught:
        segments.create(engine, "risk", lib.SEGMENT_STAGE, 8192, run_epoch=EPOCH)
    assert "removes it" in caught.value.next_step
    assert segments.reap(engine) == [f"/hotpath.{engine}.norm.reader", f"/hotpath.{engine}.risk"]
    segments.create(engine, "risk", lib.SEGMENT_STAGE, 8192, run_epoch=EPOCH)


def test_reap_removes_half_made_segments(engine: str) -> None:
    path_of(engine, "risk").write_bytes(b"\0" * 10)
    assert segments.reap(engine) == [f"/hotpath.{engine}.risk"]


def test_reap_removes_nothing_of_a_live_run(engine: str) -> None:
    leave_by_a_dead_process(engine, "feed")
    segments.create(engine, "risk", lib.SEGMENT_STAGE, 8192, run_epoch=EPOCH)
    with pytest.raises(SegmentOwnedError):
        segments.reap(engine)
    assert [info.segment for info in segments.list_segments(engine)] == ["feed", "risk"]


def test_engine_is_listed_by_its_segments(engine: str, made: segments.Segment) -> None:
    assert engine in segments.list_engines()
    assert [info.kind_name for info in segments.list_segments(engine)] == ["stage"]


def test_engine_does_not_see_another_whose_name_begins_like_its_own(engine: str, made: segments.Segment) -> None:
    assert segments.list_segments(engine[:-1]) == []


def test_unlinked_segment_is_gone(engine: str, made: segments.Segment) -> None:
    segments.unlink(engine, "risk")
    with pytest.raises(SegmentMissingError):
        segments.unlink(engine, "risk")


# ---- no room --------------------------------------------------------------------------------------------


def test_segment_larger_than_shared_memory_is_refused_and_leaves_nothing(engine: str) -> None:
    with pytest.raises(SegmentSpaceError, match="/dev/shm") as caught:
        segments.create(engine, "risk", lib.SEGMENT_STAGE, 1 << 50, run_epoch=EPOCH)
    assert "[rings] smaller" in caught.value.next_step
    assert segments.list_segments(engine) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts a small /dev/shm in a mount namespace of its own")
@pytest.mark.parametrize("huge_pages", [False, True])
def test_full_shared_memory_is_an_error_at_start_and_no_signal_later(engine: str, huge_pages: bool) -> None:
    code = f"""
        import sys
        from ffi import lib
        from hotpath import segments
        from hotpath.errors import SegmentSpaceError
        segments.create({engine!r}, "small", lib.SEGMENT_STAGE, 512 * 1024, run_epoch=1)
        try:
            segments.create({engine!r}, "large", lib.SEGMENT_STAGE, 8 << 20, run_epoch=1, huge_pages={huge_pages})
        except SegmentSpaceError as error:
            print(error)
        print([info.segment for info in segments.list_segments({engine!r})])
    """
    script = 'mount -t tmpfs -o size=1m tmpfs /dev/shm && exec "$0" -c "$1"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, sys.executable, textwrap.dedent(code)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert f"needs {8 << 20} bytes of /dev/shm" in done.stdout
    assert "['small']" in done.stdout


def test_c_reads_the_header_that_python_sealed(engine: str, made: segments.Segment) -> None:
    assert lib.segment_sealed(made.pointer) == 1
    header = made.cast("segment_header *", 0)
    assert ffi.string(header.name).decode() == f"/hotpath.{engine}.risk"


@pytest.mark.parametrize("size", [1, 300_000, 3 << 20])
def test_large_private_memory_is_whole_huge_pages(size: int) -> None:
    owner, pointer = huge_memory(size)
    first = ffi.cast("uint8_t *", pointer)
    assert first[0] == first[size - 1] == 0
    first[size - 1] = 7
    if size < HUGE_PAGE_BYTES // 4:
        return
    assert int(ffi.cast("uintptr_t", pointer)) % HUGE_PAGE_BYTES == 0
    begins = int(ffi.cast("uintptr_t", pointer)) - int(ffi.cast("uintptr_t", ffi.from_buffer(owner)))
    assert begins + -(-size // HUGE_PAGE_BYTES) * HUGE_PAGE_BYTES <= len(owner)

"""The intent file: every order frame is stored here before it may be sent.

    <state>/<engine>.intents     | segment_header 128 | intent_page | ... | intent_record 192 each, from byte 4096

A file on disk, not a segment in /dev/shm, since it must outlive the engine: a new process learns from it
what may have been sent and what the venue has told so far. One process at a time holds its lock. Only the
gateway's C writes records; Python makes the file, maps it and reads it.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ffi import ffi, lib
from ffi.dtypes import dtype_of, layout_hash
from hotpath.errors import IntentsError
from hotpath.segments import HEADER_SIZE, boot_id, process_start_time

RECORDS_OFFSET: int = lib.INTENT_RECORDS_OFFSET
ZEROS = bytes(1 << 20)


class IntentFile:
    """A mapped intent file. C gets `pointer` and `size`; Python gets copies of what is stored."""

    def __init__(self, path: Path, descriptor: int, *, writable: bool) -> None:
        protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        self.path = path
        self.size = os.fstat(descriptor).st_size
        self._descriptor = descriptor  # holds the lock
        self._sync_descriptor = -1
        self._private: mmap.mmap | None = None
        self._mapping: mmap.mmap | None = mmap.mmap(
            descriptor, self.size, mmap.MAP_SHARED | mmap.MAP_POPULATE, protection
        )
        self._buffer = ffi.from_buffer(self._mapping)

    @property
    def mapping(self) -> mmap.mmap:
        """The buffer itself. Raises IntentsError after close."""
        if self._mapping is None:
            raise IntentsError(self.path, "used after close")
        return self._mapping

    @property
    def pointer(self) -> ffi.CData:
        """``void *`` to the first byte. The mapping must outlive its use."""
        _ = self.mapping
        return ffi.cast("void *", self._buffer)

    @property
    def capacity(self) -> int:
        """Records that the file holds."""
        return int(np.frombuffer(self.mapping, dtype_of("segment_header"), 1)[0]["capacity"])

    @property
    def same_boot(self) -> bool:
        """False when the machine has restarted since the file was made: then the venue's stream is the truth."""
        return bytes(np.frombuffer(self.mapping, dtype_of("segment_header"), 1)[0]["boot_id"]) == boot_id()

    def page(self) -> npt.NDArray[Any]:
        """A copy of the page: one structured element."""
        return np.frombuffer(self.mapping, dtype_of("intent_page"), 1, HEADER_SIZE).copy()[0]  # type: ignore[no-any-return]

    def records(self) -> npt.NDArray[Any]:
        """A copy of the stored records, in order. A record without its stamp was never sent and ends the list."""
        every = np.frombuffer(self.mapping, dtype_of("intent_record"), self.capacity, RECORDS_OFFSET)
        torn = np.flatnonzero(every["stamp"] != np.arange(1, len(every) + 1, dtype=np.uint64))
        return every[: torn[0] if len(torn) else len(every)].copy()

    def frames(self) -> list[bytes]:
        """The wire frames in order, transport header included: the order log."""
        frames = (record["frame"].tobytes()[: int(record["frame_length"])] for record in self.records())
        return [frame for frame in frames if frame]  # what was learnt from the venue alone has none

    @property
    def last_order_id(self) -> int:
        """The highest order id stored; a later run of the day goes on above it."""
        records = self.records()
        return int(records["order_id"].max()) if len(records) else 0

    def promise(self, durability: str) -> None:
        """Say in the file, and have on disk, what its records are promised from here on: "process" or "power".

        A file in which a sync once failed stays broken. Raises OSError.
        """
        page = self._page_view()
        wanted = lib.INTENT_PROMISE_POWER if durability == "power" else lib.INTENT_PROMISE_PROCESS
        if int(page["promise"][0]) in (lib.INTENT_PROMISE_BROKEN, wanted):
            return
        records = ffi.cast("intent_record *", ffi.cast("uint8_t *", self.pointer) + RECORDS_OFFSET)
        if durability == "power":
            for index in range(int(page["count"][0])):
                records[index].checksum = lib.intent_checksum(ffi.addressof(records[index]))
            self.sync()
        page["promise"] = wanted
        self.sync()

    def number_from(self, *, user_ref: int, session: bytes = b"") -> None:
        """Give out no number below, in this venue session if one is named; before a gateway opens the file."""
        page = self._page_view()
        page["session"] = session
        page["next_user_ref"] = max(user_ref, int(page["next_user_ref"][0]))

    def hear_from(self, sequence: int) -> None:
        """Have the venue's messages from this one on published again; before a gateway opens the file."""
        page = self._page_view()
        page["next_expected_sequence"] = min(sequence, int(page["next_expected_sequence"][0]))

    def expect_from(self, *, sequence: int) -> None:
        """Let the next gateway publish the venue's messages from this one on; before it opens the file."""
        self._page_view()["next_expected_sequence"] = sequence
        self.sync()

    def _page_view(self) -> npt.NDArray[Any]:
        return np.frombuffer(self.mapping, dtype_of("intent_page"), 1, HEADER_SIZE)

    def durable(self) -> tuple[ffi.CData, int, int]:
        """What gateway_make_durable takes: a private copy of the records, and descriptors with and without O_DSYNC.

        All three are this file's, until it is closed.
        """
        self._sync_descriptor = os.open(self.path, os.O_RDWR | os.O_DSYNC | os.O_CLOEXEC | os.O_NOFOLLOW)
        self._private = mmap.mmap(
            self._descriptor,
            self.size,
            mmap.MAP_PRIVATE | mmap.MAP_POPULATE,
            mmap.PROT_READ | mmap.PROT_WRITE,
        )
        first = ffi.cast("uint8_t *", ffi.from_buffer(self._private)) + RECORDS_OFFSET
        return ffi.cast("intent_record *", first), self._sync_descriptor, self._descriptor

    def sync(self) -> None:
        """Write what is stored to the disk; a store alone survives the process, not the machine."""
        self.mapping.flush()

    def close(self) -> None:
        """Let go of the mapping and of the lock."""
        if self._mapping is None:
            return
        self._buffer = None
        self._mapping = None
        self._private = None
        if self._sync_descriptor >= 0:
            os.close(self._sync_descriptor)
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def create_intents(path: Path, *, capacity: int, trading_day: int = 0) -> None:
    """Make a file for `capacity` frames, written through to the disk so that no later store can fail.

    `trading_day` is yyyymmdd, 0 when there is none. Raises IntentsError when the file exists or has no room.
    """
    size = int(lib.intent_bytes(capacity))
    if size == 0:
        raise IntentsError(path, f"a file of {capacity} records cannot be made")
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.draft")
    descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, size)
        _write_zeros(descriptor, size)
        with mmap.mmap(descriptor, size) as mapping:
            _head(mapping, capacity=capacity, trading_day=trading_day)
            mapping.flush()
        os.fsync(descriptor)
        os.link(draft, path)  # whole or not at all, and never over another file
    except FileExistsError:
        raise IntentsError(path, "exists already") from None
    except OSError as error:
        raise IntentsError(
            path,
            f"{size} bytes cannot be made: {os.strerror(error.errno or 0)}",
            next_step="make room, name another gateway.intents_dir, or lower gateway.intents_max",
        ) from None
    finally:
        os.close(descriptor)
        draft.unlink(missing_ok=True)


def _write_zeros(descriptor: int, size: int) -> None:
    """Written pages cost less at their first store than pages that are only allocated."""
    for offset in range(0, size, len(ZEROS)):
        os.pwrite(descriptor, ZEROS[: min(len(ZEROS), size - offset)], offset)


def _head(mapping: mmap.mmap, *, capacity: int, trading_day: int) -> None:
    page = np.frombuffer(mapping, dtype_of("intent_page"), 1, HEADER_SIZE)
    page["next_user_ref"] = 1
    page["next_expected_sequence"] = 1
    page["adopts"] = 1
    page["trading_day"] = trading_day
    header = np.zeros(1, dtype_of("segment_header"))
    header["layout_hash"] = layout_hash()
    header["capacity"] = capacity
    header["slot_size"] = dtype_of("intent_record").itemsize
    header["kind"] = lib.SEGMENT_INTENTS
    header["owner_pid"] = os.getpid()
    header["owner_start_time"] = process_start_time(os.getpid())
    header["boot_id"] = np.frombuffer(boot_id(), np.uint8)
    header["name"] = b"intents"
    buffer = ffi.from_buffer(mapping)
    lib.segment_seal(buffer, ffi.cast("segment_header *", ffi.from_buffer(header)))
    ffi.release(buffer)
    del page


def open_intents(path: Path, *, capacity: int, trading_day: int = 0) -> IntentFile:
    """The engine's intent file, made when absent, locked for this process until it is closed.

    Raises IntentsError when another process holds it, or it is of another layout, size or trading day.
    """
    if not path.exists():
        create_intents(path, capacity=capacity, trading_day=trading_day)
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        _lock(path, descriptor)
        _check_head(path, descriptor)
        file = IntentFile(path, descriptor, writable=True)
    except BaseException:
        os.close(descriptor)
        raise
    if file.capacity > capacity:
        wanted, found = capacity, file.capacity
        file.close()
        raise IntentsError(path, f"holds {found} records, the gateway has tables for {wanted}")
    if not file.same_boot:
        file.close()
        raise IntentsError(
            path,
            "is of another boot of this machine: pages of it may be missing",
            next_step="hotpath run looks after it before the gateway starts",
        )
    found_day = int(file.page()["trading_day"])
    if trading_day and found_day != trading_day:
        file.close()
        raise IntentsError(
            path,
            f"is of trading day {found_day}, not {trading_day}",
            next_step="roll it: move it away, once nothing of that day is open at the venue",
        )
    return file


@contextmanager
def locked_intents(path: Path) -> Iterator[None]:
    """The file's lock, without a look at what it holds. Raises IntentsError when a gateway has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        _lock(path, descriptor)
        yield
    finally:
        os.close(descriptor)


def _lock(path: Path, descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise IntentsError(
            path, "is held by another process", next_step="stop the gateway that has this venue session"
        ) from None


def read_intents(path: Path) -> IntentFile:
    """Any intent file, read-only and without its lock: for people and tests."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise IntentsError(path, f"cannot be read: {error.strerror}") from None
    try:
        _check_head(path, descriptor)
        return IntentFile(path, descriptor, writable=False)
    except BaseException:
        os.close(descriptor)
        raise


def frames_digest(frames: list[bytes]) -> str:
    """SHA-256 over the frames, each behind its length: equal digests, equal order logs."""
    digest = hashlib.sha256()
    for frame in frames:
        digest.update(len(frame).to_bytes(2, "big"))
        digest.update(frame)
    return digest.hexdigest()


def _check_head(path: Path, descriptor: int) -> None:
    owner = os.fstat(descriptor).st_uid
    if owner != os.geteuid():  # in a folder that others may write to, the name alone proves nothing
        raise IntentsError(path, f"belongs to user {owner}, not to {os.geteuid()}")
    raw = os.pread(descriptor, HEADER_SIZE, 0)
    if len(raw) < HEADER_SIZE or not lib.segment_sealed(ffi.from_buffer(raw)):
        raise IntentsError(path, "is no intent file")
    header = np.frombuffer(raw, dtype_of("segment_header"))[0]
    if int(header["kind"]) != lib.SEGMENT_INTENTS:
        raise IntentsError(path, f"is of segment kind {int(header['kind'])}, not an intent file")
    if int(header["layout_hash"]) != layout_hash():
        raise IntentsError(
            path,
            f"has layout hash {int(header['layout_hash']):016x}, wanted {layout_hash():016x}",
            next_step="finish its trading day with the build that made it",
        )
    wanted = int(lib.intent_bytes(int(header["capacity"])))
    if wanted == 0 or os.fstat(descriptor).st_size < wanted:
        raise IntentsError(path, f"has {os.fstat(descriptor).st_size} bytes, its records need {wanted}")

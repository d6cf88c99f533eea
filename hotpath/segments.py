"""Shared memory: made, sealed, found, viewed and reaped.

    /dev/shm/hotpath.<engine>.<segment>     | segment_header 128 | body ... |
                                              magic stored last    zero when the segment is made

The supervisor makes every segment before a stage starts; stages and tools attach. Attaching checks that
the segment is whole and of this layout, this boot, a living run and the expected kind; the error names the
segment and both values. Python views payloads; control words are written in C alone.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import posix_ipc

from ffi import ffi, lib
from ffi.dtypes import dtype_of, enum_names, layout_hash
from hotpath.errors import (
    SegmentError,
    SegmentMismatchError,
    SegmentMissingError,
    SegmentOwnedError,
    SegmentSpaceError,
)

SHM_FOLDER = Path("/dev/shm")
ENGINE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
SEGMENT_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
HEADER_SIZE: int = lib.SEGMENT_HEADER_SIZE
NAME_LENGTH_MAX = dtype_of("segment_header")["name"].itemsize - 1
OPEN_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # never wait for the other end of a pipe
MADV_POPULATE_WRITE = 23  # Linux 5.14: fault pages in with an error where a store would raise SIGBUS


def posix_name(engine: str, segment: str) -> str:
    """``/hotpath.<engine>.<segment>``. Raises SegmentError when either part cannot be a name."""
    name = f"/hotpath.{engine}.{segment}"
    if not ENGINE_NAME.fullmatch(engine) or not SEGMENT_NAME.fullmatch(segment):
        raise SegmentError(name, "names are lower-case letters, digits, '-' and '_'; only a segment's may hold dots")
    if len(name) > NAME_LENGTH_MAX:
        raise SegmentError(name, f"the name has {len(name)} characters; its header holds {NAME_LENGTH_MAX}")
    return name


# ---- who made it ---------------------------------------------------------------------------------------


@cache
def boot_id() -> bytes:
    """The 16 bytes that Linux draws anew at each boot."""
    return bytes.fromhex(Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", ""))


def process_start_time(pid: int) -> int | None:
    """Clock ticks from boot to the process's start; None when it is dead or a zombie.

    A pid alone is no identity, since pids are used again; a pid and its start time are.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat[stat.rindex(")") + 2 :].split()  # the name before it may hold spaces and brackets
    state, start_time = fields[0], int(fields[19])
    return None if state in "ZX" else start_time


@dataclass(frozen=True)
class SegmentInfo:
    """What one segment's header says, and whether its maker lives. Read without mapping the body."""

    name: str
    engine: str
    segment: str
    size: int
    sealed: bool
    layout_hash: int
    run_epoch: int
    capacity: int
    slot_size: int
    kind: int
    owner_pid: int
    owner_start_time: int
    boot_id: bytes

    @property
    def kind_name(self) -> str:
        """As ``ring`` or ``stage``; ``kind 77`` when this build does not know it."""
        return enum_names("segment_kind").get(self.kind, f"kind {self.kind}").lower().removeprefix("segment_")

    @property
    def owner_alive(self) -> bool:
        """True while the process that made it runs. A half-made segment may name no owner yet."""
        if self.boot_id != boot_id() or self.owner_pid == 0:
            return False
        return process_start_time(self.owner_pid) == self.owner_start_time


def _info_of(name: str, descriptor: int) -> SegmentInfo:
    """The header as it lies in the file; zeros beyond the end of a file that is too short."""
    raw = os.pread(descriptor, HEADER_SIZE, 0).ljust(HEADER_SIZE, b"\0")
    header = np.frombuffer(raw, dtype_of("segment_header"))[0]
    _, engine, segment = name.removeprefix("/").split(".", 2)
    return SegmentInfo(
        name=name,
        engine=engine,
        segment=segment,
        size=os.fstat(descriptor).st_size,
        sealed=bool(lib.segment_sealed(ffi.from_buffer(raw))),
        layout_hash=int(header["layout_hash"]),
        run_epoch=int(header["run_epoch"]),
        capacity=int(header["capacity"]),
        slot_size=int(header["slot_size"]),
        kind=int(header["kind"]),
        owner_pid=int(header["owner_pid"]),
        owner_start_time=int(header["owner_start_time"]),
        boot_id=header["boot_id"].tobytes(),
    )


# ---- one mapped segment --------------------------------------------------------------------------------


class Segment:
    """A mapped segment. C gets `pointer`; Python gets views.

    The mapping lives as long as this object, any view and any pointer made from it, so closing is only
    letting go. What C keeps for itself Python cannot see: whoever hands a pointer to a C struct keeps the
    Segment for as long.
    """

    def __init__(self, info: SegmentInfo, mapping: mmap.mmap, *, writable: bool) -> None:
        self.info = info
        self.name = info.name
        self.size = info.size
        self.writable = writable
        self._mapping: mmap.mmap | None = mapping

    @property
    def mapping(self) -> mmap.mmap:
        """The buffer itself. Raises SegmentError after close."""
        if self._mapping is None:
            raise SegmentError(self.name, "used after close")
        return self._mapping

    @property
    def pointer(self) -> ffi.CData:
        """``void *`` to the first byte of the header. A store through it needs a writable mapping."""
        return self.cast("void *", 0)

    @property
    def address(self) -> int:
        """The mapped address as a number."""
        return int(ffi.cast("uintptr_t", ffi.from_buffer(self.mapping)))

    def cast(self, ctype: str, offset: int = HEADER_SIZE) -> ffi.CData:
        """A C pointer into the segment, by default to its body: ``segment.cast("stage_page *")``."""
        target = ffi.typeof(ctype).item
        needed = offset + (0 if target.kind == "void" else ffi.sizeof(target))
        if needed > self.size:
            raise SegmentError(
                self.name, f"{target.cname} at byte {offset} needs {needed} bytes, there are {self.size}"
            )
        mapping = self.mapping
        # The destructor does nothing but hold the mapping for as long as the pointer lives.
        return ffi.gc(ffi.cast(ctype, self.address + offset), lambda _, _held=mapping: None)

    def view(self, struct: str | npt.DTypeLike, *, offset: int = HEADER_SIZE, count: int = 1) -> npt.NDArray[Any]:
        """The segment's own bytes as an array of `count` structs or numbers; nothing is copied.

        The array is writable when the mapping is, and keeps the mapping alive.
        """
        dtype = _dtype(struct)
        needed = offset + count * dtype.itemsize
        if needed > self.size:
            raise SegmentError(
                self.name, f"{count} x {dtype.itemsize} bytes at {offset} end at {needed} of {self.size}"
            )
        return np.frombuffer(self.mapping, dtype, count, offset)

    def close(self) -> None:
        """Let go of the mapping; it is unmapped with the last view of it."""
        self._mapping = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _dtype(struct: str | npt.DTypeLike) -> np.dtype[Any]:
    """A layout's struct by name, or whatever NumPy takes for a dtype."""
    if isinstance(struct, str):
        try:
            return dtype_of(struct)
        except (ffi.error, TypeError):
            return np.dtype(struct)
    return np.dtype(struct)


# ---- making and attaching ------------------------------------------------------------------------------


def create(
    engine: str,
    segment: str,
    kind: int,
    size: int,
    *,
    run_epoch: int,
    capacity: int = 0,
    slot_size: int = 0,
    huge_pages: bool = False,
    lock: bool = False,
) -> Segment:
    """Make, fill with zeros, fault in and seal a segment of `size` bytes, header included.

    `run_epoch` is the instant (ns) at which the run began, one for all its segments. `huge_pages` asks for
    them and is content with small ones; `lock` demands that the pages never leave memory.
    Raises SegmentOwnedError when a live run has it, SegmentError when a dead one left it (see `reap`), and
    SegmentSpaceError when /dev/shm or the lock limit is too small: here, and not as a SIGBUS at a later store.
    """
    name = posix_name(engine, segment)
    if size < HEADER_SIZE:
        raise SegmentError(name, f"a segment of {size} bytes cannot hold its header of {HEADER_SIZE}")
    try:
        memory = posix_ipc.SharedMemory(name, posix_ipc.O_CREX, mode=0o600)
    except posix_ipc.ExistentialError:
        raise _exists(name) from None
    except OSError as error:
        raise SegmentError(name, f"cannot be made: {os.strerror(error.errno or 0)}") from None
    try:
        mapping = _allocate(name, memory.fd, size, huge_pages=huge_pages, lock=lock)
        _seal(mapping, name, kind, run_epoch=run_epoch, capacity=capacity, slot_size=slot_size)
        return Segment(_info_of(name, memory.fd), mapping, writable=True)
    except BaseException:
        posix_ipc.unlink_shared_memory(name)
        raise
    finally:
        memory.close_fd()


def _exists(name: str) -> SegmentError:
    """The error for a name that is taken."""
    engine = name.split(".")[1]
    try:
        info = _open_info(name)
    except SegmentMissingError:
        return SegmentError(name, "is being made or removed by another process")
    if info.owner_alive:
        return SegmentOwnedError(
            name,
            f"owned by the live process {info.owner_pid} (run epoch {info.run_epoch})",
            next_step=f"stop that engine first, or run this one under another name than {engine}",
        )
    return SegmentError(
        name, f"left by the dead process {info.owner_pid} (run epoch {info.run_epoch})", next_step=by_hand(info.engine)
    )


def _allocate(name: str, descriptor: int, size: int, *, huge_pages: bool, lock: bool) -> mmap.mmap:
    """Memory for every byte, now, mapped writable with its pages faulted in."""
    try:
        if huge_pages:
            # Only pages that are faulted in through an advised mapping become huge: before fallocate.
            os.ftruncate(descriptor, size)
            mapping = mmap.mmap(descriptor, size, mmap.MAP_SHARED)
            advise(mapping, mmap.MADV_HUGEPAGE)
            advise(mapping, MADV_POPULATE_WRITE)
        os.posix_fallocate(descriptor, 0, size)
        if not huge_pages:
            mapping = mmap.mmap(descriptor, size, mmap.MAP_SHARED | mmap.MAP_POPULATE)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.ENOMEM):
            raise SegmentError(name, f"cannot be allocated: {error}") from None
        free = os.statvfs(SHM_FOLDER)
        raise SegmentSpaceError(
            name,
            f"needs {size} bytes of {SHM_FOLDER}, which has {free.f_bavail * free.f_frsize} left",
            next_step="hotpath doctor CONFIG says how much the engine needs; then "
            f"mount -o remount,size=... {SHM_FOLDER}, or make the [rings] smaller",
        ) from None
    if lock:
        _lock(name, mapping)
    return mapping


def advise(mapping: mmap.mmap, advice: int, start: int = 0, length: int | None = None) -> None:
    """Advice that an older kernel, or a full file system, may decline: posix_fallocate has the last word."""
    try:
        mapping.madvise(advice, start, len(mapping) - start if length is None else length)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EFAULT, errno.ENOMEM, errno.ENOSPC):
            raise


def _lock(name: str, mapping: mmap.mmap) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    address = int(ffi.cast("uintptr_t", ffi.from_buffer(mapping)))
    if libc.mlock(ctypes.c_void_p(address), ctypes.c_size_t(len(mapping))) != 0:
        raise SegmentSpaceError(
            name,
            f"its {len(mapping)} bytes cannot be locked: {os.strerror(ctypes.get_errno())}",
            next_step="raise the memory lock limit (ulimit -l, LimitMEMLOCK=) or grant CAP_IPC_LOCK",
        )


def _seal(mapping: mmap.mmap, name: str, kind: int, *, run_epoch: int, capacity: int, slot_size: int) -> None:
    """Write the header; C stores its magic last."""
    header = np.zeros(1, dtype_of("segment_header"))
    header["layout_hash"] = layout_hash()
    header["run_epoch"] = run_epoch
    header["owner_start_time"] = process_start_time(os.getpid())
    header["capacity"] = capacity
    header["slot_size"] = slot_size
    header["kind"] = kind
    header["owner_pid"] = os.getpid()
    header["boot_id"] = np.frombuffer(boot_id(), np.uint8)
    header["name"] = name.encode()
    lib.segment_seal(ffi.from_buffer(mapping), ffi.cast("segment_header *", ffi.from_buffer(header)))


def attach(
    engine: str,
    segment: str,
    kind: int,
    *,
    writable: bool = False,
    run_epoch: int | None = None,
    size_min: int = HEADER_SIZE,
    slot_size: int | None = None,
    allow_dead: bool = False,
) -> Segment:
    """Map a segment that another process made, after checking all that its header says.

    `run_epoch` and `slot_size` are checked when given. `allow_dead` lets a reader look at what a dead run
    left; such a mapping is read-only. Raises SegmentMissingError or SegmentMismatchError.
    """
    name = posix_name(engine, segment)
    if allow_dead and writable:
        raise SegmentError(name, "a dead run's segment is mapped read-only")
    descriptor = _open(name)
    try:
        info = _info_of(name, descriptor)
        _check_maker(info, allow_dead=allow_dead)
        _check_use(info, kind, run_epoch=run_epoch, size_min=size_min, slot_size=slot_size)
        protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        mapping = mmap.mmap(descriptor, info.size, mmap.MAP_SHARED | mmap.MAP_POPULATE, protection)
        return Segment(info, mapping, writable=writable)
    finally:
        os.close(descriptor)


def _open(name: str) -> int:
    """A read-write descriptor where this user has the right to one, else a read-only one."""
    path = SHM_FOLDER / name[1:]
    engine = name.split(".")[1]
    try:
        try:
            descriptor = os.open(path, os.O_RDWR | OPEN_FLAGS)
        except PermissionError:
            descriptor = os.open(path, os.O_RDONLY | OPEN_FLAGS)
    except FileNotFoundError:
        raise SegmentMissingError(name, "does not exist", next_step=f"is the engine {engine} running?") from None
    except OSError as error:
        raise SegmentError(
            name, f"cannot be opened: {error.strerror}", next_step=f"it is none of ours; whose is it? ls -l {path}"
        ) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise SegmentError(name, "is no shared memory", next_step=f"it is none of ours; whose is it? ls -l {path}")
    return descriptor


def _open_info(name: str) -> SegmentInfo:
    descriptor = _open(name)
    try:
        return _info_of(name, descriptor)
    finally:
        os.close(descriptor)


def _mismatch(name: str, what: str, found: object, wanted: object, next_step: str = "") -> SegmentMismatchError:
    return SegmentMismatchError(name, f"{what} is {found}, wanted {wanted}", next_step=next_step)


def by_hand(engine: str) -> str:
    """What to do about what a dead run, or somebody else, left under an engine's name."""
    return f"the next run of {engine} removes it; or by hand: rm {SHM_FOLDER}/hotpath.{engine}.*"


def _check_maker(info: SegmentInfo, *, allow_dead: bool) -> None:
    """Refuse what was made half, by another layout, before this boot or by a run that is dead."""
    step = by_hand(info.engine)
    if info.size < HEADER_SIZE:
        raise _mismatch(info.name, "half made: its size", f"{info.size} bytes", f"at least {HEADER_SIZE}", step)
    if not info.sealed:
        raise _mismatch(info.name, "half made or foreign: its magic", "absent", "HOTPATH1", step)
    if info.layout_hash != layout_hash():
        raise _mismatch(
            info.name,
            "layout hash",
            f"{info.layout_hash:016x}",
            f"{layout_hash():016x}",
            "run one build of hotpath on both sides",
        )
    if allow_dead:
        return
    if info.boot_id != boot_id():
        raise _mismatch(info.name, "boot id", info.boot_id.hex(), boot_id().hex(), f"the machine has restarted: {step}")
    start_time = process_start_time(info.owner_pid)
    if start_time != info.owner_start_time:
        raise _mismatch(
            info.name,
            f"start time of its owner, process {info.owner_pid},",
            "none (it is dead)" if start_time is None else start_time,
            info.owner_start_time,
            f"the run that made it is dead: {step}",
        )


def _check_use(info: SegmentInfo, kind: int, *, run_epoch: int | None, size_min: int, slot_size: int | None) -> None:
    """Refuse a segment of another kind, run or size than the caller expects."""
    if info.kind != kind:
        wanted = enum_names("segment_kind").get(kind, str(kind)).lower().removeprefix("segment_")
        raise _mismatch(info.name, "kind", info.kind_name, wanted)
    if run_epoch is not None and info.run_epoch != run_epoch:
        raise _mismatch(info.name, "run epoch", info.run_epoch, run_epoch, "it belongs to another run")
    if slot_size is not None and info.slot_size != slot_size:
        raise _mismatch(info.name, "slot size", f"{info.slot_size} bytes", slot_size)
    if kind == lib.SEGMENT_RING:
        bytes_wanted = lib.ring_bytes(info.capacity, info.slot_size)
        if bytes_wanted == 0 or info.size < bytes_wanted:
            what = f"size for {info.capacity} slots of {info.slot_size} bytes"
            raise _mismatch(info.name, what, f"{info.size} bytes", bytes_wanted or "powers of two")
    if info.size < size_min:
        raise _mismatch(info.name, "size", f"{info.size} bytes", f"at least {size_min}")


# ---- an engine's segments ------------------------------------------------------------------------------


def list_segments(engine: str | None = None) -> list[SegmentInfo]:
    """Every segment of an engine, or of all engines, by name; one that vanishes meanwhile is left out."""
    found = []
    for path in sorted(SHM_FOLDER.glob(f"hotpath.{engine or '*'}.*")):
        try:
            found.append(_open_info(f"/{path.name}"))
        except SegmentMissingError:
            continue
    return found


def list_engines() -> list[str]:
    """Names of the engines that have segments, dead ones and other users' included."""
    return sorted({path.name.split(".")[1] for path in SHM_FOLDER.glob("hotpath.*.*")})


def unlink(engine: str, segment: str) -> None:
    """Remove the name; memory goes with the last mapping. Raises SegmentMissingError."""
    name = posix_name(engine, segment)
    if not _unlink(name):
        raise SegmentMissingError(name, "does not exist")


def _unlink(name: str) -> bool:
    """False when there is no such segment. Raises SegmentError when it is another user's."""
    try:
        posix_ipc.unlink_shared_memory(name)
    except posix_ipc.ExistentialError:
        return False
    except posix_ipc.PermissionsError:
        raise SegmentError(name, "cannot be removed: it is another user's") from None
    return True


def reap(engine: str) -> list[str]:
    """Remove every segment that a dead run of the engine left; returns their names.

    Raises SegmentOwnedError, and removes nothing, when any of them has a live owner.
    """
    infos = list_segments(engine)
    refuse_live(infos)
    return unlink_all(infos)


def refuse_live(infos: Iterable[SegmentInfo]) -> None:
    """Raise SegmentOwnedError when a live process owns one of the segments."""
    for info in infos:
        if info.owner_alive:
            raise _exists(info.name)


def unlink_all(infos: Iterable[SegmentInfo]) -> list[str]:
    """Remove these segments, whoever owns them: a run's own at its end. Returns the names removed."""
    return [info.name for info in infos if _unlink(info.name)]

"""Who holds what only one process of this host may have: an engine's name, a venue session, a port.

    /dev/shm/.hotpath.<engine>.lock                     the supervisor, for the run
    /dev/shm/.hotpath.session.<address>.<port>.<user>.lock    the gateway's process, for its life
    <state_dir>/<engine>.lock                           the supervisor: state_dir may be shared where /dev/shm is not

A lock is flock(2): the kernel gives it back when its holder dies, however it dies. The file that a killed holder
leaves locks nobody out; those in /dev/shm are removed by whoever starts an engine next. What the file says is for
people: who holds it, since when. Across hosts there is no such lock; a venue ends the older of two sessions of one
user, and that is the fence there (docs/gateway.md).
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path
from urllib.parse import quote

from hotpath.errors import HeldError
from hotpath.segments import SHM_FOLDER, process_start_time

HOLDER_BYTES_MAX = 4096
UNSIGNED_SECONDS = 60.0  # a lock file without a holder's mark is that old before it is taken for left behind
REAPED_TRIES = 50  # for who wants a lock whose file is just being removed
REAPED_SECONDS = 0.002  # between two of them
UDP_TABLES = ("/proc/net/udp", "/proc/net/udp6")


class Hold:
    """A lock that this process has; it goes with `release`, or with the process."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    def release(self) -> None:
        """Give it back. The file goes first, while nobody else can have it."""
        if self._descriptor >= 0:
            self.path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = -1


def engine_lock(engine: str) -> Path:
    """Beside the engine's segments, under a name that is none of theirs."""
    return SHM_FOLDER / f".hotpath.{engine}.lock"


def state_dir_of(engine: str) -> Path | None:
    """Where a running engine keeps its state, as its supervisor noted beside the shared memory."""
    try:
        note = json.loads(engine_lock(engine).read_text())["note"]
        return Path(str(note).removeprefix("state_dir "))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def session_lock(*, address: str, port: int, username: str) -> Path:
    """Of one venue session: whoever logs in there under this name, which SoupBinTCP takes in either case."""
    return SHM_FOLDER / f".hotpath.session.{address}.{port}.{quote(username.strip().upper(), safe='')}.lock"


def hold(path: Path, what: str, *, note: str = "", next_step: str = "") -> Hold:
    """Take a lock, or raise HeldError that says since when which process has it.

    `what` is what is held, as "an engine named demo"; `note` is kept for those who find it taken.
    """
    tries = 0
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except PermissionError:
            raise HeldError(f"{what}: {path} belongs to {_owner(path)}", next_step=next_step) from None
        except OSError as error:
            raise HeldError(f"{what}: {path} cannot be locked: {error.strerror}", next_step=next_step) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held_by = describe_holder(os.pread(descriptor, HOLDER_BYTES_MAX, 0))
            reaped = _left_behind(descriptor)
            os.close(descriptor)
            if reaped and tries < REAPED_TRIES:  # reap_locks has it, for as long as it takes to remove it
                tries += 1
                time.sleep(REAPED_SECONDS)
                continue
            raise HeldError(f"{what} is held already, by {held_by}", next_step=next_step) from None
        if _names(path, descriptor):
            _sign(descriptor, note)
            return Hold(path, descriptor)
        os.close(descriptor)  # its holder removed the file between our open and our lock


def reap_locks(folder: Path = SHM_FOLDER) -> list[str]:
    """Remove this user's lock files whose holders were killed; returns their names.

    Whoever has the lock may remove the file, and nobody else: one who opened it before finds, once it has the lock,
    that the path leads elsewhere, and makes a new one.
    """
    reaped = []
    for path in sorted(folder.glob(".hotpath.*.lock")):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            continue  # gone meanwhile, or another user's
        try:
            if os.fstat(descriptor).st_uid != os.getuid() or not _left_behind(descriptor):
                continue
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _names(path, descriptor):
                path.unlink()
                reaped.append(path.name)
        except BlockingIOError:
            continue  # what its holder said cannot be seen from here, as in another container; it lives
        finally:
            os.close(descriptor)
    return reaped


def _left_behind(descriptor: int) -> bool:
    """Whether the one who signed a lock file is dead. It is a hint, the lock is the truth."""
    try:
        holder = json.loads(os.pread(descriptor, HOLDER_BYTES_MAX, 0))
        return process_start_time(int(holder["pid"])) != int(holder["start_time"])
    except (ValueError, KeyError, TypeError):
        return time.time() - os.fstat(descriptor).st_mtime > UNSIGNED_SECONDS


def describe_holder(text: bytes) -> str:
    """ "process 12 since 2026-11-20 09:30:00 (note)", from what a holder wrote; it may not have come to that."""
    try:
        holder = json.loads(text)
        told = f"process {int(holder['pid'])} since {holder['since']}"
        return f"{told} ({holder['note']})" if holder.get("note") else told
    except (ValueError, KeyError, TypeError, AttributeError):
        return "a process that has not said who it is"


def port_holder(port: int) -> str:
    """Which process has a UDP port of this host, as "process 12 (hotpath run a.toml)"; empty when it cannot be told."""
    sockets = {f"socket:[{inode}]" for table in UDP_TABLES for inode in _inodes(table, port)}
    for pid in (name for name in os.listdir("/proc") if name.isdigit()) if sockets else ():
        if sockets.isdisjoint(_open_files(pid)):
            continue
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
        return f"process {pid} ({command})"
    return ""


def _open_files(pid: str) -> set[str]:
    """What a process has open, as far as this user may know."""
    found = set()
    try:
        for number in os.listdir(f"/proc/{pid}/fd"):
            try:
                found.add(os.readlink(f"/proc/{pid}/fd/{number}"))
            except FileNotFoundError:
                continue  # closed meanwhile, as the listing's own
    except OSError:
        return found  # another user's, or gone
    return found


def _inodes(table: str, port: int) -> list[str]:
    """Sockets bound to a port, from one of the kernel's tables."""
    try:
        lines = Path(table).read_text().splitlines()[1:]
    except OSError:
        return []
    rows = [line.split() for line in lines]
    return [row[9] for row in rows if len(row) > 9 and row[1].endswith(f":{port:04X}")]


def _names(path: Path, descriptor: int) -> bool:
    """Whether the path still leads to the file that is open."""
    try:
        return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _sign(descriptor: int, note: str) -> None:
    """Say who holds it. In place of what its predecessor said, in one write."""
    holder = {
        "pid": os.getpid(),
        "start_time": process_start_time(os.getpid()),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        "note": note,
    }
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(holder).encode()[:HOLDER_BYTES_MAX], 0)


def _owner(path: Path) -> str:
    try:
        return f"user {path.stat().st_uid}"
    except OSError:
        return "another user"

"""What the kernel says of this machine: its files under a root, and the few system calls that have none.

A test gives another root and other answers; nothing below asks the real machine by another way.
"""

from __future__ import annotations

import ctypes
import os
import resource
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hotpath.host import CAP_IPC_LOCK, CAP_SYS_NICE, has_capability
from hotpath.segments import SHM_FOLDER
from hotpath.topology import parse_cpu_list

UNLIMITED = resource.RLIM_INFINITY
TEXT_MAX = 1 << 20  # of one file; /proc/interrupts of the largest machines is below it
STA_UNSYNC, STA_NANO = 0x0040, 0x2000  # linux/timex.h


class UnreadableError(Exception):
    """The machine does not tell: the message says what was asked and why there is no answer."""


@dataclass(frozen=True)
class ClockStatus:
    """adjtimex(2), read only."""

    synchronised: bool
    estimated_error_us: int
    maximum_error_us: int
    offset_ns: int


@dataclass(frozen=True)
class Machine:
    """One machine, as one process may see it."""

    root: Path
    cpus: tuple[int, ...]  # that this process may use
    limits: Mapping[str, int]  # soft limits by name: memlock, rtprio, nofile
    capabilities: frozenset[str]  # of memlock and rtprio: those that lift the limit
    shm_bytes: tuple[int, int] | None = None  # size and free; None: there is none
    clock: ClockStatus | None = None
    refusals: Mapping[str, str] = field(default_factory=dict)  # why a system call gave no answer

    def read(self, path: str) -> str:
        """A small file of the kernel's, stripped. Raises UnreadableError."""
        try:
            with (self.root / path.lstrip("/")).open("rb") as file:
                return file.read(TEXT_MAX).decode(errors="replace").strip()
        except OSError as error:
            raise UnreadableError(f"{path}: {(error.strerror or str(error)).lower()}") from None

    def find(self, path: str, *, default: str = "") -> str:
        """The same; `default` where it cannot be read."""
        try:
            return self.read(path)
        except UnreadableError:
            return default

    def number(self, path: str) -> int:
        """A file that holds one number. Raises UnreadableError."""
        text = self.read(path)
        try:
            return int(text)
        except ValueError:
            raise UnreadableError(f"{path}: {text[:40]!r} is no number") from None

    def cpu_list(self, path: str) -> set[int]:
        """A file in the kernel's list format. Raises UnreadableError."""
        text = self.read(path)
        try:
            return parse_cpu_list("" if text == "(null)" else text)
        except ValueError:
            raise UnreadableError(f"{path}: {text[:40]!r} is no list of processors") from None

    def names(self, path: str) -> list[str]:
        """Names in a folder, sorted. Raises UnreadableError."""
        try:
            return sorted(os.listdir(self.root / path.lstrip("/")))
        except OSError as error:
            raise UnreadableError(f"{path}: {(error.strerror or str(error)).lower()}") from None

    def chosen(self, path: str) -> str:
        """The word in brackets of "always [madvise] never". Raises UnreadableError."""
        text = self.read(path)
        _, bracket, rest = text.partition("[")
        return rest.partition("]")[0] if bracket else text

    @property
    def kernel_options(self) -> dict[str, str]:
        """The kernel's command line: "nohz_full=2-3" by its name; "" for an option without a value."""
        options = {}
        for word in self.read("/proc/cmdline").split():
            name, _, value = word.partition("=")
            options[name] = value
        return options

    def limit(self, name: str) -> int:
        """A soft limit, UNLIMITED where a capability lifts it. Raises UnreadableError."""
        if name in self.capabilities:
            return UNLIMITED
        if name not in self.limits:
            raise UnreadableError(f"getrlimit {name}: {self.refusals.get(name, 'no answer')}")
        return self.limits[name]


def this_machine() -> Machine:
    """The machine that this process runs on."""
    refusals: dict[str, str] = {}
    clock = clock_status()
    if clock is None:
        refusals["adjtimex"] = os.strerror(ctypes.get_errno()).lower()
    try:
        shm = os.statvfs(SHM_FOLDER)
        shm_bytes = (shm.f_blocks * shm.f_frsize, shm.f_bavail * shm.f_frsize)
    except OSError as error:
        shm_bytes, refusals["shm"] = None, (error.strerror or str(error)).lower()
    lifted = {"memlock": CAP_IPC_LOCK, "rtprio": CAP_SYS_NICE}
    return Machine(
        root=Path("/"),
        cpus=tuple(sorted(os.sched_getaffinity(0))),
        limits={
            "memlock": resource.getrlimit(resource.RLIMIT_MEMLOCK)[0],
            "rtprio": resource.getrlimit(resource.RLIMIT_RTPRIO)[0],
            "nofile": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        },
        capabilities=frozenset(name for name, number in lifted.items() if has_capability(number)),
        shm_bytes=shm_bytes,
        clock=clock,
        refusals=refusals,
    )


class _Timex(ctypes.Structure):
    """struct timex of adjtimex(2), as far as it is read here; the rest is room."""

    _fields_ = [
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("room", ctypes.c_long * 32),
    ]


def clock_status() -> ClockStatus | None:
    """What the kernel's clock discipline says; None, with errno set, where it may not be asked."""
    libc = ctypes.CDLL(None, use_errno=True)
    timex = _Timex()  # modes 0: nothing is changed
    if libc.adjtimex(ctypes.byref(timex)) < 0:
        return None
    scale = 1 if timex.status & STA_NANO else 1000
    return ClockStatus(
        synchronised=not timex.status & STA_UNSYNC,
        estimated_error_us=int(timex.esterror),
        maximum_error_us=int(timex.maxerror),
        offset_ns=int(timex.offset) * scale,
    )

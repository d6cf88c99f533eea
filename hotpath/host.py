"""Makes a process fit for the path: pinned, in memory, scheduled first, undisturbed by its own runtime.

Each step that the machine denies fails softly with a denial that names what is missing and what grants
it; an engine without privileges runs, only less evenly. `spin_control` tells what the machine costs.
"""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from ffi import ffi, lib
from hotpath.config import EngineConfig
from hotpath.topology import Place, Placement, cpu_ranges

CAP_IPC_LOCK = 14
CAP_SYS_NICE = 23
MCL_CURRENT, MCL_FUTURE = 1, 2
PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15
THREAD_NAME_LENGTH_MAX = 15
RT_RUNTIME = Path("/proc/sys/kernel/sched_rt_runtime_us")
RT_PERIOD = Path("/proc/sys/kernel/sched_rt_period_us")
CALIBRATION_NS = 20_000_000

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Denial:
    """A step that the machine did not allow: what, why, and what grants it."""

    what: str
    why: str
    grant: str

    def __str__(self) -> str:
        return f"{self.what}: {self.why}. To allow it: {self.grant}"


def prepare(place: Place, engine: EngineConfig, *, log: TextIO | None = None) -> list[Denial]:
    """Name, pin, lock and schedule this process; returns what was denied, after writing it to `log`.

    `log` is standard error by default. Call it before the process enters its loop; what is mapped later
    is locked too where the lock limit allows it.
    """
    set_thread_name(place.process)
    steps = [pin(place.cpu) if place.cpu is not None else None]
    if engine.lock_memory:
        steps.append(lock_memory())
    if engine.scheduler == "fifo":
        steps += [schedule_fifo(engine.priority), real_time_throttling()]
    denials = [step for step in steps if step is not None]
    for denial in denials:
        print(f"{place.process}: {denial}", file=log or sys.stderr, flush=True)
    return denials


def pin(cpu: int) -> Denial | None:
    """Keep this process on one processor."""
    try:
        os.sched_setaffinity(0, {cpu})
    except (OSError, ValueError) as error:
        return Denial(
            f"not pinned to processor {cpu}",
            f"{_reason(error)} (it may use {cpu_ranges(sorted(os.sched_getaffinity(0)))})",
            "choose another with engine.cpus, or widen AllowedCPUs= or the container's cpuset",
        )
    return None


def stand_aside(placement: Placement, *, nice: int = 0) -> None:
    """Leave the path's processors to the path where there are others, and let others go first."""
    taken = {place.cpu for place in placement.places}
    free = os.sched_getaffinity(0) - taken
    if free:
        os.sched_setaffinity(0, free)
    os.nice(nice)


def lock_memory() -> Denial | None:
    """Keep what is mapped, and what will be, in memory.

    With a lock limit only what is mapped now is locked: beyond the limit a later allocation would fail.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    unlimited = limit == resource.RLIM_INFINITY or has_capability(CAP_IPC_LOCK)
    if _libc.mlockall(MCL_CURRENT | MCL_FUTURE if unlimited else MCL_CURRENT) == 0:
        return None
    shown = "unlimited" if limit == resource.RLIM_INFINITY else f"{limit >> 10} KiB"
    return Denial(
        "memory is not locked, pages may be swapped out",
        f"mlockall: {os.strerror(ctypes.get_errno())} (the limit is {shown})",
        "ulimit -l unlimited, LimitMEMLOCK=infinity in the unit, or the capability CAP_IPC_LOCK",
    )


def schedule_fifo(priority: int) -> Denial | None:
    """Run before every process of the ordinary scheduler."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except OSError as error:
        limit, _ = resource.getrlimit(resource.RLIMIT_RTPRIO)
        return Denial(
            f"not scheduled as SCHED_FIFO {priority}",
            f"{_reason(error)} (RLIMIT_RTPRIO is {limit})",
            f"ulimit -r {priority}, LimitRTPRIO={priority} in the unit, or the capability CAP_SYS_NICE",
        )
    return None


def real_time_throttling() -> Denial | None:
    """Whether the kernel stops a spinning FIFO process for a part of each second."""
    try:
        runtime, period = int(RT_RUNTIME.read_text()), int(RT_PERIOD.read_text())
    except (OSError, ValueError):
        return None
    if runtime < 0 or runtime >= period:
        return None
    return Denial(
        "a spinning SCHED_FIFO process is throttled",
        f"the kernel takes {(period - runtime) / 1000:g} ms from it every {period / 1e6:g} s",
        "sysctl -w kernel.sched_rt_runtime_us=-1",
    )


def freeze_garbage() -> None:
    """Collect once, then never look at what stands now, nor collect at all."""
    gc.collect()
    gc.freeze()
    gc.disable()


def set_thread_name(name: str) -> None:
    """The name that ps, top and a tracer show for this thread; the kernel keeps 15 bytes."""
    _libc.prctl(PR_SET_NAME, ctypes.c_char_p(name.encode()[:THREAD_NAME_LENGTH_MAX]), 0, 0, 0)


def die_with_parent(signal_number: int = signal.SIGTERM) -> None:
    """Ask for a signal when the thread that started this process dies, so that no stage is orphaned."""
    _libc.prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0)


def on_tmpfs(folder: Path) -> bool:
    """Whether a folder lies in memory, where a store to a mapped file never waits for a disk."""
    mounts = [line.split()[1:3] for line in Path("/proc/self/mounts").read_text().splitlines()]
    where = folder.resolve()
    inside = [(point, kind) for point, kind in mounts if where.is_relative_to(point)]
    return max(inside, key=lambda mount: len(mount[0]), default=("", ""))[1] == "tmpfs"


def has_capability(number: int) -> bool:
    """Whether this process holds a capability in effect."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> number & 1)
    return False


@dataclass(frozen=True)
class SpinControl:
    """What the machine alone does to messages that come at their due times, on one core. Spans in ns."""

    cpu: int
    interval_ns: int
    arrivals: int
    readings: int
    elapsed_ns: int
    p50_ns: int
    p99_ns: int
    p999_ns: int
    max_ns: int
    gaps_per_second: float  # of more than a microsecond
    taken_ppm: float  # of the time, in such gaps

    @property
    def sufficient(self) -> bool:
        """Whether latency figures measured in this window say something about the code."""
        return self.p99_ns <= int(lib.SPIN_DELAY_NS_MAX)

    @property
    def verdict(self) -> str:
        """ "host sufficient", or "host insufficient" with the reason."""
        if self.sufficient:
            return "host sufficient"
        return f"host insufficient: an empty loop's own p99 is {self.p99_ns} ns, over {lib.SPIN_DELAY_NS_MAX} ns"


def spin_control(
    *, duration_ns: int, interval_ns: int = 1000, cpu: int | None = None, clock: Any = None, delays: Any = None
) -> SpinControl:
    """Spin on `cpu` (default: where this thread is) for a while and tell how late arrivals were noticed.

    `clock` is a ``clock_page *``, by default calibrated here; `delays` a ``histogram *`` to keep. Bench
    pairs this with its own window: same core, same rate. The process's affinity is put back at the end.
    """
    if clock is None:
        clock = ffi.new("clock_page *")
        lib.clock_calibrate(clock, CALIBRATION_NS, 0)
    if delays is None:
        delays = ffi.new("histogram *")
    lib.histogram_reset(delays)
    report = ffi.new("spin_report *")
    before = os.sched_getaffinity(0)
    try:
        if cpu is not None:
            os.sched_setaffinity(0, {cpu})
        lib.spin_control(clock, interval_ns, duration_ns, delays, report)
    finally:
        os.sched_setaffinity(0, before)
    seconds = max(report.elapsed_ns, 1) / 1e9
    return SpinControl(
        cpu=-1 if cpu is None else cpu,
        interval_ns=interval_ns,
        arrivals=int(report.arrivals),
        readings=int(report.readings),
        elapsed_ns=int(report.elapsed_ns),
        p50_ns=int(lib.histogram_value_at(delays, 50.0)),
        p99_ns=int(lib.histogram_value_at(delays, 99.0)),
        p999_ns=int(lib.histogram_value_at(delays, 99.9)),
        max_ns=int(delays.value_max),
        gaps_per_second=report.gap_count / seconds,
        taken_ppm=report.gap_ns_sum / max(report.elapsed_ns, 1) * 1e6,
    )


def _reason(error: Exception) -> str:
    """ "Operation not permitted", without number and file name."""
    return getattr(error, "strerror", None) or str(error)

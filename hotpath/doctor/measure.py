"""Spins for a while and says what it saw: gaps on each processor, one cache line between two of them.

    each processor     spin_gaps           what interrupts a loop that only reads the clock
    each pair          floor_call/_answer  the quickest way of a message there and back
    one processor      sleep, system call  what it costs to wake, and to enter the kernel

One processor at a time spins, two where a pair is measured, each bounded: a second a processor and 20 ms a
pair unless told otherwise, a minute in all. The thread's own affinity is put back.
"""

from __future__ import annotations

import ctypes
import itertools
import mmap
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from msgspec import Struct

from ffi import ffi, lib
from hotpath import histograms
from hotpath.doctor.machine import Machine, UnreadableError

CALIBRATION_NS = 100_000_000
THRESHOLDS_NS = (1_000, 10_000, 100_000, 1_000_000)
GAPS_SECONDS_MAX = 60.0  # over all processors
PAIR_SECONDS = 0.02
PAIRS_MAX = 128
SLEEPS = 100
SLEEP_SECONDS = 0.001
CALLS = 20_000
PR_SET_TIMERSLACK, PR_GET_TIMERSLACK = 29, 30

Progress = Callable[[str], None]


class Gaps(Struct, frozen=True):
    """What took the processor from a loop that did nothing but read the clock."""

    cpu: int
    seconds: float
    over: dict[str, int]  # how many gaps were longer than "1us", "10us", "100us", "1ms"
    max_ns: int
    taken_ppm: float  # of the time
    delay_p99_ns: int  # that a message due at any instant would have waited for the loop
    timer_interrupts: int = 0
    device_interrupts: dict[str, int] = {}
    other_interrupts: dict[str, int] = {}
    preemptions: int = 0
    stolen_ms: float = 0.0


class Pair(Struct, frozen=True):
    """Round trips of one cache line between two processors."""

    first: int
    second: int
    trips: int
    p50_ns: int
    p99_ns: int


class Measured(Struct, frozen=True):
    """All that was measured."""

    tsc: bool
    frequency_hz: int
    calibration_error_ppb: int
    gaps: list[Gaps]
    pairs: list[Pair]
    pairs_left_out: int
    wake_p50_ns: int
    wake_p99_ns: int
    system_call_ns: float


def measure(
    machine: Machine, cpus: Sequence[int], *, seconds: float, progress: Progress = lambda what: None
) -> Measured:
    """Measure on `cpus`, `seconds` on each of them, less where there are many."""
    clock = ffi.new("clock_page *")
    progress("calibrating the clock")
    lib.clock_calibrate(clock, CALIBRATION_NS, 0)
    each = min(seconds, GAPS_SECONDS_MAX / len(cpus))
    gaps = []
    for cpu in cpus:
        progress(f"spinning on processor {cpu}")
        gaps.append(measure_gaps(machine, clock, cpu=cpu, seconds=each))
    every = list(itertools.combinations(cpus, 2))
    chosen = every if len(every) <= PAIRS_MAX else every[:: -(-len(every) // PAIRS_MAX)]
    pairs = []
    for first, second in chosen:
        progress(f"between processors {first} and {second}")
        pairs.append(measure_pair(clock, first, second, seconds=min(PAIR_SECONDS, seconds)))
    progress("sleeping and waking")
    wakes = measure_wakes(cpu=cpus[-1])
    return Measured(
        tsc=int(clock.source) == lib.CLOCK_TSC,
        frequency_hz=int(clock.frequency_hz),
        calibration_error_ppb=int(clock.error_ppb),
        gaps=gaps,
        pairs=[pair for pair in pairs if pair.trips],
        pairs_left_out=len(every) - len(chosen),
        wake_p50_ns=int(np.percentile(wakes, 50)),
        wake_p99_ns=int(np.percentile(wakes, 99)),
        system_call_ns=measure_system_call(),
    )


@contextmanager
def pinned(cpu: int) -> Iterator[None]:
    """This thread on one processor while the block runs."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


# ---- gaps ------------------------------------------------------------------------------------------


def measure_gaps(machine: Machine, clock: Any, *, cpu: int, seconds: float) -> Gaps:
    """Spin on a processor, and tell from the kernel's own counts what interrupted it."""
    kept = histograms.new("gaps")
    report = ffi.new("spin_report *")
    with pinned(cpu):
        before = _Witness(machine, cpu)
        lib.spin_gaps(clock, round(seconds * 1e9), histograms.pointer(kept), report)
        after = _Witness(machine, cpu)
    elapsed_ns = max(int(report.elapsed_ns), 1)
    timers, devices, others = after.interrupts_since(before)
    return Gaps(
        cpu=cpu,
        seconds=elapsed_ns / 1e9,
        over={label_of(over): _longer_than(kept, over) for over in THRESHOLDS_NS},
        max_ns=int(report.gap_ns_max),
        taken_ppm=int(report.gap_ns_sum) / elapsed_ns * 1e6,
        delay_p99_ns=delay_at(kept, elapsed_ns, share=0.01),
        timer_interrupts=timers,
        device_interrupts=devices,
        other_interrupts=others,
        preemptions=after.preemptions - before.preemptions,
        stolen_ms=(after.stolen_ticks - before.stolen_ticks) * 1000 / os.sysconf("SC_CLK_TCK"),
    )


def label_of(span_ns: int) -> str:
    """ "10us" of 10,000."""
    return f"{span_ns // 1_000_000}ms" if span_ns >= 1_000_000 else f"{span_ns // 1000}us"


def _longer_than(gaps: histograms.Histogram, span_ns: int) -> int:
    return int(gaps["count"][0][lib.histogram_index(span_ns) + 1 :].sum())


def delay_at(gaps: histograms.Histogram, elapsed_ns: int, *, share: float) -> int:
    """The delay that a `share` of arrivals, spread evenly over the time, would have exceeded.

    Within a gap of g an arrival waits anything from 0 to g: more than d for g - d of the time.
    """
    recorded = np.flatnonzero(gaps["count"][0])
    spans = np.array([int(lib.histogram_highest_equivalent(int(index))) for index in recorded], dtype=np.float64)
    counts = gaps["count"][0][recorded].astype(np.float64)
    low, high = 0.0, float(spans.max(initial=0.0))
    for _ in range(64):
        middle = (low + high) / 2
        late = float((np.maximum(spans - middle, 0.0) * counts).sum()) / elapsed_ns
        low, high = (middle, high) if late > share else (low, middle)
    return round(high)


class _Witness:
    """The kernel's counts for one processor at one instant. Those that cannot be read stay 0."""

    def __init__(self, machine: Machine, cpu: int) -> None:
        self.interrupts: dict[str, tuple[str, int]] = {}
        self.preemptions = 0
        self.stolen_ticks = 0
        try:
            self._read_interrupts(machine.read("/proc/interrupts"), cpu)
            for line in machine.read("/proc/thread-self/status").splitlines():
                if line.startswith("nonvoluntary_ctxt_switches:"):
                    self.preemptions = int(line.split()[1])
            for line in machine.read("/proc/stat").splitlines():
                words = line.split()
                if words[0] == f"cpu{cpu}" and len(words) > 8:
                    self.stolen_ticks = int(words[8])
        except UnreadableError:
            return

    def _read_interrupts(self, text: str, cpu: int) -> None:
        header, *lines = text.splitlines()
        column = header.split().index(f"CPU{cpu}") if f"CPU{cpu}" in header.split() else None
        for line in lines if column is not None else []:
            name, _, rest = line.partition(":")
            words = rest.split()
            width = len(header.split())
            if column is not None and column < len(words) and words[column].isdigit():
                told = " ".join(words[width:][-1:] if name.strip().isdigit() else words[width:])
                self.interrupts[name.strip()] = (told or name.strip(), int(words[column]))

    def interrupts_since(self, before: _Witness) -> tuple[int, dict[str, int], dict[str, int]]:
        """Of the timer, of devices by name, and of the kernel itself by name."""
        timers, devices, others = 0, {}, {}
        for name, (told, count) in self.interrupts.items():
            more = count - before.interrupts.get(name, ("", 0))[1]
            if more <= 0:
                continue
            if name == "LOC":
                timers = more
            elif name.isdigit():
                devices[told] = more
            else:
                others[told] = more
        return timers, devices, others


# ---- pairs -----------------------------------------------------------------------------------------


def measure_pair(clock: Any, first: int, second: int, *, seconds: float) -> Pair:
    """One cache line to and fro between two processors."""
    memory = mmap.mmap(-1, mmap.PAGESIZE)
    line = ffi.cast("floor_line *", ffi.from_buffer(memory))
    trips = histograms.new("trips")
    duration_ns = round(seconds * 1e9)

    def answer() -> None:
        os.sched_setaffinity(0, {second})  # of this thread alone
        lib.floor_answer(line, clock, 4 * duration_ns)

    partner = threading.Thread(target=answer)
    with pinned(first):
        partner.start()
        count = int(lib.floor_call(line, clock, duration_ns, histograms.pointer(trips)))
        partner.join()
    return Pair(first, second, count, histograms.value_at(trips, 50.0), histograms.value_at(trips, 99.0))


# ---- waking, and entering the kernel ---------------------------------------------------------------


def measure_wakes(*, cpu: int) -> list[int]:
    """How much later than due a thread runs that sleeps for a millisecond, in ns."""
    libc = ctypes.CDLL(None)
    slack = libc.prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0)
    late = []
    with pinned(cpu):
        libc.prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)  # else the kernel adds 50 us on purpose
        try:
            for _ in range(SLEEPS):
                due = time.perf_counter_ns() + round(SLEEP_SECONDS * 1e9)
                time.sleep(SLEEP_SECONDS)
                late.append(max(0, time.perf_counter_ns() - due))
        finally:
            libc.prctl(PR_SET_TIMERSLACK, slack, 0, 0, 0)
    return late


def measure_system_call() -> float:
    """What the smallest system call costs, Python's own part taken off, in ns."""
    return max(0.0, _fastest(os.getppid) - _fastest(_nothing.__len__))


_nothing: tuple[()] = ()


def _fastest(call: Callable[[], object]) -> float:
    """ns a call, in the quickest of a few rounds."""
    best = float("inf")
    for _ in range(7):
        before = time.perf_counter_ns()
        for _ in range(CALLS // 7):
            call()
        best = min(best, (time.perf_counter_ns() - before) / (CALLS // 7))
    return best

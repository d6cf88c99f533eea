"""What an event costs inside a tree, for whoever counts: ``python -m bench.latency.inside WHAT FEED EVENTS ...``.

    path FEED EVENTS MARKS    events through the fused path, marked for callgrind (programs/callgrind_marks.c)
    calls FEED EVENTS         their allocations and system calls, with programs/confine.c preloaded; and what
                              memory the engine has

One message comes a loop, as from a live feed. On `path` the engine's clock is moved by hand: what depends on time
(heartbeats, sweeps) happens as often in each run, and the same events are the same instructions. Run by
``Tree.python``: the harness is this one, the engine the tree's. Prints one line of JSON.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.engine import FusedEngine, bench_config, bench_spec, feed_instruments, fused_engine, scratch
from ffi import ffi, lib

EVENTS_PER_SECOND = 400_000  # of the clock that is moved by hand
CLOCK_SLOWED = 1000  # times, beside what is moved by hand: a run under callgrind is some fifty times as slow
LOOPS = 64  # of duty_run at least: so many messages go through in a slice of no time
COUNTED = ("allocated", "freed", "mapped")
CALLS_KEPT = 16  # system calls that are named


@contextmanager
def one_by_one(feed_path: Path) -> Iterator[FusedEngine]:
    """A fused engine over a file, flat out, one message a loop."""
    with scratch() as folder:
        config = bench_config(
            f"bench-inside-{os.getpid()}", feed_path, engine={"state_dir": str(folder)}, feed={"pace": "flat"}
        )
        spec = bench_spec(config, feed_instruments(feed_path), cpu=min(os.sched_getaffinity(0)))
        with fused_engine(spec) as engine:
            engine.source.batch_max = 1
            yield engine


def until_through(engine: FusedEngine, events: int, step: Callable[[], object]) -> int:
    """Repeat `step` until so many more messages are through; returns how many were."""
    before = int(engine.source.sequence)
    while (done := int(engine.source.sequence) - before) < events:
        if engine.source.finished:
            raise SystemExit(f"the file ends {events - done} messages too early")
        step()
    return done


def play(engine: FusedEngine, events: int) -> int:
    """Slices of the loop, the clock moved by hand between them."""

    def step() -> None:
        engine.run(0)
        engine.clock.anchor_time_ns += LOOPS * 10**9 // EVENTS_PER_SECOND

    return until_through(engine, events, step)


def slow_clock(engine: FusedEngine) -> None:
    """From here on the engine's time moves by `play`, and hardly by itself: code that waits for it still ends."""
    clock = engine.clock
    now_ns = int(lib.clock_now(clock))
    clock.scale //= CLOCK_SLOWED
    clock.anchor_time_ns += now_ns - int(lib.clock_now(clock))


def orders_of(engine: FusedEngine) -> int:
    """Orders sent so far."""
    return int(engine.memory.stage_page("gateway").counter[lib.GATEWAY_NEW_ORDERS])


# ---- instructions ----------------------------------------------------------------------------------


def count_path(feed_path: Path, events: int, marks_path: Path) -> dict[str, Any]:
    """As many events as went before unmarked, in two parts, so that both can be looked at."""
    marks = ctypes.CDLL(str(marks_path))
    with one_by_one(feed_path) as engine:
        slow_clock(engine)
        play(engine, events)
        marks.marks_begin()
        parts = []
        for name, share in ((b"few", events // 3), (b"many", events * 2 // 3)):
            orders = orders_of(engine)
            done = play(engine, share)
            marks.marks_write(name)
            parts.append({"name": name.decode(), "events": done, "orders": orders_of(engine) - orders})
    return {"parts": parts}


# ---- allocations, system calls, memory ---------------------------------------------------------------


class Shim:
    """The functions of bench/programs/confine.c, which must be preloaded."""

    def __init__(self) -> None:
        library = ctypes.CDLL(None)
        pointer, word = ctypes.c_void_p, ctypes.c_uint64
        self.counted_call = library.counted_call
        self.counted_call.restype, self.counted_call.argtypes = ctypes.c_long, [pointer, pointer, word, pointer]
        self.confined_call = library.confined_call
        self.confined_call.restype = None
        self.confined_call.argtypes = [pointer, pointer, word, ctypes.c_int, pointer, ctypes.c_uint32]
        self.traced_call = library.traced_call
        self.traced_call.restype, self.traced_call.argtypes = ctypes.c_long, [pointer, pointer, word, pointer, word]

    @staticmethod
    def canary(name: str) -> int:
        """Address of a function that does what must be found out."""
        found = ctypes.cast(getattr(ctypes.CDLL(None), f"canary_{name}"), ctypes.c_void_p).value
        assert found is not None, "a function has an address"
        return found


def address(pointer: Any) -> int:
    """Of what a cffi pointer points to."""
    return int(ffi.cast("uintptr_t", pointer))


def count_calls(feed_path: Path, events: int) -> dict[str, Any]:
    """Warm, then `events` with allocations counted, then as many with system calls counted, in a child."""
    shim = Shim()
    with one_by_one(feed_path) as engine:
        loop = address(ffi.addressof(lib, "duty_run"))
        duty = address(engine.stages.duty)
        until_through(engine, events // 10, lambda: engine.run(0))
        counts, total = (ctypes.c_uint64 * len(COUNTED))(), [0] * len(COUNTED)

        def counted() -> None:
            shim.counted_call(loop, duty, 0, ctypes.addressof(counts))
            total[:] = [sofar + new for sofar, new in zip(total, counts, strict=True)]

        done = until_through(engine, events, counted)
        answer = {"events": done, **dict(zip(COUNTED, total, strict=True)), **memory_of(engine)}
        calls, child_done = in_child(lambda: trace(shim, engine, loop, duty, events))
        return {**answer, "system_calls": sum(calls.values()), "calls": calls, "events_traced": child_done}


def trace(shim: Shim, engine: FusedEngine, loop: int, duty: int, events: int) -> tuple[dict[int, int], int]:
    """System calls by number."""
    numbers, total = (ctypes.c_uint64 * 1024)(), [0] * 1024

    def traced() -> None:
        shim.traced_call(loop, duty, 0, ctypes.addressof(numbers), len(numbers))
        for index, count in enumerate(numbers):
            total[index] += count

    done = until_through(engine, events, traced)
    return {number: count for number, count in enumerate(total) if count}, done


def in_child(work: Callable[[], tuple[dict[int, int], int]]) -> tuple[dict[str, int], int]:
    """The answer of a process of its own, because a filter of system calls can never be taken off."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            calls, done = work()
            os.write(writing, json.dumps([{str(number): count for number, count in calls.items()}, done]).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    if status:
        raise SystemExit(f"the traced process ended with {os.waitstatus_to_exitcode(status)}")
    calls, done = json.loads(text)
    return calls, int(done)


def memory_of(engine: FusedEngine) -> dict[str, int]:
    """Bytes: of the engine's segments, and resident in this process, without what is mapped from files."""
    resident = 0
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in ("RssAnon", "RssShmem"):
            resident += int(rest.split()[0]) << 10
    shared = sum(int(segment.size) for segment in engine.memory.segments.values())
    return {"shared_bytes": shared, "resident_bytes": resident}


def main(words: list[str]) -> int:
    """Do what the first word says."""
    match words:
        case ["path", feed, events, marks]:
            answer = count_path(Path(feed), int(events), Path(marks))
        case ["calls", feed, events]:
            answer = count_calls(Path(feed), int(events))
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Runs inside a tree: an engine kept alive, and slices of its path measured when asked.

    the job ---- one JSON object a line ----> runner: {"do": "slice", "batches": 300}
            <--- one answer a line ---------          {"p50_ns": 241.3, "p99_ns": 262.0, ...}

The engine is fused, fed flat out from a generated file, with the paper venue: `bench.engine`'s, all in memory. It
takes one message a loop, as a live one does. A batch is EVENTS messages or a few more, since the clock steps by
10 ns; its figure is ns an event. Between requests the process sleeps in a read, so that several can share a
processor by turns. When the file is through, the engine is made anew outside of all timing.
`python -m bench.latency.runner FEED [--cpu N]`.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import takewhile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from bench.engine import FusedEngine, bench_config, bench_spec, fused_engine, scratch
from ffi import lib
from hotpath import captures, refdata

EVENTS = 1000  # of a batch
WARM_EVENTS = 10_000  # of a new engine, before anything is timed
SLICE_WARM_EVENTS = 12_000  # before each slice: another process had the caches
ADDS = b"AF"  # types with which trading begins: all directory messages stand before
IDLE_RUNS_MAX = 1000  # of the loop, in which nothing came: the engine hangs
Answer = dict[str, Any]


class PathSubject:
    """The engine and where it stands in its file."""

    def __init__(self, feed: Path, *, cpu: int) -> None:
        self.feed = feed
        self.cpu = cpu
        self.instruments = directory(feed)
        self.engines = 0
        self._stack = ExitStack()
        self.engine: FusedEngine
        self.renew()

    def renew(self) -> Answer:
        """A new engine at the start of the file, warm."""
        self._stack.close()
        folder = self._stack.enter_context(scratch())
        config = bench_config(
            f"latency-{os.getpid()}", self.feed, engine={"state_dir": str(folder)}, feed={"pace": "flat"}
        )
        spec = bench_spec(config, self.instruments, cpu=self.cpu)
        self.engine = self._stack.enter_context(fused_engine(spec))
        self.engine.source.batch_max = 1
        self.engines += 1
        self.advance(WARM_EVENTS)
        gc.collect()
        gc.disable()
        return {"engines": self.engines}

    @property
    def position(self) -> int:
        """Messages given to the path so far."""
        return int(self.engine.source.sequence)

    @property
    def orders(self) -> int:
        """Orders that the gateway sent since the engine was made."""
        return int(self.engine.memory.stage_page("gateway").counter[lib.GATEWAY_NEW_ORDERS])

    def advance(self, events: int) -> int:
        """Play at least so many messages; how many it was. Fewer where the file ends."""
        source, duty, run = self.engine.source, self.engine.stages.duty, lib.duty_run
        start = int(source.sequence)
        target = start + events
        idle, before = 0, start
        while source.sequence < target and not source.finished:
            if run(duty, 0) == lib.DUTY_FAILED:
                raise RuntimeError("a stage failed")
            idle = idle + 1 if source.sequence == before else 0
            before = source.sequence
            if idle > IDLE_RUNS_MAX:
                raise RuntimeError("the engine takes nothing from its file")
        return int(source.sequence) - start

    def batch(self, events: int) -> float | None:
        """ns an event of one batch, or None when the file ended within it."""
        clock = self.engine.clock
        began = lib.clock_now(clock)
        played = self.advance(events)
        spent = lib.clock_now(clock) - began
        return spent / played if played >= events else None

    def slice(self, batches: int, events: int) -> Answer:
        """So many batches, and what they say."""
        found: list[float] = []
        self.advance(SLICE_WARM_EVENTS)
        orders, engines = self.orders, self.engines
        while len(found) < batches:
            each = self.batch(events)
            if each is None:
                self.renew()
            else:
                found.append(each)
        p50, p99, p999 = np.percentile(found, (50, 99, 99.9))
        sent = self.orders - orders if self.engines == engines else self.orders
        return {
            "batches": batches, "events": events, "p50_ns": float(p50), "p99_ns": float(p99), "p999_ns": float(p999),
            "mean_ns": float(np.mean(found)), "max_ns": max(found), "orders": sent, "position": self.position,
            "ns": [round(each, 2) for each in found],
        }  # fmt: skip

    def run(self, events: int) -> Answer:
        """So many messages, untimed: for whoever counts what they cost."""
        if self.engine.source.finished:
            self.renew()
        orders = self.orders
        played = self.advance(events)
        return {"events": played, "orders": self.orders - orders, "position": self.position}

    def close(self) -> None:
        """The engine and its memory, gone."""
        self._stack.close()


def directory(feed: Path) -> npt.NDArray[Any]:
    """The instruments that the file names before the first order, dtype ``instrument_entry``."""
    named = takewhile(lambda message: message[0] not in ADDS, captures.itch_messages(feed))
    return refdata.instrument_table(refdata.merge_instruments(None, refdata.instruments_of_itch(named)))


def serve(subject: PathSubject) -> int:
    """Answer requests until the other end closes."""
    verbs: dict[str, Callable[[dict[str, Any]], Answer]] = {
        "slice": lambda asked: subject.slice(int(asked["batches"]), int(asked.get("events", EVENTS))),
        "run": lambda asked: subject.run(int(asked["events"])),
        "renew": lambda _: subject.renew(),
    }
    answer({"ready": True, "pid": os.getpid(), "native": native_path(), "time_ns": time.time_ns()})
    for line in sys.stdin:
        asked = msgspec.json.decode(line)
        if asked["do"] == "stop":
            break
        answer(verbs[asked["do"]](asked))
    return 0


def native_path() -> str:
    """The extension that is measured: the job checks that it is the tree's own."""
    from ffi import _native

    return str(_native.__file__)


def answer(what: Answer) -> None:
    """One line."""
    sys.stdout.write(msgspec.json.encode(what).decode() + "\n")
    sys.stdout.flush()


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m bench.latency.runner", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("feed", type=Path, help="an ITCH file, as bench.harness.flow_file makes them")
    parser.add_argument("--cpu", type=int, default=-1, help="run on this processor only")
    chosen = parser.parse_args()
    if chosen.cpu >= 0:
        os.sched_setaffinity(0, {chosen.cpu})
    subject = PathSubject(chosen.feed, cpu=max(0, chosen.cpu))
    try:
        return serve(subject)
    finally:
        subject.close()


if __name__ == "__main__":
    sys.exit(main())

"""Runs the path under callgrind; what an event cost is ``inside.py``'s second part, the difference of two runs."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from typing import Any

import msgspec

from bench.harness import OUT, ROOT, BenchError, Options, flow_file
from bench.latency.callgrind import valgrind_version
from bench.latency.kernels import shared_library
from bench.latency.trees import Command
from bench.path import INSTRUMENTS, live_orders, warm_messages
from bench.profile.model import Cache
from bench.profile.reading import ROOT as LOOP_FUNCTION
from bench.profile.reading import Samples, read_samples
from bench.profile.source import Sources

CALLERS = 14  # by which callgrind tells the same function apart: from any leaf of the path to its loop
FOLDER = OUT / "profile"
SOURCES = (ROOT / "ffi" / "src", ROOT / "ffi" / "include")
TRIGGER = re.compile(r"^desc: Trigger: Client Request: (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Recording:
    """What one event cost, by place; how many were played, and how far two lengths differ."""

    samples: Samples
    events: int
    orders: int
    spread: float  # of instructions an event, the first part against the second
    feed: str

    @property
    def said(self) -> str:
        """For the foot of a table."""
        return (
            f"counted: {self.events:,} events that made {self.orders:,} orders, one a loop, after as many that filled "
            f"the caches; {self.feed}; instructions an event differ by {self.spread:.1%} between the two lengths"
        )

    @property
    def blind_spots(self) -> str:
        """What the model does not see."""
        return "prefetch instructions and the processor's own prefetching are not, and idle loops do not occur"


def record(options: Options, caches: list[Cache]) -> Recording:
    """Play, count, read. Raises BenchError."""
    if not valgrind_version():
        raise BenchError("valgrind, which counts, is not installed (apt-get install valgrind)")
    events = options.pick(smoke=4_000, quick=20_000, full=60_000)
    messages = options.pick(smoke=100_000, quick=800_000, full=800_000)
    feed = flow_file(messages=messages, instruments=INSTRUMENTS, live_orders=live_orders(messages))
    FOLDER.mkdir(parents=True, exist_ok=True)
    file = FOLDER / f"callgrind-{os.getpid()}"
    libraries = [shared_library(name) for name in ("callgrind_marks", "loop_many")]
    words = ["-m", "bench.profile.inside", feed, warm_messages(messages), events, *libraries]
    command = Command([*wrap(file, caches), sys.executable, *map(str, words)], ROOT, dict(os.environ))
    try:
        parts = {part["name"]: part for part in msgspec.json.decode(command.run())["parts"]}
        texts = {}
        for path in FOLDER.glob(f"{file.name}.*"):
            text = path.read_text(errors="replace")
            if mark := TRIGGER.search(text):
                texts[mark[1].strip()] = text
    finally:
        for path in FOLDER.glob(f"{file.name}*"):
            path.unlink()
    if set(texts) != set(parts):
        raise BenchError(f"callgrind wrote {sorted(texts)}, not {sorted(parts)}")
    sources = Sources(SOURCES)
    few, many = (each_event(read_samples(texts[name], sources), parts[name]) for name in ("few", "many"))
    spread = abs(instructions(few) / instructions(many) - 1)
    return Recording(
        many, parts["many"]["events"], parts["many"]["orders"], spread,
        f"{INSTRUMENTS} instruments, {live_orders(messages):,} orders in the books",
    )  # fmt: skip


def wrap(file: object, caches: list[Cache]) -> list[str]:
    """What stands before the interpreter."""
    return [
        "nice", "-n", "5", "valgrind", "--tool=callgrind", "--instr-atstart=no", f"--toggle-collect={LOOP_FUNCTION}",
        f"--separate-callers={CALLERS}", "--compress-strings=no", "--compress-pos=no", "--branch-sim=yes",
        "--cache-sim=yes", *(cache.option for cache in caches), f"--callgrind-out-file={file}",
    ]  # fmt: skip


def each_event(samples: Samples, part: dict[str, Any]) -> Samples:
    """Costs of a part as those of one of its events."""
    return {place: costs / part["events"] for place, costs in samples.items()}


def instructions(samples: Samples) -> float:
    """All of them."""
    return float(sum(costs[0] for costs in samples.values()))

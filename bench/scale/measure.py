"""What the curves share: engines of one shape, the cost of an event, repeats in rounds, the spin control between.

round 1   x1 x2 x3 ... xn      every point once a round, forwards and backwards in turn, so that what
round 2   xn ... x3 x2 x1      the machine does over minutes falls on all of them alike
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import numpy.typing as npt

from bench.engine import FusedEngine, bench_config, bench_spec, feed_instruments, fused_engine, joined_control, scratch
from bench.harness import BenchError, Options, pinned, spin_note
from bench.scale.curve import Point
from ffi import ffi, lib
from hotpath.config import Config
from hotpath.engine import EngineSpec
from hotpath.host import SpinControl, spin_control

SLICE_NS = 2_000_000  # thousands of events
CONTROL_NS = 20_000_000
CONTROL_INTERVAL_NS = 5_000
QUIET = 0.54  # of the score: about one event in a thousand makes an order
LEVELS_MAX = 1 << 19
FLAT, LIVE = "flat out", "one message a loop"
Costs = dict[str, float]


class Control:
    """The spin control in slices, over the whole of a curve."""

    def __init__(self, options: Options) -> None:
        self.cpu = options.engine_cpu
        self._parts: list[SpinControl] = []
        self._delays, self._part = ffi.new("histogram *"), ffi.new("histogram *")
        self._clock = ffi.new("clock_page *")
        lib.clock_calibrate(self._clock, CONTROL_NS, 0)
        lib.histogram_reset(self._delays)

    def step(self) -> None:
        """One slice."""
        self._parts.append(
            spin_control(
                duration_ns=CONTROL_NS,
                interval_ns=CONTROL_INTERVAL_NS,
                cpu=self.cpu,
                clock=self._clock,
                delays=self._part,
            )
        )
        lib.histogram_merge(self._delays, self._part)

    def note(self) -> str:
        """What it saw, in words."""
        return spin_note(joined_control(self._parts, self._delays, self.cpu))


def rounds(
    xs: Sequence[float], repeats: int, measure: Callable[[float], Costs], control: Control
) -> dict[float, list[Costs]]:
    """Every x measured `repeats` times, in rounds."""
    found: dict[float, list[Costs]] = {x: [] for x in xs}
    for number in range(repeats):
        for x in xs if number % 2 == 0 else reversed(xs):
            found[x].append(measure(x))
            control.step()
    return found


def points(found: dict[float, list[Costs]], line: str) -> list[Point]:
    """One line of what `rounds` found."""
    return [Point(x, tuple(costs[line] for costs in each)) for x, each in found.items() if line in each[0]]


# ---- engines -------------------------------------------------------------------------------------


@cache
def instruments_of(path: Path) -> npt.NDArray[Any]:
    """The file's instruments; read once."""
    return feed_instruments(path)


@contextmanager
def scale_engine(
    path: Path,
    options: Options,
    *,
    change: Callable[[Config], Config] = lambda config: config,
    instruments: npt.NDArray[Any] | None = None,
    **sections: dict[str, Any],
) -> Iterator[FusedEngine]:
    """A fused engine over a file, flat out, rarely ordering; pinned. `change`: of what sections cannot say."""
    with scratch() as folder, pinned(options.engine_cpu):
        settings: dict[str, dict[str, Any]] = {
            "engine": {"state_dir": str(folder)},
            "feed": {"pace": "flat", "levels_max": LEVELS_MAX},
            "signal": {"threshold": QUIET},
        }
        for section, values in sections.items():
            settings.setdefault(section, {}).update(values)
        config = change(bench_config(f"scale-{os.getpid()}", path, **settings))
        table = instruments_of(path) if instruments is None else instruments
        with fused_engine(spec_of(config, table, options)) as engine:
            yield engine


def spec_of(config: Config, instruments: npt.NDArray[Any], options: Options) -> EngineSpec:
    """The spec, on the measuring processor."""
    return bench_spec(config, instruments, cpu=options.engine_cpu)


def warm_up(engine: FusedEngine, messages: int) -> None:
    """Until the books are as full as they will be."""
    while engine.source.sequence <= messages:
        if engine.done():
            raise BenchError("the file is too short to warm up with")
        engine.run(SLICE_NS)


def event_costs(engine: FusedEngine, *, live: bool = True, slice_ns: int = SLICE_NS) -> Costs:
    """ns of processor time for one event, to the end of the file: medians over slices, both ways in turns.

    Flat out, the feed takes a batch of messages a loop; a live engine mostly finds one.
    """
    source, batch = engine.source, int(engine.source.batch_max)
    slices: dict[str, list[float]] = {FLAT: [], **({LIVE: []} if live else {})}
    while not engine.done():
        for name, found in slices.items():
            source.batch_max = batch if name == FLAT else 1
            before, began = int(source.sequence), time.process_time_ns()
            engine.run(slice_ns)
            spent, events = time.process_time_ns() - began, int(source.sequence) - before
            if engine.done():  # this slice ended idle
                break
            found.append(spent / max(events, 1))
    engine.run(SLICE_NS)
    check(engine)
    if not all(slices.values()):
        raise BenchError("the file is too short: not one whole slice")
    return {name: median(found) for name, found in slices.items()}


def check(engine: FusedEngine) -> None:
    """Every message went through, no order of the book was unknown, none was refused."""
    feed, gateway = (engine.memory.stage_page(stage) for stage in ("feed", "gateway"))
    facts = {
        "an event did not reach the end of the path": int(engine.stages.gateway.norm.next)
        == int(engine.stages.feed.norm.next),
        "an order of the book was unknown": not feed.counter[lib.FEED_UNKNOWN_ORDER],
        "the gateway refused": not gateway.counter[lib.GATEWAY_REFUSED],
    }
    wrong = [fact for fact, holds in facts.items() if not holds]
    if wrong:
        raise BenchError("; ".join(wrong))


def cache_bytes(level: int) -> int:
    """Of a processor's cache of that level; 0 where the kernel does not say."""
    for index in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        if (index / "type").read_text().strip() == "Instruction" or int((index / "level").read_text()) != level:
            continue
        text = (index / "size").read_text().strip()
        return int(text.rstrip("KM")) * {"K": 1 << 10, "M": 1 << 20}.get(text[-1], 1)
    return 0


def bytes_text(count: float) -> str:
    """640 bytes, 28 KiB, 3.1 MiB."""
    for unit, name in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= unit:
            return f"{count / unit:.3g} {name}"
    return f"{count:.0f} bytes"

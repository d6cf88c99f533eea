"""The engine as benches run it: a generated feed at a stated rate, the paper venue, every limit on.

    file --(rate, intended times)--> raw --> feed --> norm --> signal --> signal --> risk --> cmd --> gateway
                                                         '--------------------------'            (paper)

Limits are checked but wide, so that what a bench wants sent is sent; orders are immediate-or-cancel, so
that none piles up. The spin control alternates with the run, slice by slice, on the same processor.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from bench.harness import BenchError
from ffi import ffi, lib
from hotpath import captures, refdata
from hotpath.config import Config
from hotpath.engine import EngineMemory, EngineSpec, engine_memory, make_spec, name_histograms
from hotpath.host import SpinControl, spin_control
from hotpath.report import RunReport, collect_report
from hotpath.scratch import scratch_folder
from hotpath.stages import ProcessStages

MILLISECOND_NS = 1_000_000
RUN_SLICE_NS = 100 * MILLISECOND_NS
CONTROL_SLICE_NS = 25 * MILLISECOND_NS
WIDE = 10**12


def bench_config(name: str, feed_path: Path, **changes: dict[str, Any]) -> Config:
    """An engine that trades often and is refused nothing. `changes`: by section, over what is set here."""
    sections: dict[str, dict[str, Any]] = {
        "engine": {"name": name, "topology": "fused"},
        "rings": {"raw": 2048, "norm": 2048, "ctl": 2048},  # small enough to stay in the processor's own cache
        "feed": {"kind": "file", "path": str(feed_path), "pace": "rate"},
        "signal": {
            "threshold": 0.1,  # about one event in eight makes an order
            "style": "take",
            "cooldown_ms": 0,
            "position_lots_max": WIDE,
            "order_quantity_lots": 1,
        },
        "risk": {
            "gross_value_currency_max": 1e12,
            "open_orders_max": 60000,
            "messages_per_second_max": WIDE // 1000,
            "stale_after_ms": 1_000_000,
            "require_trading_state": False,
            "defaults": {
                "position_lots_max": WIDE,
                "order_quantity_lots_max": 1_000_000,
                "order_value_currency_max": 1e9,
                "collar_ppm_max": 1_000_000,
            },
        },
        "gateway": {"kind": "paper", "latency_ns": 0, "intents_max": 1 << 18},
    }
    for section, values in changes.items():
        sections.setdefault(section, {}).update(values)
    return msgspec.convert(sections, Config)


def feed_instruments(path: Path) -> npt.NDArray[Any]:
    """The instruments that a feed's directory messages name, dtype ``instrument_entry``."""
    found = refdata.instruments_of_itch(captures.itch_messages(path))
    return refdata.instrument_table(refdata.merge_instruments(None, found))


def bench_spec(
    config: Config,
    instruments: npt.NDArray[Any],
    *,
    cpu: int | None = None,
    cpus: list[int] | None = None,
    **options: Any,
) -> EngineSpec:
    """The spec, with its processes on one processor, or on several."""
    engine = msgspec.structs.replace(config.engine, cpus=cpus or [cpu])
    return make_spec(msgspec.structs.replace(config, engine=engine), instruments, midnight_ns=0, **options)


@dataclass
class PathRun:
    """One run of the path: its report, and what the machine alone did in between."""

    report: RunReport
    control: SpinControl
    rate_per_second: int
    messages: int

    @property
    def orders(self) -> int:
        """Orders sent."""
        return self.report.stat.hops["order_path"].count


class FusedEngine:
    """All four stages in this process, over a file at a rate."""

    def __init__(self, spec: EngineSpec, memory: EngineMemory) -> None:
        self.spec = spec
        self.memory = memory
        self.stages = ProcessStages(spec, spec.placement.places[0], run_epoch=memory.run_epoch)
        self.clock = memory.segments["clock"].cast("clock_page *")
        lib.control_arm(memory.control, memory.control.kill_epoch)

    @property
    def source(self) -> Any:
        """``source *`` of the feed."""
        return self.stages.feed.source

    def run(self, slice_ns: int) -> None:
        """One slice. Raises BenchError when a stage failed."""
        if self.stages.run(slice_ns) not in (lib.DUTY_SLICE_OVER, lib.DUTY_FINISHED):
            raise BenchError("a stage failed")

    def pause(self) -> int:
        """Take the present instant; `resume` puts off what is due by the time in between."""
        return int(lib.clock_now(self.clock))

    def resume(self, paused_time_ns: int) -> None:
        """Go on as if no time had passed since `pause`: late messages are as late as they were."""
        if self.source.start_time_ns:
            self.source.start_time_ns += int(lib.clock_now(self.clock)) - paused_time_ns

    def forget(self) -> None:
        """Empty the histograms: what was before was warming up."""
        for name, segment in self.memory.segments.items():
            if name.startswith("hops."):
                name_histograms(segment)

    def warm_up(self, messages: int) -> None:
        """Run until so many messages were played, then forget."""
        while self.source.sequence <= messages and not self.source.finished:
            self.run(10 * MILLISECOND_NS)
        paused = self.pause()
        self.forget()
        self.resume(paused)

    def done(self) -> bool:
        """Everything in the file was played and has gone through."""
        return bool(self.source.finished)

    def close(self) -> None:
        """Let go of the memory."""
        self.stages.close()


@contextmanager
def fused_engine(spec: EngineSpec) -> Iterator[FusedEngine]:
    """A fused engine, in this process, gone at the end."""
    with engine_memory(spec) as memory:
        engine = FusedEngine(spec, memory)
        try:
            yield engine
        finally:
            engine.close()


class ControlledRun:
    """Slices of a fused engine's run, each with a slice of the spin control behind it, at the same rate."""

    def __init__(self, engine: FusedEngine) -> None:
        self.engine = engine
        self.seconds = 0.0
        self._parts: list[SpinControl] = []
        self._delays, self._part = ffi.new("histogram *"), ffi.new("histogram *")
        lib.histogram_reset(self._delays)
        self._paused_time_ns = engine.pause()

    def step(self) -> None:
        """One slice of the run and one of the control."""
        engine = self.engine
        engine.resume(self._paused_time_ns)
        engine.run(RUN_SLICE_NS)
        self._paused_time_ns = engine.pause()
        self.seconds += RUN_SLICE_NS / 1e9
        interval_ns = 10**9 // engine.spec.config.feed.rate_per_second
        self._parts.append(
            spin_control(duration_ns=CONTROL_SLICE_NS, interval_ns=interval_ns, clock=engine.clock, delays=self._part)
        )
        lib.histogram_merge(self._delays, self._part)

    def result(self, *, cpu: int) -> PathRun:
        """The report of the engine and the joined control."""
        engine = self.engine
        report = collect_report(engine.memory, seconds=self.seconds)
        control = joined_control(self._parts, self._delays, cpu)
        return PathRun(report, control, engine.spec.config.feed.rate_per_second, int(engine.source.sequence) - 1)


def measure_path(spec: EngineSpec, *, warm_messages: int, cpu: int) -> PathRun:
    """Play the spec's file and measure, the spin control alternating with the run."""
    with fused_engine(spec) as engine:
        engine.warm_up(warm_messages)
        run = ControlledRun(engine)
        while not engine.done():
            run.step()
        return run.result(cpu=cpu)


def joined_control(parts: list[SpinControl], delays: Any, cpu: int) -> SpinControl:
    """The slices of a spin control as one."""
    elapsed = sum(part.elapsed_ns for part in parts)
    return SpinControl(
        cpu=cpu,
        interval_ns=parts[0].interval_ns,
        arrivals=sum(part.arrivals for part in parts),
        readings=sum(part.readings for part in parts),
        elapsed_ns=elapsed,
        p50_ns=int(lib.histogram_value_at(delays, 50.0)),
        p99_ns=int(lib.histogram_value_at(delays, 99.0)),
        p999_ns=int(lib.histogram_value_at(delays, 99.9)),
        max_ns=int(delays.value_max),
        gaps_per_second=float(np.average([p.gaps_per_second for p in parts], weights=[p.elapsed_ns for p in parts])),
        taken_ppm=float(np.average([p.taken_ppm for p in parts], weights=[p.elapsed_ns for p in parts])),
    )


def scratch() -> AbstractContextManager[Path]:
    """A folder for an engine's state."""
    return scratch_folder("bench")

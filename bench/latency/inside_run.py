"""How long does a tree's engine take to start, and to trade again? ``python -m bench.latency.inside_run WHAT``.

    start FEED  the command line --memory--> its segments --ready--> its stages --armed--> orders may leave
    restart     SIGKILL of the gateway --noticed--> a new process --ready--> its loop --session--> logged in
                again --order--> the next order's frame has left

Run by ``Tree.python``, with real processes: `start` is `hotpath run` over a file, `restart` the demo's
engine (four stages, the gateway a process of its own) with its simulator. Prints one line of JSON: for each phase
the seconds since the beginning.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from bench.engine import WIDE, bench_config
from hotpath.config import Config, WeightsConfig, config_toml
from hotpath.config_risk import InstrumentRisk
from hotpath.demo import DemoOptions, demo_config, running_simulator, simulator_config
from hotpath.errors import SegmentError
from hotpath.scratch import scratch_folder
from hotpath.stat import EngineStat, EngineView

LOOK_SECONDS = 0.002
PATIENCE_SECONDS = 30.0
SETTLED_ORDERS = 20  # sent before the gateway is killed
READY = ("ready", "running", "degraded")
Phases = dict[str, float]


class Engine:
    """``hotpath run`` of this tree, and a look at its memory."""

    def __init__(self, config: Config, folder: Path) -> None:
        self.name = config.engine.name
        path = folder / "engine.toml"
        path.write_text(config_toml(config))
        self.errors = folder / "engine.err"
        with self.errors.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hotpath", "run", str(path), "--json", "--arm"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        self._view: EngineView | None = None

    def look(self) -> EngineStat | None:
        """A snapshot; None before all of the engine's memory is there."""
        try:
            if self._view is None:
                self._view = EngineView(self.name)
            return self._view.snapshot()
        except SegmentError:
            return None

    def until(self, met: Callable[[EngineStat], bool], what: str) -> float:
        """When a snapshot first met the condition, as monotonic seconds."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            stat = self.look()
            if stat is not None and met(stat):
                return time.monotonic()
            if self.process.poll() is not None:
                raise SystemExit(f"the engine ended: {self.errors.read_text().strip()[-400:]}")
            time.sleep(LOOK_SECONDS)
        raise SystemExit(f"waited {PATIENCE_SECONDS:g} s in vain: {what}")


@contextmanager
def running(config: Config, folder: Path) -> Iterator[Engine]:
    """An engine, stopped in order at the end."""
    engine = Engine(config, folder)
    try:
        yield engine
    finally:
        if engine.process.poll() is None:
            engine.process.send_signal(signal.SIGTERM)
        try:
            engine.process.wait(timeout=PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            engine.process.kill()
            engine.process.wait()


def all_ready(stat: EngineStat) -> bool:
    """Every stage is in its loop."""
    return all(stage.state in READY for stage in stat.stages.values())


def measure_start(feed_path: Path) -> Phases:
    """Fused, paper venue, armed when ready."""
    with scratch_folder("start") as folder:
        name = f"bench-start-{os.getpid()}"
        config = bench_config(name, feed_path, engine={"state_dir": str(folder)}, feed={"rate_per_second": 20_000})
        began = time.monotonic()
        with running(config, folder) as engine:
            seen = {
                "memory": engine.until(lambda _: True, "the engine's memory"),
                "ready": engine.until(all_ready, "ready stages"),
                "armed": engine.until(lambda stat: not stat.killed, "an armed engine"),
            }
    return {phase: instant - began for phase, instant in seen.items()}


def trading_config(demo: Config) -> Config:
    """The demo's engine with an opinion of every book and room to act on it: the market must not be waited for."""
    replace = msgspec.structs.replace
    return replace(
        demo,
        # Parked: processes that spin on too few processors would take from the one that starts.
        engine=replace(demo.engine, name=f"bench-restart-{os.getpid()}", wait="park"),
        signal=replace(
            demo.signal,
            weights=WeightsConfig(microprice=1.0, momentum=0.0, reversion=0.0),
            threshold=0.2,
            cooldown_ms=5,
            order_life_ms=100,
            position_lots_max=WIDE,
        ),
        risk=replace(
            demo.risk,
            gross_value_currency_max=float(WIDE),
            defaults=InstrumentRisk(position_lots_max=WIDE, order_value_currency_max=1_000_000.0),
        ),
    )


def measure_restart() -> Phases:
    """Split, the demo's venue over loopback; orders before and after."""
    options = DemoOptions(instruments=16, rate_per_second=5000, topology="split")
    with scratch_folder("restart") as folder, running_simulator(simulator_config(options), folder) as venue:
        config = trading_config(demo_config(options, venue.ready, folder, intents_dir=folder))
        with running(config, folder) as engine:
            engine.until(lambda stat: stat.counter("gateway", "frames_out") >= SETTLED_ORDERS, "orders")
            stat = engine.look()
            assert stat is not None, "it was there a moment ago"
            victim = stat.stages["gateway"].pid
            os.kill(victim, signal.SIGKILL)
            began = time.monotonic()

            def gateway(stat: EngineStat) -> bool:
                return stat.stages["gateway"].pid not in (0, victim)

            seen = {
                "noticed": engine.until(gateway, "a new gateway"),
                "ready": engine.until(lambda stat: stat.stages["gateway"].state in READY, "its loop"),
                "session": engine.until(lambda stat: bool(stat.counter("gateway", "session_up")), "its session"),
            }
            stat = engine.look()
            frames = stat.counter("gateway", "frames_out") if stat else 0
            seen["order"] = engine.until(lambda stat: stat.counter("gateway", "frames_out") > frames, "an order")
    return {phase: instant - began for phase, instant in seen.items()}


def main(words: list[str]) -> int:
    """Do what the first word says."""
    match words:
        case ["start", feed]:
            phases = measure_start(Path(feed))
        case ["restart"]:
            phases = measure_restart()
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    print(json.dumps(phases))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

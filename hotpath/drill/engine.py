"""An engine and a venue to rehearse with: the demo's simulator behind a tap, an engine that trades all it may."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from ffi import ffi, lib
from hotpath import segments
from hotpath.config import Config, config_toml
from hotpath.config_risk import InstrumentRisk
from hotpath.demo import DemoOptions, demo_config, running_simulator, simulator_config
from hotpath.drill.wire import WireTap
from hotpath.errors import SegmentError, StageError
from hotpath.segments import Segment
from hotpath.spawn import module_command, module_environment

PATIENCE_SECONDS = 30.0
INSTRUMENTS = 300
RATE_PER_SECOND = 10_000
RECEIVE_BYTES = 4096  # of the tap: some fifty orders fill it


def until(condition: Callable[[], Any], what: str, *, seconds: float = PATIENCE_SECONDS) -> None:
    """Wait for something that must happen. Raises StageError by its name when it does not."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            raise StageError(f"the drill waited {seconds:g} s in vain: {what}")
        time.sleep(0.002)


@contextmanager
def drill_venue(folder: Path, *, seed: int = 1, receive_bytes: int = RECEIVE_BYTES) -> Iterator[tuple[Any, WireTap]]:
    """A simulator, and the tap before it."""
    options = DemoOptions(instruments=INSTRUMENTS, rate_per_second=RATE_PER_SECOND, seed=seed)
    changes = {"live_orders": 2000, "start": "login"}
    with (
        running_simulator(msgspec.structs.replace(simulator_config(options), **changes), folder) as venue,
        WireTap((venue.ready["order_host"], venue.ready["order_port"]), receive_bytes=receive_bytes) as tap,
    ):
        yield venue, tap


def drill_config(
    name: str, venue: Any, tap: WireTap, folder: Path, *, like: Config | None = None, **engine: Any
) -> Config:
    """An engine that orders as often as its gate lets it. `like`: whose processes and leases it shall have."""
    options = DemoOptions(instruments=INSTRUMENTS, topology=engine.pop("topology", None))
    config = demo_config(options, venue.ready, folder, intents_dir=folder)
    replace = msgspec.structs.replace
    if like is not None:
        own = like.engine
        keys = ("topology", "wait", "cpus", "scheduler", "priority", "lock_memory", "hang_ms", "on_crash")
        engine = {key: getattr(own, key) for key in keys} | engine
        config = replace(config, leases=like.leases)
        escalate_ms = like.gateway.kill_escalate_ms
        config = replace(config, gateway=replace(config.gateway, kill_escalate_ms=escalate_ms))
    signal_config = replace(
        config.signal, threshold=0.2, cooldown_ms=1, replace_interval_ms=1, order_life_ms=300, position_lots_max=100_000
    )
    risk = replace(
        config.risk,
        gross_value_currency_max=1e10,
        open_orders_max=500,
        messages_per_second_max=100_000,
        require_trading_state=False,
        defaults=InstrumentRisk(position_lots_max=100_000, order_value_currency_max=1_000_000.0),
    )
    return replace(
        config,
        engine=replace(config.engine, name=name, **engine),
        gateway=replace(config.gateway, port=tap.port, host="127.0.0.1", timeout_ms=60_000, reconnect_ms_min=20),
        signal=signal_config,
        risk=risk,
        journal=replace(config.journal, enabled=True, snapshot_s=0),
    )


class DrillEngine:
    """``hotpath run`` as its user starts it, and its control page."""

    def __init__(self, config: Config, folder: Path, *options: str) -> None:
        self.config = config
        self.name = config.engine.name
        self.folder = folder
        self._started_ns = time.time_ns()
        path = folder / "drill.toml"
        path.write_text(config_toml(config))
        self.said = folder / "drill.err"
        with (folder / "drill.out").open("w") as out, self.said.open("w") as error:
            self.process = subprocess.Popen(
                module_command("hotpath", "run", str(path), "--json", *options),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=error,
                env=module_environment(),
                start_new_session=True,
            )
        self._segments: dict[str, Segment] = {}

    def segment(self, name: str, kind: int, *, writable: bool = False) -> Segment:
        """One of this run's. Raises SegmentError before it is there."""
        known = self._segments.get(name)
        if known is None:
            known = segments.attach(self.name, name, kind, writable=writable)
            if known.info.run_epoch < self._started_ns:
                raise SegmentError(known.name, "is of a run before this one")
            self._segments[name] = known
        return known

    @property
    def control(self) -> Any:
        """``control_page *``."""
        return self.segment("control", lib.SEGMENT_CONTROL, writable=True).cast("control_page *")

    @property
    def clock(self) -> Any:
        """``clock_page *``."""
        return self.segment("clock", lib.SEGMENT_CLOCK).cast("clock_page *")

    def page(self, stage: str) -> Any:
        """``stage_page *``."""
        return self.segment(f"stage.{stage}", lib.SEGMENT_STAGE).cast("stage_page *")

    def pid_of(self, stage: str) -> int:
        """The process that runs a stage; 0 before it does."""
        try:
            return int(self.page(stage).pid)
        except SegmentError:
            return 0

    def wait_trading(self, tap: WireTap, *, orders: int) -> None:
        """Until so many more orders were on the wire."""
        goal = tap.orders + orders

        def trading() -> bool:
            if self.process.poll() is not None:
                raise StageError(f"the engine ended: {self.said.read_text().strip()[-600:]}")
            return tap.orders >= goal

        until(trading, f"{orders} orders on the wire")

    def kill(self) -> tuple[int, int]:
        """Store the word: the epoch, and the instant on the engine's clock."""
        time_ns = ffi.new("uint64_t *")
        epoch = int(lib.hotpath_kill(ffi.cast("uint64_t *", self.control), self.clock, time_ns))
        return epoch, int(time_ns[0])

    def armed(self) -> bool:
        """Whether orders may leave."""
        try:
            return not lib.control_killed(self.control)
        except SegmentError:
            return False

    def effective(self, epoch: int) -> bool:
        """Whether it says that no order byte can leave any more."""
        return bool(lib.control_effective(self.control, epoch))

    def settled(self, epoch: int) -> bool:
        """Whether every order that was open is known to be gone."""
        control = self.control
        return bool(control.killed_epoch_sent >= epoch and control.sweep_epoch >= epoch and control.open_orders == 0)

    def end(self) -> int:
        """Have it end in order, or at once when it does not; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self.process.wait()

    def close(self) -> None:
        """Leave nothing of it behind."""
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGCONT)
            self.process.kill()
            self.process.wait()
        self._segments.clear()
        segments.reap(self.name)  # where its supervisor was killed, nobody else does before the name's next start

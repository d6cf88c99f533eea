"""``hotpath demo``: a venue simulator and an engine on this machine, trading for a while, with a report.

simulator process --MoldUDP64/ITCH 5.0 over UDP--> engine processes
                  <--OUCH 5.0 over SoupBinTCP----
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from hotpath import refdata
from hotpath.calendar import us_equities
from hotpath.config import (
    Config,
    EngineConfig,
    FeaturesConfig,
    FeedConfig,
    GatewayConfig,
    JournalConfig,
    RefdataConfig,
    ScalesConfig,
    SignalConfig,
    config_toml,
)
from hotpath.config_control import ControlConfig
from hotpath.config_risk import InstrumentRisk, RiskConfig
from hotpath.errors import SegmentError, VenueError
from hotpath.report import RunReport
from hotpath.run import RunOptions, run_configured
from hotpath.scratch import scratch_folder
from hotpath.spawn import module_command, module_environment
from hotpath.stages import intents_path
from hotpath.stat import EngineView
from hotpath.supervisor import Outcome
from hotpath.venues.config import AccountConfig, SimulatorConfig

ENGINE = "demo"
USERNAME = "DEMO"
DETACH_SECONDS = 60.0
SPIN_SECONDS = 1.0
SIMULATOR_READY_SECONDS = 30.0
FUSED_BELOW_CPUS = 3  # processors: with fewer, processes would have to share one


@dataclass(frozen=True)
class DemoOptions:
    """What `hotpath demo` can be told."""

    seconds: float = 20.0
    seed: int = 1
    instruments: int = 64
    rate_per_second: int = 20_000
    topology: str | None = None  # None: the recommended one that this machine has processors for
    watch: bool = True
    out: Path | None = None  # keep configuration, logs, intents and recording here
    record: bool = False
    hold: bool = False  # until told to stop, with a control process, for `hotctl`; no screen


def run_demo(options: DemoOptions) -> tuple[Outcome, RunReport, dict[str, Any]]:
    """Trade for a while. Returns how the run ended, what the engine did, and the simulator's own summary."""
    with scratch_folder("demo") as scratch:
        folder = options.out or scratch
        folder.mkdir(parents=True, exist_ok=True)
        with running_simulator(simulator_config(options), folder) as venue:
            config = demo_config(options, venue.ready, folder, intents_dir=scratch)
            (folder / "demo.toml").write_text(config_toml(config))
            outcome, report = run_configured(
                config,
                RunOptions(
                    arm=True,
                    clear_kill="a new demo begins" if options.hold else "",
                    seconds=None if options.hold else options.seconds,
                    watch=options.watch and not options.hold,
                    spin_seconds=0.0 if options.hold else SPIN_SECONDS,
                    record=folder / "recording" if options.record else None,
                ),
            )
        if options.out is not None:
            shutil.copy(intents_path(config), folder)
        return outcome, report, venue.summary


# ---- in the background -----------------------------------------------------------------------------


def detach_demo(options: DemoOptions) -> Path:
    """Start `demo --hold` as a process of its own and wait until it trades; returns its log. Raises VenueError."""
    folder = (options.out or Path("out/demo")).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "demo.log"
    answers = folder / f"{ENGINE}.control.json"  # the control process writes it once it listens
    answers.unlink(missing_ok=True)
    told = [f"--out={folder}", f"--seed={options.seed}", f"--instruments={options.instruments}"]
    told += [f"--rate={options.rate_per_second}", *([f"--topology={options.topology}"] if options.topology else [])]
    told += ["--record"] if options.record else []
    with log.open("w") as target:
        process = subprocess.Popen(
            module_command("hotpath", "demo", "--hold", *told),
            stdin=subprocess.DEVNULL,
            stdout=target,
            stderr=target,
            env=module_environment(),
            start_new_session=True,  # it outlives this terminal
        )
    deadline = time.monotonic() + DETACH_SECONDS
    while not (answers.exists() and _trades()):
        if process.poll() is not None or time.monotonic() > deadline:
            process.terminate()
            said = log.read_text().strip().splitlines()
            raise VenueError("the demo did not come to trade: " + (said[-1] if said else f"see {log}"))
        time.sleep(0.05)
    return log


def _trades() -> bool:
    """Whether the demo's engine is armed and has a session."""
    try:
        view = EngineView(ENGINE)
    except SegmentError:
        return False
    stat = view.snapshot()
    view.close()
    return stat.state == "running" and not stat.killed and bool(stat.counter("gateway", "session_up"))


# ---- the venue -------------------------------------------------------------------------------------


def simulator_config(options: DemoOptions) -> SimulatorConfig:
    """A market of seeded order flow that opens when the engine has logged in."""
    return SimulatorConfig(
        seed=options.seed,
        instruments=options.instruments,
        intents_per_second=options.rate_per_second,
        accounts=[AccountConfig(username=USERNAME)],
        start="login",
    )


class RunningSimulator:
    """A started simulator: where it listens, and at the end what it saw."""

    def __init__(self, process: subprocess.Popen[str], ready: dict[str, Any]) -> None:
        self.process = process
        self.ready = ready
        self.summary: dict[str, Any] = {}


@contextmanager
def running_simulator(config: SimulatorConfig, folder: Path) -> Iterator[RunningSimulator]:
    """The simulator as a process of its own, ended in order when the block is left."""
    settings = [f"--set={key}={json.dumps(value)}" for key, value in msgspec.to_builtins(config).items()]
    with (folder / "simulator.log").open("w") as log:
        process = subprocess.Popen(
            module_command("hotpath.venues", f"--parent={os.getpid()}", *settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=module_environment(),
            start_new_session=True,  # Ctrl-C is the demo's to answer: the engine leaves before its venue
        )
    try:
        assert process.stdout is not None, "asked for above"
        line = process.stdout.readline()
        if not line:
            raise VenueError(f"the simulator did not start: {(folder / 'simulator.log').read_text().strip()}")
        running = RunningSimulator(process, json.loads(line))
        yield running
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
        process.wait(timeout=10)
        for text in rest.splitlines():
            running.summary = json.loads(text)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


# ---- the engine ------------------------------------------------------------------------------------


def demo_config(options: DemoOptions, venue: dict[str, Any], folder: Path, *, intents_dir: Path) -> Config:
    """An engine for the simulator that listens where `venue` (its ready line) says."""
    cpus = len(os.sched_getaffinity(0))
    topology = options.topology or ("fused" if cpus < FUSED_BELOW_CPUS else "paired")
    return Config(
        engine=EngineConfig(
            name=ENGINE,
            state_dir=str(folder.resolve()),
            topology=topology,  # type: ignore[arg-type]  # the command line has checked it
            trading_date=venue["trading_date"],
        ),
        feed=FeedConfig(
            kind="mold",
            address=venue["feed_address"],
            port=venue["feed_port"],
            rerequest_host=venue["retransmission_host"],
            rerequest_port=venue["retransmission_port"],
            session=venue["session"],
        ),
        signal=SignalConfig(
            features=FeaturesConfig(bar_ns=100_000_000),
            scales=ScalesConfig(),
            threshold=0.35,
            order_quantity_lots=100,
            style="join",
            cooldown_ms=50,
            order_life_ms=1000,
            replace_interval_ms=50,
        ),
        risk=RiskConfig(
            gross_value_currency_max=20_000_000.0,
            open_orders_max=200,
            messages_per_second_max=2000,
            defaults=InstrumentRisk(position_lots_max=400, order_value_currency_max=200_000.0),
        ),
        gateway=GatewayConfig(
            kind="ouch50",
            host=venue["order_host"],
            port=venue["order_port"],
            username=USERNAME,
            password_file=str(write_password(folder, AccountConfig().password)),
            firm="DEMO",
            intents_dir=str(intents_dir),
        ),
        refdata=RefdataConfig(path=str(write_refdata(folder, venue["symbols"]))),
        journal=JournalConfig(enabled=options.record),
        control=ControlConfig(enabled=options.hold, single_operator=options.hold),
    )


def write_password(folder: Path, password: str) -> Path:
    """The simulator's password, where only this user can read it."""
    path = folder / "password"
    path.touch(mode=0o600)
    path.write_text(password)
    return path.resolve()


def write_refdata(folder: Path, symbols: list[str]) -> Path:
    """Reference data of the simulator's instruments; their locates come with the feed's directory messages."""
    path = folder / "refdata.json"
    data = refdata.Refdata(
        calendars={refdata.US_EQUITIES: us_equities()},
        instruments=[refdata.Instrument(symbol=symbol) for symbol in symbols],
    )
    refdata.save_refdata(data, path)
    return path.resolve()

"""One run of the matrix: a simulator process with faults, an engine of real processes, and what both leave behind."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from hotpath import segments
from hotpath.config import Config, config_toml
from hotpath.demo import DemoOptions, RunningSimulator, demo_config, running_simulator, simulator_config
from hotpath.recordings import Recording
from hotpath.venues.config import AccountConfig
from hotpath.venues.fault_config import FaultsConfig
from hotpath.venues.tap import read_tap
from tests.faults import truth
from tests.support.busy import busy_config
from tests.support.engines import EngineProcess, stored_frames, stored_records

PATIENCE_SECONDS = 45.0  # for the injections of one case
SETTLE_SECONDS = 10.0  # until an engine has got over the last of them
CONTROL_TRIES = 20
INSTRUMENTS = 8
RATE_PER_SECOND = 4000
USERNAME = "DEMO"
RUNS = itertools.count(1)


@dataclass(frozen=True)
class Case:
    """What is done to an engine, and what it must do."""

    name: str
    faults: dict[str, dict[str, Any]]  # [faults] of the simulator
    expected: str  # in words, for the matrix
    check: Callable[[Evidence], list[str]]  # what is wrong; empty: all as expected
    observed: tuple[str, ...] = ()  # counters worth showing, "stage.counter"
    protocol: str = "ouch50"
    venue: dict[str, Any] = field(default_factory=dict)  # other keys of the simulator
    engine: dict[str, dict[str, Any]] = field(default_factory=dict)  # keys of the engine by section
    whole: bool = True  # every message of the feed is taken; else what was lost comes as a snapshot
    settles: bool = True  # the session is up and the books are whole again at the end
    counted: tuple[str, ...] = ()  # faults that make up the injections; empty: all
    calm_seconds: float = 0.4  # of good behaviour before the end
    weight: int = 1  # times as many injections as of others


@dataclass
class Evidence:
    """What is left of one run."""

    case: Case
    seed: int
    folder: Path
    config: Config
    injected: dict[str, int]
    venue: dict[str, Any]  # the simulator's summary
    report: dict[str, Any]
    exit_code: int
    errors: str
    log: str = ""
    doctored: dict[str, npt.NDArray[Any]] = field(default_factory=dict)  # what a planted failure made of a ring

    @property
    def ouch50(self) -> bool:
        """Else 4.2."""
        return self.case.protocol == "ouch50"

    @property
    def injections(self) -> int:
        """Of the faults that the case is about."""
        return sum(n for name, n in self.injected.items() if not self.case.counted or name in self.case.counted)

    def count(self, path: str) -> int:
        """An engine's counter by "stage.counter"."""
        stage, _, name = path.partition(".")
        return int(self.report["stat"]["stages"][stage]["counters"][name])

    @cached_property
    def told(self) -> truth.Told:
        """What was on the wire of the order session."""
        return truth.read_told(list(read_tap(self.folder / "tap")), ouch50=self.ouch50)

    @cached_property
    def account(self) -> truth.Account:
        """What the stream comes to."""
        return truth.fold(self.told.stream, self.told.orders, ouch50=self.ouch50)

    @cached_property
    def published(self) -> list[bytes]:
        """Every message of the feed, as the venue published it."""
        return truth.read_messages(self.folder / "feed.itch")

    @cached_property
    def recording(self) -> Recording:
        """The engine's journal."""
        return Recording(self.folder / "recording")

    def events(self, ring: str) -> npt.NDArray[Any]:
        """Every event of a ring."""
        return self.doctored[ring] if ring in self.doctored else self.recording.events(ring)

    @cached_property
    def sent(self) -> npt.NDArray[Any]:
        """Records of the intent file."""
        return stored_records(self.config)

    @cached_property
    def stored(self) -> list[bytes]:
        """Frames of the intent file."""
        return stored_frames(self.config)


def control(port: int, command: str) -> dict[str, Any]:
    """One command to the simulator: its answer, with the injections so far. Asked again where the machine is busy."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.settimeout(1.0)
        for _ in range(CONTROL_TRIES):
            line.sendto(json.dumps({"command": command}).encode(), ("127.0.0.1", port))
            with contextlib.suppress(TimeoutError):
                answer: dict[str, Any] = json.loads(line.recv(65536))
                return answer
    raise CaseFailedError(f"the simulator did not answer {command!r} in {CONTROL_TRIES} s")


def venue_of(case: Case, seed: int, folder: Path) -> Any:
    config = simulator_config(DemoOptions(seed=seed, instruments=INSTRUMENTS, rate_per_second=RATE_PER_SECOND))
    account = AccountConfig(username=USERNAME, protocol=case.protocol, cancel_on_disconnect=False)  # type: ignore[arg-type]
    changes: dict[str, Any] = {
        "accounts": [account],
        "live_orders": 1500,
        "heartbeat_ms": 20,
        "control_port": 0,
        "glimpse_username": USERNAME,
        "linger_ms": 50,
        "tap_path": str(folder / "tap"),
        "feed_path": str(folder / "feed.itch"),
        "faults": msgspec.convert(case.faults, FaultsConfig),
        **case.venue,
    }
    return msgspec.structs.replace(config, **changes)


def _feed_keys(ready: dict[str, Any], password_file: str) -> dict[str, Any]:
    """The second line and the snapshot service, where the venue has them."""
    keys: dict[str, Any] = {}
    if ready["feed_b_port"] is not None:
        keys |= {"b_address": ready["feed_b_address"], "b_port": ready["feed_b_port"]}
    if ready["glimpse_port"] is not None:
        keys |= {"snapshot_host": "127.0.0.1", "snapshot_port": ready["glimpse_port"], "snapshot_username": USERNAME}
        keys |= {"snapshot_password_file": password_file, "snapshot_retry_ms": 20}
    return keys


def engine_of(case: Case, name: str, ready: dict[str, Any], folder: Path) -> Config:
    busy = busy_config(signal={"cooldown_ms": 10, "order_life_ms": 200, "style": "join", "answer_timeout_ms": 200})
    config = demo_config(DemoOptions(topology="fused"), ready, folder, intents_dir=folder)
    sections: dict[str, dict[str, Any]] = {
        "engine": {"name": name, "wait": "park"},
        "feed": {"request_interval_ms": 5, "gap_timeout_ms": 5000, **_feed_keys(ready, config.gateway.password_file)},
        "gateway": {"kind": case.protocol, "heartbeat_ms": 100, "reconnect_ms_min": 5, "reconnect_ms_max": 40},
    }
    for section, changes in case.engine.items():
        sections.setdefault(section, {}).update(changes)
    config = msgspec.structs.replace(config, signal=busy.signal, risk=busy.risk)
    sections["engine"] |= {"name": name}
    for section, changes in sections.items():
        changed = msgspec.structs.replace(getattr(config, section), **changes)
        config = msgspec.structs.replace(config, **{section: changed})
    return config


def _injections(case: Case, port: int, command: str = "faults") -> int:
    found = control(port, command)["faults"]
    return sum(n for name, n in found.items() if not case.counted or name in case.counted)


def settled(engine: EngineProcess) -> bool:
    stat = engine.look()
    return bool(stat and stat.counter("gateway", "session_up") and not stat.counter("feed", "stale"))


class CaseFailedError(Exception):
    """A run that did not come to its end; says where."""


def _drive(case: Case, wanted: int, engine: EngineProcess, venue: RunningSimulator) -> None:
    """Let the faults strike, then let the engine get over them, then stop it."""
    port = int(venue.ready["control_port"])
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (injected := _injections(case, port)) < wanted:
        if engine.process.poll() is not None:
            raise CaseFailedError(f"the engine ended after {injected} injections: {engine.errors().strip()[-400:]}")
        if time.monotonic() > deadline:
            raise CaseFailedError(f"only {injected} of {wanted} injections in {PATIENCE_SECONDS:g} s")
        time.sleep(0.02)
    deadline = time.monotonic() + SETTLE_SECONDS
    while control(port, "calm")["held"] and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(case.calm_seconds)
    while case.settles and not settled(engine):
        if time.monotonic() > deadline or engine.process.poll() is not None:
            raise CaseFailedError(f"the engine did not get over it: {engine.errors().strip()[-400:]}")
        time.sleep(0.02)
    engine.signal()
    engine.wait(seconds=30)


def end_engine(engine: EngineProcess) -> None:
    """A run that failed leaves neither processes nor memory behind."""
    if engine.process.poll() is None:
        engine.signal()
        with contextlib.suppress(subprocess.TimeoutExpired):
            engine.wait(seconds=10)
    engine.close()
    segments.unlink_all(segments.list_segments(engine.name))


def run_case(case: Case, *, seed: int, wanted: int, folder: Path) -> Evidence:
    """The whole of one case in a folder of its own. Raises CaseFailedError, or anything that the processes raise."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"faults-{os.getpid()}-{next(RUNS)}"
    with running_simulator(venue_of(case, seed, folder), folder) as venue:
        config = engine_of(case, name, venue.ready, folder)
        (folder / "engine-as-run.toml").write_text(config_toml(config))
        engine = EngineProcess(config, folder, "--arm", "--record", str(folder / "recording"))
        try:
            _drive(case, wanted, engine, venue)
        finally:
            end_engine(engine)
    return Evidence(
        case=case,
        seed=seed,
        folder=folder,
        config=config,
        injected=venue.summary["faults"],
        venue=venue.summary,
        report=engine.report(),
        exit_code=engine.process.returncode,
        errors=engine.errors(),
    )


def session_numbers(events: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The venue's numbers of published executions, in the order of the ring."""
    numbers: npt.NDArray[Any] = np.asarray(events["session_sequence"])
    found: npt.NDArray[Any] = numbers[numbers != 0]
    return found

"""Nothing is allocated per event anywhere on the path, and ring to ring no system call is made while spinning.

Counted, not believed: an allocator that counts stands before the C library's, and a seccomp filter kills the loop
at its first system call. Each has a canary that must be caught.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.latency.resources import counting_library
from hotpath.config import WeightsConfig, config_toml
from hotpath.demo import DemoOptions, demo_config, running_simulator, simulator_config
from tests.support.busy import busy_config, file_feed
from tests.support.synthetic import write_synthetic_day

REPOSITORY = Path(__file__).resolve().parent.parent.parent
EVENTS_MIN = 100_000
SECOND_NS = 10**9
GETPPID = 110  # x86-64's number


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return counting_library(tmp_path_factory.mktemp("shim"))


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthetic_day(tmp_path_factory.mktemp("day") / "synthetic.itch", messages=EVENTS_MIN + 20_000)


@pytest.fixture
def paper_engine(day: Path, tmp_path: Path, engine: str) -> Path:
    """The configuration of an engine that reads the day flat out and trades on paper."""
    config = busy_config(
        engine={"name": engine, "topology": "fused", "state_dir": str(tmp_path)},
        feed={name: getattr(file_feed(day), name) for name in ("kind", "path", "pace")},
        signal={"style": "take", "cooldown_ms": 0},
    )
    path = tmp_path / "engine.toml"
    path.write_text(config_toml(config))
    return path


def run_confined(shim: Path, folder: Path, **plan: Any) -> dict[str, Any]:
    path = folder / "plan.json"
    path.write_text(json.dumps(plan | {"config": str(plan["config"])}))
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.confined", str(path)],
        env={**os.environ, "LD_PRELOAD": str(shim)},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_no_event_allocates(shim: Path, paper_engine: Path, tmp_path: Path) -> None:
    plan = {"what": "count", "config": paper_engine, "slice_ns": SECOND_NS // 10, "messages": EVENTS_MIN}
    answer = run_confined(shim, tmp_path, function="duty", **plan)
    assert answer["messages"] >= EVENTS_MIN and answer["orders"] > 1000 and answer["fills"] > 1000
    assert (answer["allocated"], answer["freed"], answer["mapped"]) == (0, 0, 0)


@pytest.mark.parametrize(("canary", "found"), [("allocates", "allocated"), ("maps", "mapped")])
def test_canary_allocation_is_counted(canary: str, found: str, shim: Path, paper_engine: Path, tmp_path: Path) -> None:
    plan = {"what": "count", "config": paper_engine, "slice_ns": 4096, "messages": 0}
    answer = run_confined(shim, tmp_path, function=canary, **plan)
    assert answer[found] >= 1


def test_no_event_calls_the_system_while_spinning(shim: Path, paper_engine: Path, tmp_path: Path) -> None:
    plan = {"what": "confine", "config": paper_engine, "slice_ns": SECOND_NS}
    answer = run_confined(shim, tmp_path, function="duty", **plan)
    assert answer["exit"] == 0, "the loop made a system call"
    assert answer["messages"] >= EVENTS_MIN and answer["orders"] > 1000 and answer["fills"] > 1000


def test_canary_call_is_killed(shim: Path, paper_engine: Path, tmp_path: Path) -> None:
    plan = {"what": "confine", "config": paper_engine, "slice_ns": 0}
    answer = run_confined(shim, tmp_path, function="calls", **plan)
    assert answer == {"exit": -signal.SIGSYS}


@pytest.mark.skipif(platform.machine() != "x86_64", reason="a processor whose registers confine.c knows: x86-64")
def test_canary_call_is_counted(shim: Path, paper_engine: Path, tmp_path: Path) -> None:
    answer = run_confined(shim, tmp_path, what="trace", config=paper_engine, function="calls", slice_ns=0)
    assert answer["result"] > 1, "the call was made all the same, and answered"
    assert answer["calls"] == {str(GETPPID): 1}


def test_no_event_allocates_with_sockets(
    shim: Path, tmp_path: Path, engine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same over the network, feed and orders; how many system calls each event cost is printed."""
    options = DemoOptions(rate_per_second=40_000, instruments=16, topology="fused")
    with running_simulator(simulator_config(options), tmp_path) as venue:
        weights = WeightsConfig(microprice=1.0, momentum=0.0, reversion=0.0)  # an opinion from the first book on
        busy = busy_config(signal={"weights": weights, "style": "take"})
        demo = demo_config(options, venue.ready, tmp_path, intents_dir=tmp_path)
        named = msgspec.structs.replace(demo.engine, name=engine)
        settings = msgspec.structs.replace(demo, engine=named, signal=busy.signal, risk=busy.risk)
        config = tmp_path / "demo.toml"
        config.write_text(config_toml(settings))
        plan = {"what": "count", "config": config, "slice_ns": SECOND_NS // 5, "messages": EVENTS_MIN}
        answer = run_confined(shim, tmp_path, function="duty", warm_ns=SECOND_NS // 2, drain_ns=SECOND_NS // 2, **plan)
    assert answer["messages"] >= EVENTS_MIN and answer["orders"] > 50 and answer["fills"] > 0
    assert (answer["allocated"], answer["freed"], answer["mapped"]) == (0, 0, 0)
    with capsys.disabled():
        feed, gateway = (answer[f"{stage}_system_calls"] / answer["events"] for stage in ("feed", "gateway"))
        print(f"\nsystem calls an event with sockets, idle polls included: feed {feed:.2f}, gateway {gateway:.2f}")

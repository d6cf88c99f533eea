"""The supervisor and its processes under signals, deaths and denials: real processes, a venue of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ffi import lib
from hotpath.config import Config, config_toml
from hotpath.demo import USERNAME, RunningSimulator
from hotpath.recordings import Recording, replay_recording
from hotpath.venues.config import AccountConfig
from tests.support.busy import busy_config, file_feed
from tests.support.engines import (
    REPOSITORY,
    EngineProcess,
    alive,
    children_of,
    engine_config,
    fold_position,
    segments_of,
    stored_frames,
    stored_records,
    until,
    venue,
    wire_orders,
)
from tests.support.synthetic import write_synthetic_day

BUSY: dict[str, Any] = {"cooldown_ms": 20, "order_life_ms": 400, "style": "join"}


class Trading:
    """A simulator and engines for it, one after the other; all ended with the test."""

    def __init__(self, folder: Path, name: str, running: RunningSimulator) -> None:
        self.folder = folder
        self.name = name
        self.running = running
        self.engines: list[EngineProcess] = []

    def config(self, topology: str = "split", **engine: Any) -> Config:
        config = engine_config(self.name, self.running, self.folder, topology=topology, busy=busy_config(signal=BUSY))
        return msgspec.structs.replace(config, engine=msgspec.structs.replace(config.engine, **engine))

    def start(self, config: Config, *options: str, prefix: tuple[str, ...] = ()) -> EngineProcess:
        engine = EngineProcess(config, self.folder, *options, prefix=prefix)
        self.engines.append(engine)
        return engine

    def latch(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / f"{self.name}.killed").read_text())
        return found


@pytest.fixture
def trading(tmp_path: Path, engine: str) -> Iterator[Trading]:
    with venue(tmp_path) as running:
        made = Trading(tmp_path, engine, running)
        try:
            yield made
        finally:
            for process in made.engines:
                process.close()


# ---- an orderly end --------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_everything_in_order(number: int, trading: Trading) -> None:
    process = trading.start(trading.config(), "--arm")
    process.wait_trading()
    children = children_of(process.process.pid)
    assert len(children) == 4
    process.signal(number)
    assert process.wait() == 0, process.errors()
    report = process.report()
    assert report["stat"]["stages"]["gateway"]["counters"]["open_orders"] == 0
    assert report["notices"] == [] and report["outcome"] == "stopped"
    assert segments_of(trading.name) == []
    assert not any(alive(pid) for pid in children)
    assert not (trading.folder / f"{trading.name}.killed").exists(), "an orderly end latches nothing"


def test_second_run_of_the_day_goes_on_above_the_first(trading: Trading) -> None:
    config = trading.config("fused")
    for run in (1, 2):
        process = trading.start(config, "--arm")
        process.wait_trading()
        process.signal()
        assert process.wait() == 0, process.errors()
        if run == 1:
            first = stored_records(config)
    every = stored_records(config)
    second = every[len(first) :]
    assert len(second) and int(second["order_id"].min()) > int(first["order_id"].max())
    assert set(second["id"]["strategy_epoch"]) == {int(first["id"]["strategy_epoch"].max()) + 1}
    assert len({record.tobytes() for record in every["id"]}) == len(every), "a command was named twice"
    placed = every[every["type"] != lib.CMD_CANCEL]
    assert len(set(placed["user_ref"])) == len(placed)


# ---- the gateway dies ------------------------------------------------------------------------------


def test_gateway_is_restarted_and_recovers(trading: Trading) -> None:
    recording = trading.folder / "recording"
    config = trading.config()
    process = trading.start(config, "--arm", "--record", str(recording))
    process.wait_trading(fills=2)
    for deaths in (1, 2):
        pid = process.pid_of("gateway")
        os.kill(pid, signal.SIGKILL)
        until(lambda before=pid: process.pid_of("gateway") not in (0, before), "the gateway's restart")  # type: ignore[misc]
        until(lambda: process.count("gateway", "session_up"), "the session's return")
        frames, fills = process.count("gateway", "frames_out"), process.count("gateway", "fills")
        until(lambda more=frames: process.count("gateway", "frames_out") > more + 20, "trading to go on")  # type: ignore[misc]
        until(lambda more=fills: process.count("gateway", "fills") > more, "fills to go on")  # type: ignore[misc]
        assert deaths <= 2
    process.signal()
    assert process.wait() == 0, process.errors()
    report = process.report()
    assert any("restart 2" in notice for notice in report["notices"])

    told = finish(trading)
    every = stored_records(config)
    placed = every[every["type"] != lib.CMD_CANCEL]
    assert len(set(placed["user_ref"])) == len(placed)
    assert len({record.tobytes() for record in every["id"]}) == len(every)
    stored = Counter(stored_frames(config))
    wire = Counter(wire_orders(trading.folder / "tap"))
    orders = {frame: count for frame, count in wire.items() if frame[3:4] != b"X"}
    assert all(count == 1 and stored[frame] == 1 for frame, count in orders.items()), "an order was sent twice"
    executions = Recording(recording).events("exec")
    matches = executions["match_id"][executions["header"]["type"] == lib.EXEC_FILL]
    assert len(matches) == len(set(matches)) == told["fills"]
    filled = executions["quantity_lots"][executions["header"]["type"] == lib.EXEC_FILL]
    assert int(filled.sum()) == told["filled_lots"]
    risk = report["stat"]["stages"]["risk"]["counters"]
    assert risk["position_lots"] == sum(abs(lots) for lots in fold_position(executions).values())
    assert risk["open_orders"] == 0
    again = replay_recording(recording)
    assert again.same and again.orders_replayed == len(every), again.mismatches


def finish(trading: Trading) -> dict[str, Any]:
    """The simulator's own summary, now."""
    process = trading.running.process
    process.send_signal(signal.SIGTERM)
    assert process.stdout is not None
    for line in process.stdout:
        trading.running.summary = json.loads(line)
    process.wait(timeout=20)
    return trading.running.summary


# ---- another stage dies ----------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["feed", "signal", "risk"])
def test_death_of_a_stage_ends_the_run_killed_where_it_shall(stage: str, trading: Trading) -> None:
    """What becomes of it otherwise: tests/e2e/test_recovery.py."""
    config = trading.config(on_crash="end")
    process = trading.start(config, "--arm")
    process.wait_trading(fills=1)
    until(lambda: process.count("gateway", "open_orders"), "an open order")
    children = children_of(process.process.pid)
    os.kill(process.pid_of(stage), signal.SIGKILL)
    assert process.wait() == 70, process.errors()
    report = process.report()
    assert f"process {stage} ended by SIGKILL" in report["outcome"]
    assert report["stat"]["killed"] and report["stat"]["stages"]["gateway"]["counters"]["open_orders"] == 0
    assert f"process {stage} ended by SIGKILL" in trading.latch()["reason"]
    assert segments_of(trading.name) == [] and not any(alive(pid) for pid in children)
    if stage != "feed":
        return
    refused = trading.start(config, "--arm")
    assert refused.wait() == 70
    assert "latched in killed state" in refused.errors() and "ended by SIGKILL" in refused.errors()
    assert "--clear-kill" in refused.errors() and segments_of(trading.name) == []
    accepted = trading.start(config, "--arm", "--clear-kill", "the feed was killed by a test")
    accepted.wait_trading(fills=1)
    accepted.signal()
    assert accepted.wait() == 0, accepted.errors()
    (cleared,) = trading.folder.glob(f"{trading.name}.killed.*.cleared")
    assert json.loads(cleared.read_text())["cleared"] == "the feed was killed by a test"


def test_orders_of_a_lost_process_are_canceled_by_another(tmp_path: Path, engine: str) -> None:
    """The gateway died in the company of every other stage, and the venue keeps orders of a lost session."""
    account = msgspec.structs.replace(AccountConfig(username=USERNAME), cancel_on_disconnect=False)
    with venue(tmp_path, accounts=[account]) as running:
        trading = Trading(tmp_path, engine, running)
        process = trading.start(trading.config("fused", on_crash="end"), "--arm")
        try:
            process.wait_trading(fills=1)
            until(lambda: process.count("gateway", "open_orders") >= 3, "open orders")
            os.kill(process.pid_of("gateway"), signal.SIGKILL)
            assert process.wait() == 70, process.errors()
        finally:
            process.close()
        report = process.report()
        assert "the gateway is started again to cancel what is open" in report["notices"]
        assert not any("not confirmed" in notice for notice in report["notices"])
        assert report["stat"]["stages"]["gateway"]["counters"]["open_orders"] == 0
        told = finish(trading)
    assert told["canceled"] >= 3
    enters = [frame for frame in wire_orders(tmp_path / "tap") if frame[3:4] in (b"O", b"U")]
    assert len(enters) == len(set(enters)), "nothing was sent again"


def test_hung_stage_is_found_and_ends_the_run_where_it_shall(trading: Trading) -> None:
    process = trading.start(trading.config(hang_ms=500, on_crash="end"), "--arm")
    process.wait_trading(fills=1)
    os.kill(process.pid_of("signal"), signal.SIGSTOP)
    assert process.wait() == 70, process.errors()
    assert "process signal hung: no heartbeat for" in process.report()["outcome"]


def test_hung_gateway_is_restarted(trading: Trading) -> None:
    process = trading.start(trading.config(hang_ms=500), "--arm")
    process.wait_trading(fills=1)
    pid = process.pid_of("gateway")
    os.kill(pid, signal.SIGSTOP)
    until(lambda: process.pid_of("gateway") not in (0, pid), "the gateway's restart")
    until(lambda: process.count("gateway", "session_up"), "the session's return")
    process.signal()
    assert process.wait() == 0, process.errors()
    assert any("hung" in notice for notice in process.report()["notices"])


# ---- the supervisor dies ---------------------------------------------------------------------------


def test_children_end_with_their_supervisor_and_the_next_run_takes_over(trading: Trading) -> None:
    config = trading.config()
    process = trading.start(config, "--arm")
    process.wait_trading(fills=1)
    until(lambda: process.count("gateway", "open_orders"), "an open order")
    children = children_of(process.process.pid)
    process.signal(signal.SIGKILL)
    process.wait()
    until(lambda: not any(alive(pid) for pid in children), "the children's end")
    assert segments_of(trading.name) != [], "nobody was left to remove them"
    assert process.count("gateway", "open_orders") == 0, "nothing stays open that nobody watches"
    following = trading.start(config, "--arm")
    following.wait_trading(fills=1)
    following.signal()
    assert following.wait() == 0, following.errors()
    assert segments_of(trading.name) == []


# ---- starts that fail, and machines that deny ------------------------------------------------------


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthetic_day(tmp_path_factory.mktemp("day") / "synthetic.itch", messages=40_000)


def paper(day: Path, folder: Path, name: str, *, topology: str = "fused", **engine: Any) -> Config:
    """An engine on paper that reads a day at 40,000 messages a second."""
    feed = file_feed(day, pace="rate", rate_per_second=40_000)
    return msgspec.structs.replace(
        busy_config(engine={"name": name, "topology": topology, "state_dir": str(folder), **engine}), feed=feed
    )


def run_for(
    config: Config, folder: Path, *options: str, seconds: float = 0.8, prefix: tuple[str, ...] = ()
) -> EngineProcess:
    process = EngineProcess(config, folder, "--arm", "--seconds", str(seconds), *options, prefix=prefix)
    try:
        process.wait()
    finally:
        process.close()
    return process


@pytest.mark.parametrize("topology", ["fused", "paired", "split"])
@pytest.mark.parametrize("wait", ["park", "yield"])
def test_every_way_of_waiting_trades(wait: str, topology: str, day: Path, tmp_path: Path, engine: str) -> None:
    process = run_for(paper(day, tmp_path, engine, topology=topology, wait=wait), tmp_path)
    assert process.process.returncode == 0, process.errors()
    counters = process.report()["stat"]["stages"]
    assert counters["feed"]["counters"]["messages"] > 5000
    assert counters["gateway"]["counters"]["accepted"] > 0


def test_failed_start_says_what_the_stage_said(day: Path, tmp_path: Path, engine: str) -> None:
    config = paper(day, tmp_path, engine, topology="split")
    config = msgspec.structs.replace(
        config,
        feed=msgspec.structs.replace(config.feed, kind="mold", path="", address="192.0.2.1"),
        refdata=msgspec.structs.replace(config.refdata, path=str(refdata_of(day, tmp_path))),
    )
    process = run_for(config, tmp_path)
    assert process.process.returncode == 70
    assert "process feed ended while starting" in process.errors()
    assert "cannot listen on 192.0.2.1" in process.errors() and "Traceback" not in process.errors()
    assert segments_of(engine) == []


def refdata_of(day: Path, folder: Path) -> Path:
    path = folder / "refdata.json"
    command = [sys.executable, "-m", "hotpath", "refdata", "import", str(day), str(path)]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
    return path


def test_missing_privileges_are_named_and_the_engine_runs(day: Path, tmp_path: Path, engine: str) -> None:
    config = paper(day, tmp_path, engine, lock_memory=True, scheduler="fifo", priority=10)
    drop = ("setpriv", "--bounding-set=-ipc_lock,-sys_nice", "--inh-caps=-ipc_lock,-sys_nice")
    limits = ("prlimit", "--memlock=65536", "--rtprio=0")
    process = run_for(config, tmp_path, prefix=(*limits, *drop))
    assert process.process.returncode == 0, process.errors()
    assert process.report()["stat"]["stages"]["gateway"]["counters"]["accepted"] > 0
    said = process.errors()
    assert "CAP_IPC_LOCK" in said and "the limit is 64 KiB" in said
    assert "CAP_SYS_NICE" in said and "SCHED_FIFO" in said


def test_full_shared_memory_is_a_clear_error(day: Path, tmp_path: Path, engine: str) -> None:
    config = tmp_path / "engine.toml"
    config.write_text(config_toml(paper(day, tmp_path, engine)))
    script = f"mount -t tmpfs -o size=2m tmpfs /dev/shm && exec {sys.executable} -m hotpath run {config} --arm"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], cwd=REPOSITORY, capture_output=True, text=True, timeout=30
    )
    if "unshare" in done.stderr and done.returncode != 71:
        pytest.skip(f"unshare --mount is not allowed here: {done.stderr.strip()}")
    assert done.returncode == 71, done.stderr
    assert "/dev/shm" in done.stderr and "Traceback" not in done.stderr

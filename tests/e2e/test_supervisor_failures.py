"""What becomes of an engine when what watches it fails, hangs, or dies: real processes, and orders that may be open.

What could break it: an exception of the watch that leaves orders at a venue, a picture that ends a run, a process
beside the path that hangs unseen, or that outlives everybody.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from hotpath.config import Config, StrategyConfig
from hotpath.demo import USERNAME
from hotpath.latch import latch_path
from hotpath.runs import live_spec
from hotpath.supervisor import EngineName, Supervisor, supervise
from hotpath.venues.config import AccountConfig
from tests.support.busy import busy_config, file_feed
from tests.support.engines import (
    PATIENCE_SECONDS,
    REPOSITORY,
    EngineProcess,
    alive,
    children_of,
    engine_config,
    segments_of,
    until,
    venue,
)
from tests.support.synthetic import write_synthetic_day
from tests.support.traders import PATH

BUSY: dict[str, Any] = {"cooldown_ms": 20, "order_life_ms": 400, "style": "join"}


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthetic_day(tmp_path_factory.mktemp("day") / "synthetic.itch", messages=40_000)


def paper(day: Path, folder: Path, name: str, **engine: Any) -> Config:
    """An engine on paper that trades for half a minute."""
    settings = {"name": name, "topology": "fused", "wait": "yield", "state_dir": str(folder / "var"), **engine}
    feed = file_feed(day, pace="rate", rate_per_second=1500)
    return msgspec.structs.replace(busy_config(engine=settings), feed=feed)


def with_strategy(config: Config, **params: Any) -> Config:
    strategy = StrategyConfig(
        name="toy",
        account=2,
        strategy=100,
        code=f"{PATH}:Toy",
        restart=True,
        budget_ms=50_000,
        heartbeat_ms=55_000,
        params=params,
    )
    return msgspec.structs.replace(config, strategies=[strategy])


@contextmanager
def engine_process(config: Config, folder: Path, *options: str) -> Iterator[EngineProcess]:
    """`hotpath run`, ended with the block whatever happens."""
    process = EngineProcess(config, folder, "--arm", *options)
    try:
        yield process
    finally:
        process.close()


def child_named(process: EngineProcess, module: str) -> int:
    """The process of an engine that runs a module; 0 while there is none."""
    for pid in children_of(process.process.pid):
        if module in psutil.Process(pid).cmdline():
            return pid
    return 0


def end(pid: int) -> None:
    """Leave no process behind, should the engine have left it."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


# ---- the supervisor's own failures -----------------------------------------------------------------


class WatchError(Exception):
    """Anything that nobody thought of."""


def test_view_that_fails_is_put_aside_and_the_run_goes_on(day: Path, tmp_path: Path, engine: str) -> None:
    config = paper(day, tmp_path, engine)
    views, rounds = 0, 0

    def view() -> None:
        nonlocal views
        views += 1
        raise BrokenPipeError("the terminal went away")

    def over() -> bool:
        nonlocal rounds
        rounds += bool(views)
        return rounds > 5

    with EngineName(config):
        supervisor = Supervisor(live_spec(config), arm=True)
        outcome = supervise(supervisor, until=over, each=view)
    assert outcome.reason == "stopped" and not outcome.failed and views == 1
    assert supervisor.notices == ["the view failed: BrokenPipeError: the terminal went away"]
    assert not latch_path(config).exists() and segments_of(engine) == []


def test_failure_of_the_watch_kills_latches_and_cancels_what_is_open(tmp_path: Path, engine: str) -> None:
    """The venue keeps the orders of a lost session: only cancels take them out."""
    account = msgspec.structs.replace(AccountConfig(username=USERNAME), cancel_on_disconnect=False)
    with venue(tmp_path, accounts=[account]) as running:
        config = engine_config(engine, running, tmp_path, topology="fused", busy=busy_config(signal=BUSY))
        children: list[int] = []

        def watch_fails_over_open_orders() -> bool:
            if supervisor.open_orders() < 2:
                return False
            children.extend(child.process.pid for child in supervisor.children.values())
            raise WatchError("nobody thought of it")

        with EngineName(config):
            supervisor = Supervisor(live_spec(config), arm=True)
            with pytest.raises(WatchError):
                supervise(supervisor, until=watch_fails_over_open_orders)
        (killed,) = supervisor.notices  # and none of orders that were not confirmed cancelled
        assert killed.endswith("the supervisor failed: WatchError: nobody thought of it")
        assert "WatchError" in json.loads(latch_path(config).read_text())["reason"]
        assert segments_of(engine) == []
        assert children and not any(alive(pid) for pid in children)
    assert running.summary["canceled"] >= 1


def test_gateway_that_cannot_be_started_again_ends_the_run_killed(day: Path, tmp_path: Path, engine: str) -> None:
    config = paper(day, tmp_path, engine, topology="split", restarts_max=2)
    gateway = msgspec.structs.replace(config.gateway, password_env="HOTPATH_TEST_SECRET")
    config = msgspec.structs.replace(config, gateway=gateway)
    os.environ["HOTPATH_TEST_SECRET"] = "secret"
    try:
        with engine_process(config, tmp_path) as process:
            process.wait_trading(fills=1)
            told = {
                stage: "HOTPATH_TEST_SECRET" in psutil.Process(process.pid_of(stage)).environ()
                for stage in ("feed", "signal", "risk", "gateway")
            }
            assert told == {"feed": False, "signal": False, "risk": False, "gateway": True}
            log = tmp_path / "var" / f"{engine}.gateway.log"
            log.rename(log.with_suffix(".before"))
            log.mkdir()
            os.kill(process.pid_of("gateway"), signal.SIGKILL)
            assert process.wait() == 70, process.errors()
    finally:
        del os.environ["HOTPATH_TEST_SECRET"]
    report = process.report()
    assert report["outcome"] == "process gateway cannot be started: Is a directory"
    assert report["stat"]["killed"] and latch_path(config).exists()
    assert "Traceback" not in process.errors() and segments_of(engine) == []


def test_state_folder_that_cannot_be_made_is_a_clear_error(day: Path, tmp_path: Path, engine: str) -> None:
    (tmp_path / "file").touch()
    with engine_process(paper(day, tmp_path, engine, state_dir=str(tmp_path / "file" / "var")), tmp_path) as process:
        assert process.wait() not in (0, 1)
    assert "engine.state_dir" in process.errors() and "cannot be made: Not a directory" in process.errors()
    assert "Traceback" not in process.errors() and segments_of(engine) == []


# ---- processes beside the path ---------------------------------------------------------------------


def test_journal_that_hangs_is_ended_and_its_recording_is_nobody_elses(day: Path, tmp_path: Path, engine: str) -> None:
    recording = tmp_path / "recording"
    with engine_process(paper(day, tmp_path, engine, hang_ms=500), tmp_path, "--record", str(recording)) as process:
        process.wait_trading(fills=1)
        journal = child_named(process, "hotpath.journal")
        os.kill(journal, signal.SIGSTOP)
        try:
            until(lambda: not alive(journal), "the end of a journal that hangs")
        finally:
            end(journal)
        messages = process.count("feed", "messages")
        until(lambda: process.count("feed", "messages") > messages + 200, "the path, which waits for no dead journal")
        process.signal()
        assert process.wait() == 0, process.errors()
    assert any("the journal hung: no heartbeat" in notice for notice in process.report()["notices"])
    for path in (recording, *recording.iterdir(), *(tmp_path / "var").rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert not mode & 0o077, f"{path} is {mode:o}: others may read what is traded"


def test_strategy_that_hangs_ends_with_its_supervisor(day: Path, tmp_path: Path, engine: str) -> None:
    told = tmp_path / "pid"
    config = with_strategy(paper(day, tmp_path, engine, hang_ms=60_000), after=50, then="tell_and_hang", file=str(told))
    with engine_process(config, tmp_path) as process:
        until(lambda: told.exists() and told.read_text(), "a strategy that hangs")
        hung = int(told.read_text())
        process.signal(signal.SIGKILL)
        process.wait()
        try:
            until(lambda: not alive(hung), "the end of a strategy that hears no other signal")
        finally:
            end(hung)


def test_strategy_is_given_up_after_its_restarts_and_its_children_hold_no_seat(
    day: Path, tmp_path: Path, engine: str
) -> None:
    told = tmp_path / "children"
    config = with_strategy(
        paper(day, tmp_path, engine, restarts_max=1, hang_ms=60_000),
        after=50,
        then="leave_a_child_and_die",
        file=str(told),
    )
    with engine_process(config, tmp_path) as process:
        until(lambda: process.count("signal", "seats_cut") >= 2, "a second life in the same seat, and its end")
        process.signal()
        assert process.wait() == 0, process.errors()
    grandchildren = [int(line) for line in told.read_text().split()]
    assert len(grandchildren) == 2 and all(alive(pid) for pid in grandchildren)
    for pid in grandchildren:
        os.kill(pid, signal.SIGKILL)
    first, last = process.report()["notices"]
    assert "ended by SIGKILL; restart 1 in" in first and last.endswith("the run goes on without it")


# ---- venues, replays -------------------------------------------------------------------------------

DEMO = """
import sys, time
from pathlib import Path
from hotpath.demo import DemoOptions, running_simulator, simulator_config
with running_simulator(simulator_config(DemoOptions(instruments=2)), Path(sys.argv[1])) as running:
    print(running.process.pid, flush=True)
    time.sleep(60)
"""


def test_simulator_ends_with_its_demo(tmp_path: Path) -> None:
    command = [sys.executable, "-c", DEMO, str(tmp_path)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        simulator = int(demo.stdout.readline())
        assert alive(simulator)
        demo.kill()
    until(lambda: not alive(simulator), "the simulator's end")


@pytest.mark.parametrize("topology", ["fused", "paired"])
def test_replay_that_is_stopped_leaves_nothing(topology: str, day: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hotpath", "replay", str(day), "--topology", topology]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as replay:
        name = f"replay-{replay.pid}"
        until(lambda: segments_of(name), "the replay's memory")
        replay.send_signal(signal.SIGTERM)
        _, errors = replay.communicate(timeout=PATIENCE_SECONDS)
    assert replay.returncode == 70 and "stopped before its end" in errors
    assert segments_of(name) == []
    assert list(Path("/dev/shm").glob(f"hotpath-replay-{replay.pid}-*")) == []

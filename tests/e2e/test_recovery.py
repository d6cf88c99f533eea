"""A stage's process dies, and its successor goes on with the same order stream: real processes, killed under load.

What could break it: a turn that was cut off and is made twice or not at all, an event that is published twice,
an order that is sent twice, a front end that takes a message twice, a difference that nobody notices.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil
import pytest

from ffi import lib
from ffi.dtypes import dtype_of
from hotpath.config import Config, IngressConfig, StrategyConfig
from hotpath.examples.ingress.push_itch import Sender, itch_messages
from hotpath.explain.tell import explain_order
from hotpath.journal import event_type
from hotpath.latch import latch_path
from hotpath.limits import limits_copy
from hotpath.limits_log import LimitsWriter
from hotpath.recordings import Recording, replay_recording
from hotpath.segments import attach
from tests.crash.engine_kills import engine_kills
from tests.crash.tally import Work
from tests.support.busy import busy_config, file_feed
from tests.support.engines import (
    EngineProcess,
    segments_of,
    until,
)
from tests.support.synthetic import write_synthetic_day
from tests.support.traders import PATH

BUSY: dict[str, Any] = {"cooldown_ms": 20, "order_life_ms": 400, "style": "join"}


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthetic_day(tmp_path_factory.mktemp("day") / "synthetic.itch", messages=60_000)


def paper(day: Path, folder: Path, name: str, *, topology: str, **engine: Any) -> Config:
    """An engine on paper that reads a day at 4,000 messages a second."""
    settings = {"name": name, "topology": topology, "wait": "yield", "state_dir": str(folder), "restarts_max": 50}
    feed = file_feed(day, pace="rate", rate_per_second=4000)
    return msgspec.structs.replace(busy_config(engine={**settings, **engine}), feed=feed)


@contextmanager
def recorded(config: Config, folder: Path) -> Iterator[EngineProcess]:
    """`hotpath run --record`, ended with the block whatever happens."""
    process = EngineProcess(config, folder, "--arm", "--record", str(folder / "recording"))
    try:
        process.wait_trading(fills=1)
        yield process
    finally:
        process.close()


def kill(process: EngineProcess, stage: str, *, number: int = signal.SIGKILL) -> None:
    """End the process of a stage, and wait until orders leave again."""
    before, died = process.pid_of(stage), process.errors().count("ended by")
    os.kill(before, number)
    until(lambda: process.errors().count("ended by") > died, "word of its death")
    until(lambda: process.pid_of(stage) not in (0, before), f"a successor of the {stage}")
    orders = process.count("gateway", "new_orders")

    def trading() -> bool:
        assert process.process.poll() is None, f"the engine ended: {process.errors()}"
        return process.count("gateway", "new_orders") > orders + 3

    until(trading, "orders after it")


def end(process: EngineProcess) -> dict[str, Any]:
    """An orderly end; the report."""
    process.signal()
    assert process.wait() == 0, process.errors()
    return process.report()


def check_replay(folder: Path) -> None:
    """The recording is whole: nothing twice, nothing missing, and a replay decides the same."""
    again = replay_recording(folder / "recording")
    assert again.same and again.orders_replayed > 3, again.mismatches
    recording = Recording(folder / "recording")
    raw = recording.events("raw")
    numbers = raw["session_sequence"][raw["header"]["type"] == lib.RAW_MESSAGE]
    assert (np.diff(numbers.astype(np.int64)) == 1).all(), "a message was taken twice, or passed over"
    for stage in ("feed", "signal", "risk"):
        turns = recording.events(f"{stage}.ctl")["turn"]
        assert np.array_equal(turns, np.arange(1, len(turns) + 1)), f"{stage}: a turn twice, or not at all"
    commands = recording.events("cmd")
    assert len({command.tobytes() for command in commands["id"]}) == len(commands), "a command was named twice"


@pytest.mark.parametrize(
    ("topology", "stages"),
    [("fused", ("signal",)), ("paired", ("signal", "risk")), ("split", ("feed", "gateway"))],
)
def test_engine_goes_on_with_the_same_orders_after_any_process_died(
    topology: str, stages: tuple[str, ...], day: Path, tmp_path: Path, engine: str
) -> None:
    with recorded(paper(day, tmp_path, engine, topology=topology), tmp_path) as process:
        for stage in stages:
            kill(process, stage)
        report = end(process)
    assert report["outcome"] == "stopped"
    back = [notice for notice in report["notices"] if "is back after" in notice]
    alone = {"gateway"} if topology == "split" else set()  # it recovers by itself, and no other stage waits for it
    assert len(back) == len(set(stages) - alone), report["notices"]
    assert all("turns made again" in notice for notice in back), back
    assert report["stat"]["mode_words"].get("supervisor", "normal") == "normal"
    assert segments_of(engine) == []
    check_replay(tmp_path)


def test_successor_begins_with_the_latest_snapshot(day: Path, tmp_path: Path, engine: str) -> None:
    config = paper(day, tmp_path, engine, topology="fused")
    journal = msgspec.structs.replace(config.journal, snapshot_s=1)
    snapshots = tmp_path / "recording" / "snapshots"
    with recorded(msgspec.structs.replace(config, journal=journal), tmp_path) as process:
        until(lambda: len(list(snapshots.glob("*.snapshot"))) == 3, "a snapshot of every stage")
        (keeper,) = (
            child for child in psutil.Process(process.process.pid).children() if "hotpath.snapshots" in child.cmdline()
        )
        keeper.suspend()
        for path in snapshots.glob("signal.*"):
            path.write_bytes(path.read_bytes()[:-100] + bytes(100))  # one that is damaged is none
        before = process.look()
        assert before is not None
        turns = sum(before.stages[stage].turns for stage in ("feed", "signal", "risk"))
        kill(process, "signal")
        stat = process.look()
        assert stat is not None and stat.stages["risk"].restart is not None
        assert 0 < stat.stages["risk"].restart.turns < turns
        keeper.resume()
        assert set(stat.stages["risk"].restart.spans_ns) >= {"wait", "start", "attach", "read", "replay", "finish"}
        end(process)
    check_replay(tmp_path)


@pytest.mark.parametrize("topology", ["split", "fused"])
def test_limits_that_changed_under_way_are_those_of_each_turn_again(
    topology: str, day: Path, tmp_path: Path, engine: str
) -> None:
    """Three changes, each refusing what the one before let pass; risk dies after them, and once in between."""
    config = paper(day, tmp_path, engine, topology=topology)
    with recorded(config, tmp_path) as process:
        symbols = [name.decode() for name in np.load(tmp_path / "recording" / "instruments.npy")["symbol"].tolist()]
        writer = LimitsWriter(engine, journaled=True)

        def change(collar_ppm: int) -> None:
            defaults = msgspec.structs.replace(config.risk.defaults, collar_ppm_max=collar_ppm)
            risk = msgspec.structs.replace(config.risk, defaults=defaults)
            version = writer.publish(lambda version: limits_copy(risk, symbols, version=version))
            decided = process.count("risk", "signals")
            until(lambda: process.count("risk", "signals") > decided + 3, f"decisions under version {version}")

        change(1)
        refused = process.count("risk", "reject_collar")
        assert refused > 0
        change(60_000)
        kill(process, "risk")
        change(50_000)
        kill(process, "risk")
        end(process)
    check_replay(tmp_path)
    recording = Recording(tmp_path / "recording")
    turns = recording.events("risk.ctl")
    assert np.unique(turns["limits_version"]).tolist() == [1, 2, 3, 4]
    for version in (1, 3, 4):
        command = int(recording.events("cmd")["order_id"][recording.events("cmd")["limits_version"] == version][0])
        story = explain_order(tmp_path / "recording", command)
        assert story.risk is not None and story.risk.limits_version == version


def test_strategy_in_python_trades_on_through_the_death_of_the_engine(day: Path, tmp_path: Path, engine: str) -> None:
    toy = StrategyConfig(name="toy", account=2, strategy=100, code=f"{PATH}:Toy", heartbeat_ms=4000)
    config = msgspec.structs.replace(paper(day, tmp_path, engine, topology="fused"), strategies=[toy])
    with recorded(config, tmp_path) as process:
        until(lambda: process.count("signal", "requests") > 10, "requests of the strategy")
        kill(process, "signal")
        asked, told = process.count("signal", "requests"), process.count("signal", "reports")
        until(lambda: process.count("signal", "requests") > asked + 10, "more requests")
        until(lambda: process.count("signal", "reports") > told + 10, "more reports")
        assert process.count("signal", "seats_cut") == 0
        report = end(process)
    assert not any("toy" in notice for notice in report["notices"]), report["notices"]
    check_replay(tmp_path)
    intake = Recording(tmp_path / "recording").events("intake")
    asked_for = intake["request_sequence"][intake["header"]["type"] <= lib.REQUEST_RAISED]
    assert (np.diff(asked_for.astype(np.int64)) > 0).all(), "a request was taken twice"


def test_market_that_is_pushed_goes_on_where_the_feed_died(day: Path, tmp_path: Path, engine: str) -> None:
    endpoint = f"ipc://{tmp_path.parent}/{engine[-8:]}.in"
    known = tmp_path / "refdata.json"
    subprocess.run([sys.executable, "-m", "hotpath", "refdata", "import", str(day), str(known)], check=True)
    replace = msgspec.structs.replace
    config = paper(day, tmp_path, engine, topology="paired")
    config = replace(
        config,
        feed=replace(config.feed, kind="zmq", path="", silence_ms=20_000),
        refdata=replace(config.refdata, path=str(known)),
        ingress=IngressConfig(senders=["a"], endpoint=endpoint, silence_ms=20_000),
    )
    messages = list(itch_messages(day))
    over = threading.Event()

    def push() -> None:
        sender = Sender(endpoint, "a")
        sender.session()
        for start in range(0, len(messages), 20):
            if over.is_set():
                break
            sender.raw(messages[start : start + 20])
            sender.wait(under_way=4)
            time.sleep(0.005)
        sender.close()

    process = EngineProcess(config, tmp_path, "--arm", "--record", str(tmp_path / "recording"))
    pusher = threading.Thread(target=push)
    try:
        until(lambda: process.look() is not None and process.pid_of("feed") > 0, "the engine")
        pusher.start()
        process.wait_trading(fills=1)
        for stage in ("feed", "feed"):
            kill(process, stage)
        over.set()
        pusher.join()
        end(process)
    finally:
        over.set()
        process.close()
    check_replay(tmp_path)


@pytest.mark.parametrize("stage", ["signal", "risk"])
def test_state_that_differs_from_what_was_done_ends_the_run_killed(
    stage: str, day: Path, tmp_path: Path, engine: str
) -> None:
    """An event of the dead process that its inputs do not explain: a lot more in the last one that it published."""
    ring = {"signal": "signal", "risk": "cmd"}[stage]
    config = paper(day, tmp_path, engine, topology="split")
    with recorded(config, tmp_path) as process:
        pid = process.pid_of(stage)
        os.kill(pid, signal.SIGSTOP)
        segment = attach(engine, ring, lib.SEGMENT_RING)
        slots = np.memmap(
            f"/dev/shm/hotpath.{engine}.{ring}",
            dtype_of(event_type(ring)),
            mode="r+",
            offset=lib.RING_SLOTS_OFFSET,
            shape=(segment.info.capacity,),
        )
        last = int(segment.cast("ring_control *").position) - 1
        slots["quantity_lots"][last % segment.info.capacity] += 1
        os.kill(pid, signal.SIGKILL)
        assert process.wait() == 70, process.errors()
    report = process.report()
    assert f"event {last} of ring {ring} is not what it was: quantity_lots" in report["outcome"], report
    assert report["stat"]["killed"] and latch_path(config).exists()
    assert report["stat"]["mode_words"]["supervisor"] == "halted"


def test_engine_that_shall_end_ends_killed(day: Path, tmp_path: Path, engine: str) -> None:
    with recorded(paper(day, tmp_path, engine, topology="split", on_crash="end"), tmp_path) as process:
        os.kill(process.pid_of("risk"), signal.SIGKILL)
        assert process.wait() == 70
    assert process.report()["outcome"] == "process risk ended by SIGKILL"


@pytest.mark.soak
def test_process_that_dies_again_and_again_ends_the_run(day: Path, tmp_path: Path, engine: str) -> None:
    with recorded(paper(day, tmp_path, engine, topology="split", restarts_max=1), tmp_path) as process:
        kill(process, "signal")
        os.kill(process.pid_of("signal"), signal.SIGKILL)
        assert process.wait() == 70
    assert process.report()["outcome"] == "process signal ended by SIGKILL"


def test_orders_at_a_venue_are_neither_doubled_nor_lost(tmp_path: Path) -> None:
    """A few deaths of the campaign; all of it is ``make crash``."""
    tally = engine_kills(Work(20261121, tmp_path, kills=3))
    assert not tally.wrong
    assert tally.counts["SIGKILL"] + tally.counts["SIGSTOP"] == 3 and tally.counts["orders"] > 10

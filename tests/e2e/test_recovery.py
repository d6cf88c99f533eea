"""A stage's process dies, and its successor goes on with the same order stream: real processes, killed under load.

What could break it: a turn that was cut off and is made twice or not at all, an event that is published twice,
an order that is sent twice, a front end that takes a message twice, a difference that nobody notices.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from ffi import lib
from hotpath.config import Config
from hotpath.recordings import Recording, replay_recording
from tests.support.busy import busy_config, file_feed
from tests.support.engines import (
    EngineProcess,
    segments_of,
    until,
)
from tests.support.synthetic import write_synthetic_day

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
    before = process.pid_of(stage)
    os.kill(before, number)
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
    [("fused", ("signal", "signal")), ("paired", ("signal", "risk")), ("split", ("feed", "signal", "risk"))],
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
    assert len(back) == len(stages) and all("turns made again" in notice for notice in back), report["notices"]
    assert report["stat"]["mode_words"].get("supervisor", "normal") == "normal"
    assert segments_of(engine) == []
    check_replay(tmp_path)

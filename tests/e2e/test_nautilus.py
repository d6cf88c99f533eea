"""A real NautilusTrader node with one small strategy, trading through a running engine on paper."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from hotpath.config import CoprocessConfig
from tests.support.busy import busy_config, file_feed
from tests.support.engines import EngineProcess, most_quoted, until
from tests.support.synthetic import write_synthetic_day

REPOSITORY = Path(__file__).resolve().parent.parent.parent
NEEDED = "nautilus_trader is not installed: pip install 'hotpath-engine[nautilus]'"


pytestmark = pytest.mark.skipif(importlib.util.find_spec("nautilus_trader") is None, reason=NEEDED)


def trading_engine(name: str, folder: Path, *, topology: str) -> EngineProcess:
    """An engine on paper with a market and a seat."""
    day = write_synthetic_day(folder / "synthetic.itch", messages=150_000, live_orders=400)
    config = msgspec.structs.replace(
        busy_config(engine={"name": name, "state_dir": str(folder), "topology": topology}, signal={"threshold": 1.0}),
        feed=file_feed(day, pace="rate", rate_per_second=4000),
        coprocesses=[CoprocessConfig(name="nautilus", account=2, strategy=100, heartbeat_ms=5000)],
    )
    return EngineProcess(config, folder, "--arm")


def run_node(engine: str, *processes: int) -> tuple[dict[str, Any], str]:
    """What the node's strategy was told, and everything it printed."""
    words = [engine, "nautilus", most_quoted(engine), *map(str, processes)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.nautilus_node", *words],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stdout


def test_nautilus_strategy_keeps_its_code(tmp_path: Path, engine: str) -> None:
    process = trading_engine(engine, tmp_path, topology="paired")
    try:
        until(lambda: process.count("feed", "events") > 100, "a market")
        answer, printed = run_node(engine)
    finally:
        process.close()
    steps = ["submitted", "accepted", "pendingupdate", "updated", "pendingcancel", "canceled", "submitted"]
    assert [told for told in answer["told"] if told != "initialized"][:7] == steps, (answer, printed)
    assert answer["told"][-1] == "filled" and answer["position"] == "1" and answer["quotes"] > 0


def test_order_without_an_answer_is_rejected_when_the_seat_is_cut_and_when_the_engine_ends(
    tmp_path: Path, engine: str
) -> None:
    process = trading_engine(engine, tmp_path, topology="fused")
    stage = 0
    try:
        until(lambda: process.count("feed", "events") > 100, "a market")
        stage = process.pid_of("signal")
        answer, printed = run_node(engine, process.process.pid, stage)
    finally:
        process.close()
        if stage and psutil.pid_exists(stage):
            os.kill(stage, signal.SIGKILL)
    assert answer["told"] == ["submitted", "rejected", "submitted", "rejected"], (answer, printed)
    cut, ended = answer["position"].split("; ", 1)
    assert cut == "the seat was cut before an answer came"
    assert f"engine {engine} has ended" in ended

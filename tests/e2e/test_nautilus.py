"""A real NautilusTrader node with one small strategy, trading through a running engine on paper."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from hotpath.config import CoprocessConfig
from tests.support.busy import busy_config, file_feed
from tests.support.engines import EngineProcess, most_quoted, until
from tests.support.synthetic import write_synthetic_day

REPOSITORY = Path(__file__).resolve().parent.parent.parent
NEEDED = "nautilus_trader is not installed: pip install 'hotpath-engine[nautilus]'"


@pytest.mark.skipif(importlib.util.find_spec("nautilus_trader") is None, reason=NEEDED)
def test_nautilus_strategy_keeps_its_code(tmp_path: Path, engine: str) -> None:
    day = write_synthetic_day(tmp_path / "synthetic.itch", messages=150_000, live_orders=400)
    config = msgspec.structs.replace(
        busy_config(engine={"name": engine, "state_dir": str(tmp_path)}, signal={"threshold": 1.0}),
        feed=file_feed(day, pace="rate", rate_per_second=4000),
        coprocesses=[CoprocessConfig(name="nautilus", account=2, strategy=100, heartbeat_ms=5000)],
    )
    process = EngineProcess(config, tmp_path, "--arm")
    try:
        until(lambda: process.count("feed", "events") > 100, "a market")
        done = subprocess.run(
            [sys.executable, "-m", "tests.support.nautilus_node", engine, "nautilus", most_quoted(engine)],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
    finally:
        process.close()
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    steps = ["submitted", "accepted", "pendingupdate", "updated", "pendingcancel", "canceled", "submitted"]
    assert [told for told in answer["told"] if told != "initialized"][:7] == steps, (answer, done.stdout)
    assert answer["told"][-1] == "filled" and answer["position"] == "1" and answer["quotes"] > 0

"""What several tests of whole engines look at: one recorded run."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from tests.support.busy import busy_config, file_feed
from tests.support.engines import EngineProcess, until
from tests.support.synthetic import write_synthetic_day

OPEN_ORDERS_MAX = 6  # of the recorded run: some of its orders are refused


@pytest.fixture(scope="session")
def traded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The journal of an engine on paper, with orders filled, replaced, canceled and refused. Never write to it."""
    folder = tmp_path_factory.mktemp("traded")
    day = write_synthetic_day(folder / "synthetic.itch", messages=60_000)
    config = busy_config(
        engine={"name": f"t{os.getpid()}-traded", "topology": "paired", "state_dir": str(folder)},
        risk={"open_orders_max": OPEN_ORDERS_MAX},
    )
    config = msgspec.structs.replace(config, feed=file_feed(day, pace="rate", rate_per_second=20_000))
    process = EngineProcess(config, folder, "--arm", "--record", str(folder / "recording"))
    try:
        until(lambda: process.count("gateway", "frames_out") >= 60, "60 orders")
        until(lambda: process.count("gateway", "fills") >= 3, "3 fills")
        until(lambda: process.count("risk", "rejected") >= 1, "a refusal")
        process.signal()
        assert process.wait() == 0, process.errors()
    finally:
        process.close()
    return folder / "recording"

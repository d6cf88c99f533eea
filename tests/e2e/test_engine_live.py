"""A live engine against the venue simulator, in every topology: what it says of itself is what the venue saw,
what was on the wire, and what a replay of its recording decides again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hotpath import intents
from hotpath.demo import DemoOptions, run_demo
from hotpath.recordings import Recording, replay_recording
from hotpath.segments import list_segments
from tests.support.busy import busy_config
from tests.support.engines import (
    EngineProcess,
    engine_config,
    fold_position,
    segments_of,
    stored_frames,
    until,
    venue,
    wire_orders,
)

BUSY: dict[str, Any] = {"cooldown_ms": 20, "order_life_ms": 400, "style": "join"}


@pytest.mark.parametrize("topology", ["fused", "paired", "split"])
def test_engine_venue_wire_and_replay_agree(topology: str, tmp_path: Path, engine: str) -> None:
    with venue(tmp_path) as running:
        config = engine_config(engine, running, tmp_path, topology=topology, busy=busy_config(signal=BUSY))
        process = EngineProcess(config, tmp_path, "--arm", "--record", str(tmp_path / "recording"))
        try:
            process.wait_trading(fills=5)
            until(lambda: process.count("gateway", "frames_out") > 150, "150 orders")
            process.signal()
            assert process.wait() == 0, process.errors()
        finally:
            process.close()
        report = process.report()
    stages = report["stat"]["stages"]
    risk, gateway = stages["risk"]["counters"], stages["gateway"]["counters"]
    told = running.summary

    assert report["outcome"] == "stopped" and segments_of(engine) == []
    assert gateway["new_orders"] == told["orders_in"] and gateway["replaces"] == told["replaces_in"]
    assert gateway["accepted"] == told["accepted"] + told["replaced"]
    assert gateway["fills"] == told["fills"] > 0 and gateway["filled_lots"] == told["filled_lots"]
    assert gateway["canceled"] == told["canceled"] and gateway["rejected"] == told["rejected"]
    assert told["malformed_in"] == told["timeouts"] == told["login_rejects"] == 0
    assert gateway["unmatched"] == gateway["malformed"] == gateway["open_orders"] == risk["open_orders"] == 0
    assert gateway["negative_hops"] == risk["negative_hops"] == 0

    recording = Recording(tmp_path / "recording")
    executions = recording.events("exec")
    position = fold_position(executions)
    assert sum(abs(lots) for lots in position.values()) == risk["position_lots"]
    assert risk["bought_lots"] + risk["sold_lots"] == told["filled_lots"]
    matches = executions["match_id"][executions["match_id"] != 0]
    assert len(np.unique(matches)) == len(matches), "an execution was told twice"

    wire, stored = wire_orders(tmp_path / "tap"), stored_frames(config)
    asked = iter([*stored, None])  # the kill's own cancels stand between: some of orders that were being cancelled
    expected = next(asked)
    sweeps = []
    for frame in wire:
        if frame == expected:
            expected = next(asked)
        else:
            sweeps.append(frame)
    assert expected is None and stored == recording.order_frames()
    assert all(frame[3:4] == b"X" for frame in sweeps) and len(stored) == gateway["frames_out"] - len(sweeps)

    again = replay_recording(tmp_path / "recording")
    assert again.same, again.mismatches
    assert again.orders_replayed == len(stored) > 150
    assert again.order_log_sha256 == intents.frames_digest(stored)


def test_demo_trades_and_reports(tmp_path: Path) -> None:
    options = DemoOptions(seconds=3.0, instruments=8, rate_per_second=8000, watch=False, record=True, out=tmp_path)
    outcome, report, told = run_demo(options)
    assert outcome.reason == "stopped" and not outcome.failed
    assert report.count("feed", "messages") > 10_000 and report.count("gateway", "accepted") > 0
    assert report.count("gateway", "new_orders") == told["orders_in"]
    assert report.spin is not None and report.stat.hops["order_path"].count > 0
    assert list_segments("demo") == []
    assert replay_recording(tmp_path / "recording").same

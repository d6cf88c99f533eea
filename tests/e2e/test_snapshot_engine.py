"""A whole engine that lost messages for good, or came late: it takes its books from a snapshot, and trades on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from hotpath.config import Config
from hotpath.demo import USERNAME, RunningSimulator
from hotpath.recordings import replay_recording
from hotpath.stat import UNUSED_REASONS
from hotpath.venues.fault_config import FaultsConfig, GapFault
from tests.support.busy import busy_config
from tests.support.engines import EngineProcess, engine_config, until, venue

BUSY: dict[str, Any] = {"cooldown_ms": 20, "order_life_ms": 400, "style": "join"}
FEED: dict[str, Any] = {"rerequest_host": "", "gap_timeout_ms": 5, "snapshot_retry_ms": 20}


SERVICE: dict[str, Any] = {"glimpse_port": 0, "glimpse_username": USERNAME}


def with_snapshots(config: Config, running: RunningSimulator, **changes: Any) -> Config:
    """The engine's configuration with the venue's snapshot service, and other keys of [feed]."""
    feed = msgspec.structs.replace(
        config.feed,
        snapshot_host=running.ready["glimpse_host"],
        snapshot_port=running.ready["glimpse_port"],
        snapshot_username=USERNAME,
        snapshot_password_file=config.gateway.password_file,
        **changes,
    )
    return msgspec.structs.replace(config, feed=feed)


def assert_accounted(feed: dict[str, int]) -> None:
    assert feed["messages"] == feed["used"] + sum(feed[reason] for reason in UNUSED_REASONS)


def test_gaps_that_nobody_fills_are_healed_by_snapshots(tmp_path: Path, engine: str) -> None:
    """Now and then packets are lost, there is no retransmission server, and still it trades; so does its replay."""
    faults = FaultsConfig(gap=GapFault(times_ms=[200, 400, 600], packets_max=3))
    with venue(tmp_path, faults=faults, **SERVICE) as running:
        config = engine_config(engine, running, tmp_path, topology="fused", busy=busy_config(signal=BUSY))
        process = EngineProcess(
            with_snapshots(config, running, **FEED), tmp_path, "--arm", "--record", str(tmp_path / "recording")
        )
        try:
            until(lambda: process.count("feed", "snapshots") >= 3, "three snapshots")
            sent = process.count("gateway", "new_orders")
            until(lambda: process.count("gateway", "new_orders") > sent + 10, "orders after the last snapshot")
            process.signal()
            assert process.wait() == 0, process.errors()
        finally:
            process.close()
        counters = process.report()["stat"]["stages"]
    feed = counters["feed"]["counters"]
    assert feed["gaps_lost"] >= 3 and feed["stale"] == feed["stale_instruments"] == 0
    assert feed["snapshot_attempts"] == feed["snapshots"] + feed["snapshot_failures"]
    assert_accounted(feed)
    assert counters["gateway"]["counters"]["unmatched"] == 0
    assert replay_recording(tmp_path / "recording").same


def test_engine_that_comes_late_trades_after_its_snapshot(tmp_path: Path, engine: str) -> None:
    with venue(tmp_path, start="now", **SERVICE) as running:
        config = engine_config(engine, running, tmp_path, topology="paired", busy=busy_config(signal=BUSY))
        process = EngineProcess(with_snapshots(config, running), tmp_path, "--arm")
        try:
            process.wait_trading(fills=3)
            process.signal()
            assert process.wait() == 0, process.errors()
        finally:
            process.close()
        feed = process.report()["stat"]["stages"]["feed"]["counters"]
    assert feed["snapshots"] == 1 and feed["requests"] == 0, "nobody asks for the whole day"
    assert feed["stale"] == feed["stale_instruments"] == 0
    assert_accounted(feed)

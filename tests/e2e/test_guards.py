"""Causes that the supervisor writes by what it measures: each in a whole engine, tightening and clearing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ffi import lib
from hotpath.config import Config
from hotpath.demo import RunningSimulator
from hotpath.limits.desk import LimitsDesk
from hotpath.models.desk import ModelDesk
from hotpath.models.image import read_version
from hotpath.segments import attach
from tests.support.busy import busy_config, file_feed
from tests.support.engines import EngineProcess, engine_config, until, venue
from tests.support.live_models import net, write_version
from tests.support.synthetic import write_synthetic_day

MS = 1_000_000
HOLD_MS = 400
BUSY: dict[str, Any] = {"cooldown_ms": 20, "order_life_ms": 400, "style": "join"}


class Desk:
    """A simulator and engines for it, one after the other."""

    def __init__(self, folder: Path, name: str, running: RunningSimulator) -> None:
        self.folder, self.name, self.running = folder, name, running
        self.engines: list[EngineProcess] = []

    def config(self, **leases: int) -> Config:
        config = engine_config(self.name, self.running, self.folder, topology="fused", busy=busy_config(signal=BUSY))
        leases = {"guard_hold_ms": HOLD_MS, **leases}
        return msgspec.structs.replace(config, leases=msgspec.structs.replace(config.leases, **leases))

    def start(self, config: Config, *options: str) -> EngineProcess:
        self.engines.append(EngineProcess(config, self.folder, "--arm", *options))
        return self.engines[-1]


@pytest.fixture
def desk(tmp_path: Path, engine: str) -> Iterator[Desk]:
    with venue(tmp_path) as running:
        made = Desk(tmp_path, engine, running)
        try:
            yield made
        finally:
            for process in made.engines:
                process.close()


def causes(process: EngineProcess) -> dict[str, str]:
    stat = process.look()
    return stat.mode_words if stat else {}


def ended(process: EngineProcess) -> None:
    process.signal()
    assert process.wait() == 0, process.errors()


def test_clock_out_of_bound_leaves_cancels_alone_until_it_was_right_for_its_hold(desk: Desk) -> None:
    process = desk.start(desk.config(clock_skew_ns_max=150 * MS, path_p99_ns_max=10**12, path_orders_min=1))
    process.wait_trading()
    assert not {"clock", "latency"} & set(causes(process)), "both within their bounds"
    stat = process.look()
    assert stat is not None and stat.on_disconnect == "by_account"
    clock = attach(desk.name, "clock", lib.SEGMENT_CLOCK, writable=True).cast("clock_page *")
    clock.anchor_time_ns += 300 * MS
    until(lambda: causes(process).get("clock") == "cancel_only", "the cause of a clock that is ahead")
    sent = process.count("risk", "approved")
    clock.anchor_time_ns -= 300 * MS
    until(lambda: "clock" not in causes(process), "the cause to clear itself")
    until(lambda: process.count("risk", "approved") > sent + 5, "trading to go on")
    ended(process)
    notices = " ".join(process.report()["notices"])
    assert "the engine's clock is out of bound" in notices and "within its bound again" in notices


def test_tail_of_the_path_over_its_bound_reduces_and_is_tried_again(desk: Desk) -> None:
    process = desk.start(desk.config(path_p99_ns_max=1, path_orders_min=5, path_window_ms=200))
    until(lambda: causes(process).get("latency") == "reduce_only", "the cause of a slow path")
    until(lambda: "latency" not in causes(process), "the cause to clear where nothing is ordered")
    until(lambda: causes(process).get("latency") == "reduce_only", "the path is still slow")
    ended(process)


def losing(config: Config) -> Config:
    """A drawdown is soon over a thousandth of a currency's unit."""
    firm = msgspec.structs.replace(config.risk.firm, day_drawdown_currency_max=0.001)
    return msgspec.structs.replace(config, risk=msgspec.structs.replace(config.risk, firm=firm))


def test_loss_of_the_firm_is_latched_over_restarts_until_people_clear_it(desk: Desk) -> None:
    config, path = losing(desk.config()), desk.folder / f"{desk.name}.loss"
    process = desk.start(config)
    until(lambda: causes(process).get("loss") == "reduce_only", "the loss")
    until(path.exists, "the file")
    ended(process)
    assert json.loads(path.read_text())["rearm_epoch"] == 0
    roomy = desk.config()  # the next run could lose what it liked
    process = desk.start(roomy)
    until(lambda: process.count("risk", "signals") > 20, "signals")
    assert causes(process).get("loss") == "reduce_only", "latched by the run before"
    limits = LimitsDesk(desk.name, state_dir=desk.folder)
    limits.change_latest(lambda copy: copy.set("firm.rearm_epoch", 1), who="test", why="looked at")
    until(lambda: "loss" not in causes(process), "what people cleared")
    process.wait_trading()
    ended(process)
    assert not path.exists() and len(list(desk.folder.glob(f"{desk.name}.loss.*.cleared"))) == 1


def test_loss_is_cleared_at_a_start_with_a_reason(desk: Desk) -> None:
    path = desk.folder / f"{desk.name}.loss"
    path.write_text("torn")
    process = desk.start(desk.config())
    until(lambda: causes(process).get("loss") == "reduce_only", "one that cannot be read latches all the same")
    ended(process)
    process = desk.start(desk.config(), "--clear-loss", "it was a test")
    process.wait_trading()
    assert "loss" not in causes(process)
    ended(process)
    (cleared,) = desk.folder.glob(f"{desk.name}.loss.*.cleared")
    assert json.loads(cleared.read_text())["cleared"] == "it was a test"


def test_champion_that_failed_without_a_fallback_reduces_until_another_is_loaded(tmp_path: Path, engine: str) -> None:
    day = write_synthetic_day(tmp_path / "synthetic.itch", messages=60_000)
    models = {"enabled": True, "room_mib": 4, "latency_budget_ns": 1, "over_budget_max": 0}
    config = busy_config(engine={"name": engine, "topology": "paired", "state_dir": str(tmp_path)}, models=models)
    config = msgspec.structs.replace(config, feed=file_feed(day, pace="rate", rate_per_second=4000))
    process = EngineProcess(config, tmp_path, "--arm")
    try:
        until(lambda: process.count("signal", "evaluations") >= 20, "evaluations")
        models_desk = ModelDesk(engine, state_dir=tmp_path)
        table = attach(engine, "instruments", lib.SEGMENT_INSTRUMENTS)
        names = table.view("instrument_entry", count=table.info.capacity)["symbol"]
        slow = read_version(write_version(tmp_path, net(1), config, "mlp"), config, [each.decode() for each in names])
        models_desk.load(slow, who="test", why="looked at")
        until(lambda: causes(process).get("model") == "reduce_only", "the cause of a model that failed")
        patient = msgspec.structs.replace(config.models, latency_budget_ns=0)
        other = msgspec.structs.replace(config, models=patient)
        quick = read_version(write_version(tmp_path, net(2), other, "quick"), other, [each.decode() for each in names])
        models_desk.load(quick, keep_previous=False, who="test", why="looked at")
        until(lambda: "model" not in causes(process), "people's next generation")
        ended(process)
    finally:
        process.close()

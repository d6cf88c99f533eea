"""`hotctl flatten` of an engine that trades against the venue simulator: to zero, under the gate, on the record."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hotctl.audit import OUTCOME, AuditLog, audit_path
from hotctl.client import Client, mutation
from hotctl.errors import CallError, UsageError
from hotctl.profiles import listening_path
from hotctl.v1 import mutation_pb2, order_pb2, trading_pb2
from hotpath.config import CoprocessConfig, JournalConfig
from hotpath.config_control import ControlConfig
from tests.support.busy import busy_config
from tests.support.engines import REPOSITORY, EngineProcess, engine_config, until, venue
from tests.support.held import host_client

DESK = CoprocessConfig(name="desk", account=9, strategy=90, heartbeat_ms=5000)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    folder = tmp_path_factory.mktemp("flat")
    with venue(folder) as running:
        base = engine_config(f"t{os.getpid()}-flat", running, folder, topology="fused", busy=busy_config())
        control = ControlConfig(enabled=True, seat="desk", single_operator=True)
        config = msgspec.structs.replace(base, journal=JournalConfig(), control=control, coprocesses=[DESK])
        process = EngineProcess(config, folder, "--arm")
        try:
            process.wait_trading(fills=10)
            until(listening_path(Path(config.engine.state_dir), config.engine.name).exists, "the control process")
            yield process
            process.signal()
            assert process.wait() == 0, process.errors()
        finally:
            process.close()


@pytest.fixture
def call(engine: EngineProcess) -> Iterator[Client]:
    with host_client(engine, timeout_s=30) as client:
        yield client


def held(call: Client) -> dict[str, int]:
    return {each.symbol: each.lots for each in call.call("OrderService/ListPositions").positions}


def flatten(call: Client, *, symbol: str = "", dry_run: bool = False, **options: Any) -> Any:
    what = mutation(reason="the day is over", dry_run=dry_run)
    request = order_pb2.FlattenRequest(mutation=what, symbol=symbol, **{"timeout_ms": 20_000, **options})
    return call.call("OrderService/Flatten", request)


def test_a_dry_run_names_the_orders_and_sends_none(call: Client) -> None:
    until(lambda: held(call), "a position")
    response = flatten(call, dry_run=True)
    assert response.receipt.outcome == mutation_pb2.OUTCOME_DRY_RUN and response.orders
    assert {each.side for each in response.orders} <= {"buy", "sell"}
    assert "reduce_only" in [each.after for each in response.receipt.changes]
    assert not call.call("TradingService/ListCauses").causes


def test_one_instrument_goes_to_zero_and_stays_reduce_only(engine: EngineProcess, call: Client) -> None:
    until(lambda: held(call), "a position")
    symbol = next(iter(held(call)))
    response = flatten(call, symbol=symbol)
    assert response.receipt.outcome == mutation_pb2.OUTCOME_APPLIED, response
    assert symbol not in held(call)
    assert {each.symbol for each in response.orders} <= {symbol}
    again = flatten(call, symbol=symbol)
    assert again.receipt.outcome == mutation_pb2.OUTCOME_APPLIED and not again.orders


def test_everything_goes_to_zero_by_the_command(engine: EngineProcess, call: Client) -> None:
    until(lambda: held(call), "a position")
    command = [sys.executable, "-m", "hotctl", "flatten", "-m", "the day is over", "--for", "20", "-o", "json"]
    how: Any = {"cwd": REPOSITORY, "env": profile_of(engine), "capture_output": True, "text": True}
    done = subprocess.run([*command, "--profile", "here"], check=False, **how)
    assert done.returncode == 0, done.stderr + done.stdout
    assert not held(call)
    told = msgspec.json.decode(done.stdout)
    assert told["receipt"]["outcome"] == "applied" and not told["left"]
    lines = AuditLog(audit_path(Path(engine.config.engine.state_dir), engine.name)).records()
    (line,) = [each for each in lines if each.request_id == told["receipt"]["request_id"] and each.kind == OUTCOME]
    assert line.reason == "the day is over"
    assert len(line.detail["sent"].splitlines()) == len(told["orders"])


def profile_of(engine: EngineProcess) -> dict[str, str]:
    path = engine.folder / "profiles.toml"
    socket = Path(engine.config.engine.state_dir) / f"{engine.name}.control.sock"
    path.write_text(f'[profiles.here]\nengine = "{engine.name}"\nsocket = "{socket}"\n')
    search = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "control")])
    return {**os.environ, "HOTCTL_CONFIG": str(path), "PYTHONPATH": search}


def test_nothing_is_flattened_in_a_killed_engine(call: Client) -> None:
    with pytest.raises(UsageError, match="NOPE"):
        flatten(call, symbol="NOPE")
    kill = trading_pb2.KillRequest(mutation=mutation(reason="t"), wait_ms=5000)
    call.call("TradingService/Kill", kill)
    with pytest.raises(CallError, match="is killed"):
        flatten(call)

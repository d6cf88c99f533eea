"""A live engine and the venue's own report of it: both sides agree over a day, what does not is found, held, shown and
settled by people, and after a power loss the venue's word comes before the first order."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import msgspec
import psutil
import pytest
from typer.testing import CliRunner

from hotpath.cli import app
from hotpath.config import Config, JournalConfig, ReconcileConfig
from hotpath.demo import RunningSimulator
from hotpath.intents import read_intents
from hotpath.ledger.carry import carry, last_run
from hotpath.reconcile.status import ReconcileStatus, read_status, status_path
from hotpath.recordings import replay_recording
from hotpath.stages import intents_path
from hotpath.venues.config import AccountConfig
from tests.support.busy import busy_config
from tests.support.engines import EngineProcess, engine_config, until, venue, wire_orders

BUSY: dict[str, Any] = {"cooldown_ms": 20, "order_life_ms": 400, "style": "join"}
ACCOUNTS = [AccountConfig(username="DEMO", drop_copy="DEMODC")]
LOSSES = [("process", "ouch50"), ("power", "ouch50"), ("process", "ouch42"), ("power", "ouch42")]
BOOT_ID = slice(56, 72)  # of the segment header


def config_for(engine: str, running: RunningSimulator, folder: Path, **gateway: Any) -> Config:
    config = engine_config(engine, running, folder, topology="fused", busy=busy_config(signal=BUSY))
    reconcile = ReconcileConfig(username="DEMODC", password_file=config.gateway.password_file, interval_s=1)
    return msgspec.structs.replace(
        config, reconcile=reconcile, gateway=msgspec.structs.replace(config.gateway, **gateway)
    )


def tell_venue(running: RunningSimulator, **command: Any) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.settimeout(5)
        line.sendto(json.dumps(command).encode(), ("127.0.0.1", running.ready["control_port"]))
        assert json.loads(line.recv(4096))["ok"]


def status_of(config: Config) -> ReconcileStatus:
    return read_status(status_path(config), config.engine.name)


def test_a_day_on_which_both_sides_agree(tmp_path: Path, engine: str) -> None:
    with venue(tmp_path, accounts=ACCOUNTS) as running:
        config = config_for(engine, running, tmp_path, durability="power")
        process = EngineProcess(config, tmp_path, "--arm")
        try:
            process.wait_trading(fills=5)
            until(lambda: status_of(config).comparisons > 2 and status_of(config).matched >= 5, "three comparisons")
            process.signal()
            assert process.wait() == 0, process.errors()
        finally:
            process.close()
        report = process.report()
    status = status_of(config)
    assert status.state == "ended" and status.confirmed and not status.trouble and not status.breaks
    assert status.here == status.there and status.matched == running.summary["fills"] and status.waiting == 0
    gateway = report["stat"]["stages"]["gateway"]["counters"]
    assert gateway["promise"] == 1 and 0 < gateway["syncs"] <= gateway["frames_out"]
    assert report["stat"]["hops"]["order_sync"]["count"] == gateway["new_orders"] + gateway["replaces"]
    assert report["stat"]["sides"]["reconcile"]["counters"]["breaks"] == 0
    assert not [notice for notice in report["notices"] if "BREAK" in notice or "not armed" in notice]


def test_a_break_holds_its_instrument_until_a_person_clears_it(tmp_path: Path, engine: str) -> None:
    with venue(tmp_path, accounts=ACCOUNTS, control_port=0) as running:
        symbol = running.ready["symbols"][3]
        config = msgspec.structs.replace(config_for(engine, running, tmp_path), journal=JournalConfig())
        process = EngineProcess(config, tmp_path, "--arm")
        path = str(tmp_path / "engine.toml")
        try:
            process.wait_trading(fills=1)
            tell_venue(running, command="plant", account="DEMO", symbol=symbol, lots=77)
            until(lambda: status_of(config).breaks, "a break")
            (found,) = status_of(config).breaks
            assert found.symbol == symbol and found.there_lots - found.here_lots == 77
            until(lambda: process.count("risk", "reject_mode"), "an order that the hold refuses")
            shown = CliRunner().invoke(app, ["reconcile", path])
            assert shown.exit_code == 1 and f"BREAK {symbol}" in shown.output and "differs" in shown.output
            too_early = CliRunner().invoke(app, ["reconcile", path, "--clear", symbol, "--reason", "too early"])
            until(lambda: len(status_of(config).cleared) == 1 and status_of(config).breaks, "it is found again")
            tell_venue(running, command="plant", account="DEMO", symbol=symbol, lots=-77)
            settled = CliRunner().invoke(app, ["reconcile", path, "--clear", symbol, "--reason", "the venue's error"])
            assert settled.exit_code == 0, (settled.output, too_early.output)
            compared = status_of(config).comparisons
            until(lambda: status_of(config).comparisons > compared + 1, "two more comparisons")
            assert not status_of(config).breaks
            process.signal()
            assert process.wait() == 0, process.errors()
        finally:
            process.close()
        notices = process.report()["notices"]
    assert [each.cleared_reason for each in status_of(config).cleared] == ["too early", "the venue's error"]
    assert any(f"BREAK in {symbol}" in notice and "may only be reduced" in notice for notice in notices)
    assert any(f"{symbol} is released" in notice for notice in notices)
    folder = last_run(config)
    assert folder is not None
    again = replay_recording(folder)
    assert again.same and again.orders_replayed, again.mismatches


def kill_whole(process: EngineProcess) -> None:
    """Every process of the engine at one instant."""
    supervisor = psutil.Process(process.process.pid)
    family = [supervisor, *supervisor.children(recursive=True)]
    for each in family:
        os.kill(each.pid, signal.SIGSTOP)
    for each in family:
        os.kill(each.pid, signal.SIGKILL)
    process.wait()


def test_an_engine_killed_whole_loses_no_fill(tmp_path: Path, engine: str) -> None:
    """Its journal has less than its rings had: what is missing is heard again, and both sides agree once more."""
    with venue(tmp_path, accounts=ACCOUNTS) as running:
        config = msgspec.structs.replace(config_for(engine, running, tmp_path), journal=JournalConfig())
        process = EngineProcess(config, tmp_path, "--arm")
        try:
            process.wait_trading(fills=3)
            os.kill(process.look().sides["journal"].pid, signal.SIGSTOP)  # type: ignore[union-attr]
            before = process.count("gateway", "fills")
            until(lambda: process.count("gateway", "fills") > before, "a fill that no journal has")
            kill_whole(process)
        finally:
            process.close()
        carry(config, who="test")
        process = EngineProcess(config, tmp_path, "--arm")
        try:
            process.wait_trading(fills=1)
            until(lambda: status_of(config).comparisons > 1, "it is reconciled")
            process.signal()
            assert process.wait() == 0, process.errors()
        finally:
            process.close()
    status = status_of(config)
    assert status.state == "ended" and not status.breaks and status.here == status.there


@pytest.mark.parametrize(("durability", "protocol"), LOSSES if os.environ.get("HOTPATH_SOAK") else LOSSES[:1])
def test_after_a_power_loss_the_venue_is_asked_before_arming(
    tmp_path: Path, engine: str, durability: str, protocol: Literal["ouch50", "ouch42"]
) -> None:
    """Everything of the engine dies at once; of the intent file some pages are lost, and the boot is another one."""
    accounts = [msgspec.structs.replace(ACCOUNTS[0], protocol=protocol)]
    with venue(tmp_path, accounts=accounts) as running:
        config = config_for(engine, running, tmp_path, durability=durability, kind=protocol)
        process = EngineProcess(config, tmp_path, "--arm")
        try:
            process.wait_trading(fills=3)
            until(lambda: process.count("gateway", "frames_out") > 60, "60 frames")
            kill_whole(process)
        finally:
            process.close()
        path = intents_path(config)
        image = bytearray(path.read_bytes())
        image[BOOT_ID] = bytes(16)
        if durability == "process":  # a page in the middle never came to the disk
            image[8192:12288] = bytes(4096)
        path.write_bytes(image)
        process = EngineProcess(config, tmp_path, "--arm")
        try:
            process.wait_trading(fills=1)
            frames = process.count("gateway", "frames_out")
            until(lambda: process.count("gateway", "frames_out") > frames + 20, "it trades again")
            until(lambda: status_of(config).comparisons > 1, "it is reconciled")
            process.signal()
            assert process.wait() == 0, process.errors()
        finally:
            process.close()
        report = process.report()
    status = status_of(config)
    assert status.state == "ended" and not status.breaks and status.here == status.there
    gateway = report["stat"]["stages"]["gateway"]["counters"]
    assert gateway["unmatched"] == 0 and bool(gateway["adopted"]) == (durability == "process")
    assert gateway["fills"] == running.summary["fills"] == status.matched, "no fill is lost"
    sent = [frame for frame in wire_orders(tmp_path / "tap") if frame[3:4] in (b"O", b"U")]
    size = 4 if protocol == "ouch50" else 14  # of a user_ref, or of a token; a replacement has its target's before it
    refs = Counter(frame[4 if frame[3:4] == b"O" else 4 + size :][:size] for frame in sent)
    assert max(refs.values()) == 1 and running.summary["ignored_in"] == 0, "no order left twice"
    if protocol == "ouch50":
        names = Counter(frame[34:48] if frame[3:4] == b"O" else frame[27:41] for frame in sent)
        assert max(names.values()) == 1
    with read_intents(path) as file:
        assert file.last_order_id > 0

"""What only one process of a host may have: real engines that want the same, and holders that are killed."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from hotpath.calendar import us_equities
from hotpath.config import Config, EngineConfig, FeedConfig, GatewayConfig, RefdataConfig
from hotpath.holders import engine_lock, session_lock
from hotpath.refdata import Instrument, Refdata, save_refdata
from tests.support.busy import busy_config
from tests.support.engines import EngineProcess, engine_config, segments_of, until, venue
from tests.support.synthetic import write_synthetic_day

HELD, FAILED = 75, 70


class Engines:
    """Engines of one test, all ended with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[EngineProcess] = []

    def start(self, config: Config, *options: str) -> EngineProcess:
        folder = self.folder / f"{len(self.started)}"
        folder.mkdir()
        engine = msgspec.structs.replace(config.engine, state_dir=str(folder))
        gateway = msgspec.structs.replace(config.gateway, intents_dir=str(folder))
        process = EngineProcess(msgspec.structs.replace(config, engine=engine, gateway=gateway), folder, *options)
        self.started.append(process)
        return process


@pytest.fixture
def engines(tmp_path: Path) -> Iterator[Engines]:
    made = Engines(tmp_path)
    try:
        yield made
    finally:
        for process in made.started:
            process.close()


def paper(name: str, folder: Path) -> Config:
    """An engine that runs on until it is stopped: its feed comes at the recorded pace of a whole day."""
    day = folder / "day.itch"
    if not day.exists():
        write_synthetic_day(day, seed=1, messages=2000)
    return Config(
        engine=EngineConfig(name=name, topology="fused", wait="yield"),
        feed=FeedConfig(kind="file", path=str(day), pace="rate", rate_per_second=10),
        gateway=GatewayConfig(kind="paper"),
    )


def running(process: EngineProcess) -> bool:
    stat = process.look()
    assert process.process.poll() is None, process.errors()
    return stat is not None and all(stage.state == "ready" for stage in stat.stages.values())


def test_two_engines_of_one_name_refuse_even_in_two_folders(engines: Engines, engine: str, tmp_path: Path) -> None:
    config = paper(engine, tmp_path)
    first = engines.start(config)
    until(lambda: running(first), "the first engine")
    second = engines.start(config)
    assert second.wait() == HELD
    assert re.search(
        rf"the engine name {engine} is held already, by process {first.process.pid} since \d{{4}}-.* "
        rf"\(state_dir {first.folder}\)\n  stop that engine first",
        second.errors(),
    )
    assert running(first) and segments_of(engine), "the first one is not touched"
    os.kill(first.process.pid, signal.SIGKILL)
    first.process.wait()
    assert engine_lock(engine).exists()
    third = engines.start(config)
    until(lambda: running(third), "an engine after one that was killed")
    third.signal()
    assert third.wait() == 0, third.errors()
    assert not engine_lock(engine).exists(), "an orderly end leaves nothing"


def test_run_that_is_refused_leaves_the_files_of_the_one_that_runs(
    engines: Engines, engine: str, tmp_path: Path
) -> None:
    config = paper(engine, tmp_path)
    first = engines.start(config)
    until(lambda: running(first), "the first engine")
    latch = first.folder / f"{engine}.killed"
    latch.write_text('{"at": "2026-11-20 09:30:00", "reason": "killed while it runs", "epoch": 3}')
    kept = {name: (first.folder / name).stat().st_ino for name in (f"{engine}.killed", f"{engine}.intents")}
    # of another day: an intent file that nobody has would be put aside
    same_place = msgspec.structs.replace(first.config.engine, trading_date="2026-01-05")
    (tmp_path / "second").mkdir()
    second = EngineProcess(
        msgspec.structs.replace(first.config, engine=same_place), tmp_path / "second", "--arm", "--clear-kill", "mine"
    )
    engines.started.append(second)
    assert second.wait() == HELD, second.errors()
    assert {name: (first.folder / name).stat().st_ino for name in kept} == kept
    assert not list(first.folder.glob("*.cleared"))
    assert "killed while it runs" in latch.read_text()
    assert running(first)


def test_two_gateways_of_one_venue_session_refuse(engines: Engines, engine: str, tmp_path: Path) -> None:
    with venue(tmp_path) as market:
        config = engine_config(engine, market, tmp_path, topology="split", busy=busy_config())
        feedless = msgspec.structs.replace(config, feed=FeedConfig(kind="none"))
        first = engines.start(config, "--arm")
        first.wait_trading(fills=1)
        gateway = first.pid_of("gateway")
        other = msgspec.structs.replace(feedless, engine=msgspec.structs.replace(config.engine, name=f"{engine}x"))
        second = engines.start(other)
        assert second.wait() == FAILED
        assert re.search(
            rf"the venue session of DEMO at 127.0.0.1:\d+ is held already, by process {gateway} since \d{{4}}-.* "
            rf"\(engine {engine}\) \| stop that gateway first",
            second.errors(),
        ), second.errors()
        assert segments_of(f"{engine}x") == []
        assert first.count("gateway", "disconnects") == 0, "the venue never heard of the second one"

        os.kill(gateway, signal.SIGKILL)
        until(lambda: first.pid_of("gateway") not in (0, gateway), "the gateway's successor, past the lock")
        until(lambda: first.count("gateway", "session_up"), "its session")
        first.signal()
        assert first.wait() == 0, first.errors()
        gate = config.gateway
        assert not session_lock(address=gate.host, port=gate.port, username=gate.username).exists()
        third = engines.start(other)
        until(lambda: running(third) and third.count("gateway", "session_up"), "another engine in the session")
        third.signal()
        assert third.wait() == 0, third.errors()


def test_feed_port_in_use_names_its_holder(engines: Engines, engine: str, tmp_path: Path) -> None:
    refdata = tmp_path / "refdata.json"
    save_refdata(Refdata(calendars={"us-equities": us_equities()}, instruments=[Instrument(symbol="AAPL")]), refdata)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        config = Config(
            engine=EngineConfig(name=engine, topology="fused", wait="yield"),
            feed=FeedConfig(kind="mold", address="127.0.0.1", port=port),
            refdata=RefdataConfig(path=str(refdata)),
        )
        refused = engines.start(config)
        assert refused.wait() == FAILED
        assert f"feed: cannot listen on 127.0.0.1:{port}: Address already in use, by process {os.getpid()} (" in (
            refused.errors()
        )
        assert "name another port" in refused.errors()
    following = engines.start(config)
    until(lambda: running(following), "an engine once the port is free")
    following.signal()
    assert following.wait() == 0, following.errors()

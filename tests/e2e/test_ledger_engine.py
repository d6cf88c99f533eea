"""One position everywhere: gate, journal, ledger and SQL agree, with adjustments before and in the middle of a run."""

from __future__ import annotations

import os
import signal
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
from sqlalchemy import URL, text

from ffi import lib
from hotctl.projection.database import Database, database_url
from hotctl.projection.projector import Projector, read_status
from hotpath.config import Config, FeeConfig, ReconcileConfig
from hotpath.errors import AdjustmentError
from hotpath.journal import Journal
from hotpath.ledger import Ledger, Marks
from hotpath.ledger.adjustments import AdjustmentFile, adjustments_path, new_adjustment
from hotpath.ledger.carry import carry, fold_journal, last_marks, last_run, runs_of
from hotpath.reconcile.status import read_status as reconciled
from hotpath.reconcile.status import status_path
from hotpath.recordings import replay_recording
from hotpath.stages import intents_path
from hotpath.stat import EngineView
from hotpath.venues.config import AccountConfig
from tests.e2e.test_snapshot_engine import SERVICE, with_snapshots
from tests.support.busy import busy_config, file_feed
from tests.support.databases import Cluster, dump
from tests.support.engines import EngineProcess, alive, children_of, engine_config, until, venue
from tests.support.synthetic import write_synthetic_day

BOOT_ID = slice(56, 72)  # of the segment header


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthetic_day(tmp_path_factory.mktemp("day") / "synthetic.itch", messages=60_000)


def ledger_config(day: Path, folder: Path, name: str, **projection: Any) -> Config:
    """An engine on paper that journals and projects itself."""
    replace = msgspec.structs.replace
    config = busy_config(engine={"name": name, "topology": "paired", "state_dir": str(folder)})
    return replace(
        config,
        feed=file_feed(day, pace="rate", rate_per_second=8_000),
        projection=replace(config.projection, enabled=True, interval_ms=20, **projection),
        fees={"paper": FeeConfig(maker_micros_per_lot=-1500, taker_micros_per_lot=2500)},
    )


def symbols_of(config: Config) -> list[str]:
    from hotpath.runs import load_instruments

    return load_instruments(config).symbols()


def say(config: Config, symbol: str, lots: int, *, cost: int = 0, cash: int = 0, kind: str = "opening") -> None:
    entry = new_adjustment(
        kind=kind, symbol=symbol, lots=lots, cost_micros=cost, cash_micros=cash, who="test", why="for the test"
    )
    AdjustmentFile(adjustments_path(config)).ask([entry])


def pid_of_projector(process: EngineProcess) -> int:
    """0 when there is none at this instant."""
    for pid in children_of(process.process.pid):
        try:
            if "hotctl.projection.process" in psutil.Process(pid).cmdline():
                return pid
        except psutil.NoSuchProcess:
            continue
    return 0


def test_gate_journal_ledger_and_sql_have_one_position(day: Path, tmp_path: Path, engine: str) -> None:
    config = ledger_config(day, tmp_path, engine)
    first, second = symbols_of(config)[:2]
    say(config, first, 40, cost=7_000_000)
    say(config, "NOSUCH", 1)
    process = EngineProcess(config, tmp_path, "--arm")
    try:
        until(lambda: process.count("gateway", "frames_out") >= 20, "20 orders")
        say(config, second, -25, cost=-3_000_000, cash=1234, kind="correction")
        until(lambda: pid_of_projector(process), "the projector")
        os.kill(pid_of_projector(process), signal.SIGKILL)
        until(lambda: not AdjustmentFile(adjustments_path(config)).pending(), "the adjustments to be told")
        until(lambda: process.count("gateway", "fills") >= 5, "5 fills")
        until(lambda: pid_of_projector(process), "another projector")
        until(lambda: (status := read_status(config)) is not None and status.events > 0, "events in SQL")
        process.signal()
        assert process.wait() == 0, process.errors()
    finally:
        process.close()
    report = process.report()
    assert any("NOSUCH is no instrument" in notice for notice in report["notices"]), report["notices"]
    folder = last_run(config)
    assert folder is not None
    journal = Journal(folder)
    ledger, marks = fold_journal(journal), last_marks(journal)
    assert_gate_agrees(report, journal)
    assert int((journal.events("exec")["header"]["type"] == lib.EXEC_ADJUSTED).sum()) == 2
    head = journal.events("exec")["header"]["type"].tolist()
    assert head.index(lib.EXEC_ADJUSTED) < head.index(lib.EXEC_FILL), (
        "the opening position stands before the first fill"
    )

    projector = Projector.of(config)
    projector.catch_up()
    with projector.database.transaction() as connection:
        rows = {row.instrument: row for row in connection.execute(text("SELECT * FROM positions"))}
        adjusted = list(connection.execute(text("SELECT * FROM adjustments ORDER BY id")))
    projector.database.close()
    assert set(rows) == set(ledger.positions)
    for instrument, position in ledger.positions.items():
        value = ledger.valuation(instrument, marks)
        row = rows[instrument]
        assert (row.lots, row.cash_micros, row.fees_micros) == (
            position.lots,
            position.cash_micros,
            position.fees_micros,
        )
        assert (row.realised_micros, row.unrealised_micros) == (value.realised_micros, value.unrealised_micros)
    assert [(row.symbol, row.quantity_lots, row.who) for row in adjusted] == [
        (first, 40, "test"),
        (second, -25, "test"),
    ]
    assert replay_recording(folder).same

    kept = carry(config, who="test")
    assert {each.symbol: each.quantity_lots for each in kept} == {
        journal.instruments["symbol"][instrument].decode(): position.lots
        for instrument, position in ledger.positions.items()
        if position.lots
    }
    with pytest.raises(AdjustmentError, match="carried over before"):
        carry(config, who="test")


def assert_gate_agrees(report: dict[str, Any], journal: Journal) -> None:
    """The gate's own counters at the end of the run, over what it had read by then."""
    risk = report["stat"]["stages"]["risk"]["counters"]
    norm, executions = (int(number) for number in journal.events("risk.ctl")[-1]["input_sequence"][:2])
    values = journal.instruments["tick_value_micros"].tolist()
    ledger, marks = Ledger(values), Marks(len(values))
    ledger.apply(journal.events("exec", 0, executions), journal.events("adjust"), first_sequence=0)
    marks.apply(journal.events("norm", 0, norm))
    positions = ledger.positions
    assert risk["position_lots"] == sum(abs(position.lots) for position in positions.values())
    cash = sum(position.cash_micros for position in positions.values())
    assert signed(risk["cash_micros"]) == cash
    net = sum(position.lots * marks.price_ticks(i) * values[i] for i, position in positions.items())
    assert signed(risk["pnl_micros"]) == cash + net


def test_trading_goes_on_while_the_database_is_killed_locked_and_restarted(
    day: Path, tmp_path: Path, engine: str, cluster: Cluster
) -> None:
    dsn = cluster.create(f"engine{os.getpid()}")
    config = ledger_config(day, tmp_path, engine, dsn=dsn)
    process = EngineProcess(config, tmp_path, "--arm")

    def orders_go_on() -> None:
        before = process.count("gateway", "frames_out")
        until(lambda: process.count("gateway", "frames_out") >= before + 5, "orders")

    def outages() -> int:
        status = read_status(config)
        return status.outages if status else 0

    def up() -> bool:
        status = read_status(config)
        return status is not None and status.up and status.events > 0

    def seen() -> dict[str, int]:
        """What `hotpath stat` has of the projector."""
        view = EngineView(engine)
        try:
            return view.snapshot().sides["projector"].counters
        finally:
            view.close()

    try:
        until(up, "events in SQL")
        until(lambda: seen()["up"] and seen()["events"] > 0, "the projector in stat")
        cluster.end(signal.SIGKILL)
        try:
            until(lambda: outages() == 1, "the outage to be noticed")
            orders_go_on()
            until(lambda: not seen()["up"] and seen()["outages"] == 1, "the outage in stat")
            until(lambda: seen()["lag_events"] > 0 and seen()["lag_ms"] > 0, "a lag in stat that grows")
        finally:
            cluster.start()
        until(up, "the database to be used again")
        until(lambda: seen()["up"], "the same in stat")
        with closing(Database(database_url(config))) as other, other.transaction() as connection:
            connection.execute(text("LOCK TABLE projection_offsets IN ACCESS EXCLUSIVE MODE"))
            orders_go_on()
        process.signal()
        assert process.wait() == 0, process.errors()
    finally:
        process.close()
    assert process.report()["outcome"] == "stopped"
    with closing(Projector.of(config).database) as database, closing(fresh_database(tmp_path)) as quiet:
        Projector(config, database).catch_up()
        Projector(config, quiet).catch_up()
        assert dump(database) == dump(quiet)


@pytest.mark.parametrize(
    ("durability", "deaths"),
    [(None, 2), ("process", 1), pytest.param("power", 1, marks=pytest.mark.soak)],
    ids=["same boot", "other boot", "other boot, synced"],
)
def test_everything_killed_at_once_goes_on_with_the_venues_position(
    durability: str | None, deaths: int, tmp_path: Path, engine: str
) -> None:
    """Every process of a live engine dies in the middle, and the next run carries over and hears the rest.

    With another boot the intent file is of a machine that went down: set aside, or kept where it was synced.
    """
    accounts = [AccountConfig(username="DEMO", drop_copy="DEMODC")]
    quick = {"cooldown_ms": 20, "order_life_ms": 400, "style": "join"}
    with venue(tmp_path, accounts=accounts, **SERVICE) as running:
        config = engine_config(engine, running, tmp_path, topology="fused", busy=busy_config(signal=quick))
        config = with_snapshots(config, running)  # else each run asks for the whole day before it trades
        replace = msgspec.structs.replace
        config = replace(
            config,
            engine=replace(config.engine, opening="carry"),
            journal=replace(config.journal, enabled=True),
            gateway=replace(config.gateway, durability=durability or "process"),
            reconcile=ReconcileConfig(username="DEMODC", password_file=config.gateway.password_file, interval_s=1),
        )
        held: dict[int, int] = {}
        for last in (*[False] * deaths, True):
            process = EngineProcess(config, tmp_path, "--arm", "--clear-kill", "the test goes on")
            try:
                process.wait_trading(fills=4)
                if last:
                    process.signal()
                    assert process.wait() == 0, process.errors()
                else:
                    family = psutil.Process(process.process.pid)
                    for each in [*family.children(recursive=True), family]:
                        os.kill(each.pid, signal.SIGKILL)
                    process.wait()
                    if durability is not None:
                        with intents_path(config).open("r+b") as file:
                            file.seek(BOOT_ID.start)
                            file.write(bytes(BOOT_ID.stop - BOOT_ID.start))
            finally:
                process.close()
            folder = last_run(config)
            assert folder is not None
            journal = Journal(folder)
            assert all((each / "intents").exists() for each in runs_of(config)[:-1]), (
                "one that was cut off keeps its own"
            )
            opening = journal.events("adjust")
            opening = opening[opening["id"] != 0]  # others hold an instrument
            told = dict(zip(opening["header"]["instrument"].tolist(), opening["quantity_lots"].tolist(), strict=True))
            assert told == held
            ledger = fold_journal(journal)
            held = {index: position.lots for index, position in ledger.positions.items() if position.lots}
        status = reconciled(status_path(config), config.engine.name)
        symbols = [symbol.decode() for symbol in journal.instruments["symbol"].tolist()]
    assert {symbols[index]: lots for index, lots in held.items()} == {
        symbol: lots for symbol, lots in status.there.items() if lots
    }
    assert not status.breaks


def fresh_database(folder: Path) -> Database:
    """An empty one beside it."""
    return Database(URL.create("sqlite", database=str(folder / "fresh.db")))


def signed(word: int) -> int:
    return word - 2**64 if word >= 2**63 else word


def test_adjustment_is_told_once_though_the_gateway_dies(day: Path, tmp_path: Path, engine: str) -> None:
    config = ledger_config(day, tmp_path, engine)
    replace = msgspec.structs.replace
    config = replace(
        config,
        engine=replace(config.engine, topology="split", wait="park"),
        projection=replace(config.projection, enabled=False),
    )
    symbol = symbols_of(config)[0]
    process = EngineProcess(config, tmp_path, "--arm")
    try:
        until(lambda: process.count("gateway", "fills") >= 2, "fills")
        dead = 0
        for _ in range(2):
            until(lambda: alive(process.pid_of("gateway")) and process.pid_of("gateway") != dead, "a gateway")  # noqa: B023
            say(config, symbol, 10)
            dead = process.pid_of("gateway")
            os.kill(dead, signal.SIGKILL)
            until(lambda: not AdjustmentFile(adjustments_path(config)).pending(), "the adjustment to be told")
        until(lambda: alive(process.pid_of("gateway")) and process.pid_of("gateway") != dead, "a gateway")
        process.signal()
        assert process.wait() == 0, process.errors()
    finally:
        process.close()
    folder = last_run(config)
    assert folder is not None
    events = Journal(folder).events("exec")
    adjusted = events[events["header"]["type"] == lib.EXEC_ADJUSTED]
    assert adjusted["match_id"].tolist() == [1, 2]

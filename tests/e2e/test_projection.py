"""The projection is the journal's fold, exactly, whatever happens to it or to its database on the way."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import URL, text

from ffi import lib
from hotctl.errors import DatabaseDownError, ProjectionError
from hotctl.projection import tables
from hotctl.projection.database import Database, database_url
from hotctl.projection.projector import Projector, read_status
from hotctl.projection.status import look, rebuild, take_snapshot
from hotpath.config import Config, config_toml
from hotpath.journal import Journal
from tests.support.databases import Cluster, dump
from tests.support.engines import until
from tests.support.ledger_oracle import Happening, LedgerOracle
from tests.support.trading_journal import INSTRUMENTS, SECOND_NS, TICK_VALUES, TradingJournal, projected_config

REPOSITORY = Path(__file__).resolve().parents[2]
DATABASES = ["sqlite", "postgresql"]


@pytest.fixture(autouse=True)
def _connections_closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test leaves a connection open."""
    opened: list[Database] = []
    make = Database.__init__

    def remember(self: Database, url: URL) -> None:
        make(self, url)
        opened.append(self)

    monkeypatch.setattr(Database, "__init__", remember)
    yield
    for database in opened:
        database.close()


@pytest.fixture(params=DATABASES)
def config(request: pytest.FixtureRequest, tmp_path: Path) -> Config:
    """A configuration with an empty database of each kind."""
    options: dict[str, Any] = {"batch_events": 100, "interval_ms": 10}
    if request.param == "postgresql":
        server: Cluster = request.getfixturevalue("cluster")
        options["dsn"] = server.create(f"t{abs(hash(request.node.nodeid)) % 10**12}")
    return projected_config(tmp_path, **options)


@pytest.fixture
def sqlite_config(tmp_path: Path) -> Config:
    return projected_config(tmp_path, batch_events=100, interval_ms=10)


def fresh_dump(config: Config, folder: Path) -> dict[str, list[tuple[Any, ...]]]:
    """What a projection of the same journals is, made in one go and in peace."""
    quiet = Database(database_url(projected_config(folder)))
    projector = Projector(config, quiet)
    projector.catch_up()
    return dump(quiet)


def assert_exact(config: Config, database: Database, tmp_path: Path) -> None:
    found, wanted = dump(database), fresh_dump(config, tmp_path / "fresh")
    for name, rows in wanted.items():
        assert found[name] == rows, name


# ---- what the tables say ------------------------------------------------------------------------------


def oracle_of(journal: Journal) -> tuple[LedgerOracle, set[int]]:
    """What stands, by a plain walk over the executions."""
    oracle, makers, last = LedgerOracle(TICK_VALUES), set(), 0
    ring = journal.events("adjust")
    for event in journal.events("exec"):
        kind, number = int(event["header"]["type"]), int(event["session_sequence"])
        instrument, order, match = int(event["header"]["instrument"]), int(event["order_id"]), int(event["match_id"])
        if number and number <= last:
            continue
        last = number or last
        lots = int(event["quantity_lots"]) * (-1 if event["side"] == lib.SIDE_SELL else 1)
        if kind == lib.EXEC_FILL:
            oracle.fill(Happening(instrument, lots, int(event["price_ticks"]), order, match))
            makers |= {match} if event["liquidity"] == ord("A") else set()
        elif kind == lib.EXEC_BROKEN:
            oracle.broken(order, match)
        elif kind == lib.EXEC_CORRECTED:
            oracle.corrected(order, match, int(event["price_ticks"]))
        elif kind == lib.EXEC_ADJUSTED:
            record = ring[int(event["header"]["cause_sequence"])]
            oracle.fill(
                Happening(instrument, lots, None, cost=int(record["cost_micros"]), cash=int(record["cash_micros"]))
            )
    return oracle, makers


def test_positions_profit_and_fees_are_those_of_an_oracle_in_fractions(config: Config) -> None:
    run = TradingJournal(config, seed=3)
    run.grow(400)
    run.end()
    projector = Projector.of(config)
    projector.catch_up()
    oracle, makers = oracle_of(Journal(run.folder))
    with projector.database.transaction() as connection:
        rows = {row.instrument: row for row in connection.execute(text("SELECT * FROM positions"))}
    assert len(rows) == INSTRUMENTS
    for instrument, row in rows.items():
        holding = oracle.holding(instrument)
        assert row.lots == holding.lots and row.symbol == f"SYM{instrument}"
        assert abs(row.cost_micros - holding.cost) <= Fraction(1, 2)
        assert abs(row.realised_micros - holding.realised) <= Fraction(1, 2)
        fees = oracle.fees(instrument, maker=-2000, taker=3000, sell=166, ppb=0, makers=makers)
        sold = [
            round(Fraction(abs(h.lots) * h.price * TICK_VALUES[instrument] * 27_800, 10**9))
            for h in oracle.standing
            if h.instrument == instrument and h.price is not None and h.lots < 0
        ]
        assert row.fees_micros == fees + sum(sold)
        market = row.lots * row.mark_ticks * TICK_VALUES[instrument]
        assert row.mark_ticks and row.realised_micros + row.unrealised_micros == row.cash_micros + market


def test_every_order_event_is_in_the_audit_trail_once_and_orders_end_as_told(config: Config) -> None:
    run = TradingJournal(config, seed=4)
    run.grow(150)
    run.end()
    projector = Projector.of(config)
    projector.catch_up()
    journal = Journal(run.folder)
    with projector.database.transaction() as connection:
        trail = list(connection.execute(text("SELECT * FROM order_audit_trail ORDER BY ring, sequence")))
        orders = {row.order_id: row for row in connection.execute(text("SELECT * FROM orders"))}
        signals = list(connection.execute(text("SELECT * FROM signals ORDER BY sequence")))
    for ring in ("cmd", "exec", "reject"):
        events = journal.events(ring)
        rows = [row for row in trail if row.ring == ring]
        assert [row.sequence for row in rows] == list(range(len(events)))
        assert [row.time_ns for row in rows] == events["header"]["publish_time_ns"].tolist()
        assert [row.quantity_lots for row in rows] == events["quantity_lots"].tolist()
        assert [row.order_id or 0 for row in rows] == events["order_id"].tolist()
    assert len(trail) == sum(journal.count(ring) for ring in ("cmd", "exec", "reject"))
    commands = journal.events("cmd")
    assert set(orders) == set(commands["order_id"].tolist())
    final: dict[int, tuple[str, int]] = {}
    words = {lib.EXEC_ACCEPTED: "open", lib.EXEC_FILL: "open", lib.EXEC_CANCELED: "open", lib.EXEC_REJECTED: "rejected"}
    for event in journal.events("exec"):
        kind, leaves = int(event["header"]["type"]), int(event["leaves_lots"])
        if kind in words:
            done = {lib.EXEC_FILL: "filled", lib.EXEC_CANCELED: "canceled"}.get(kind, words[kind])
            final[int(event["order_id"])] = (words[kind] if leaves else done, leaves)
    assert {order: (row.state, row.leaves_lots) for order, row in orders.items()} == final
    assert [row.order_id for row in signals] == list(range(1, len(signals) + 1))


def test_growing_journal_in_any_steps_leads_to_the_same_tables(config: Config, tmp_path: Path) -> None:
    draw = random.Random(5)
    projector = Projector.of(config)
    for number in range(3):
        run = TradingJournal(config, seed=number, run=number, step_ns=60 * SECOND_NS)
        for _ in range(8):
            run.grow(draw.randint(1, 12), flush=draw.random() < 0.7)
            for _ in range(draw.randint(0, 4)):
                projector.turn()
            if draw.random() < 0.2:
                projector = Projector.of(config)  # one process after another
        if number != 1:
            run.end()  # the second one is cut off
        else:
            run.flush()
    projector.catch_up()
    assert_exact(config, projector.database, tmp_path)
    with projector.database.transaction() as connection:
        kinds = connection.execute(
            text("SELECT kind, count(*) FROM position_snapshots GROUP BY kind ORDER BY kind")
        ).all()
    assert [kind for kind, _ in kinds] == ["end", "hourly"]
    assert not look(config, projector.database).lag_events


def test_hourly_snapshot_is_the_position_of_all_that_came_before_the_hour(config: Config) -> None:
    run = TradingJournal(config, seed=9, step_ns=80 * SECOND_NS)
    run.grow(150)
    run.end()
    projector = Projector.of(config)
    projector.catch_up()
    journal = Journal(run.folder)
    events = journal.events("exec")
    with projector.database.transaction() as connection:
        rows = list(connection.execute(text("SELECT * FROM position_snapshots WHERE kind = 'hourly'")))
    hours = {row.taken_ns for row in rows}
    assert len(hours) >= 2 and all(hour % (3600 * SECOND_NS) == 0 for hour in hours)
    for row in rows:
        before = events[events["header"]["publish_time_ns"] < row.taken_ns]
        assert row.exec_sequence == len(before)
        oracle, _ = oracle_of_events(before, journal)
        assert row.lots == oracle.holding(row.instrument).lots


def oracle_of_events(events: Any, journal: Journal) -> tuple[LedgerOracle, set[int]]:
    class Part:
        def events(self, ring: str) -> Any:
            return events if ring == "exec" else journal.events(ring)

    return oracle_of(Part())  # type: ignore[arg-type]


# ---- the database's own part --------------------------------------------------------------------------


def test_migrations_lead_to_the_tables_of_the_code(config: Config) -> None:
    database = Database(database_url(config))
    with database.transaction() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []


def test_audit_trail_can_only_grow(config: Config) -> None:
    run = TradingJournal(config)
    run.grow(10)
    projector = Projector.of(config)
    projector.catch_up()
    before = dump(projector.database)["order_audit_trail"]
    statements = ["UPDATE order_audit_trail SET quantity_lots = 1", "DELETE FROM order_audit_trail"]
    if projector.database.dialect == "sqlite":
        statements.append("INSERT OR REPLACE INTO order_audit_trail SELECT * FROM order_audit_trail LIMIT 1")
    else:
        statements.append("TRUNCATE order_audit_trail")
    for statement in statements:
        with pytest.raises(DatabaseDownError, match="append-only"), projector.database.transaction() as connection:
            connection.execute(text(statement))
    assert before and dump(projector.database)["order_audit_trail"] == before


def test_tables_of_a_later_release_are_left_alone(config: Config) -> None:
    database = Database(database_url(config))
    with database.transaction() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    with pytest.raises(ProjectionError, match="another release"):
        Projector.of(config).database.transaction().__enter__()
    rebuild(config, Database(database_url(config)))
    Projector.of(config).catch_up()


def test_two_projectors_at_once_project_each_event_once(config: Config, tmp_path: Path) -> None:
    run = TradingJournal(config, seed=6)
    run.grow(300)
    run.end()
    projectors = [Projector.of(config) for _ in range(2)]
    draw = random.Random(1)

    def work(projector: Projector) -> None:
        for _ in range(2000):
            try:
                if not projector.turn():
                    return
            except DatabaseDownError:  # the other one held the lock for too long
                time.sleep(0.01)

    threads = [threading.Thread(target=work, args=(projector,)) for projector in projectors]
    for thread in threads:
        thread.start()
        time.sleep(draw.random() / 50)
    for thread in threads:
        thread.join()
    assert_exact(config, projectors[0].database, tmp_path)


def test_what_another_commits_is_seen_whole_or_not_at_all(config: Config) -> None:
    run = TradingJournal(config, seed=7)
    run.grow(20)
    run.end()
    Projector.of(config).catch_up()
    looking, writing = (Database(database_url(config)) for _ in range(2))
    count = text("SELECT count(*) FROM projection_offsets")
    with looking.transaction(snapshot=True) as connection:
        before = connection.execute(count).scalar()
        try:
            with writing.transaction() as other:
                other.execute(text("DELETE FROM projection_offsets"))
        except DatabaseDownError:
            assert looking.path is not None, "only SQLite lets nobody else write meanwhile"
        assert before and connection.execute(count).scalar() == before


def test_every_later_version_of_the_limits_has_what_it_changed(config: Config) -> None:
    run = TradingJournal(config, seed=3)
    run.grow(600)
    run.end()
    projector = Projector.of(config)
    projector.catch_up()
    with projector.database.transaction() as connection:
        rows = list(connection.execute(text("SELECT version, limits FROM limit_changes ORDER BY version")))
    assert [version for version, _ in rows] == list(range(1, len(rows) + 1)) and len(rows) > 3
    collar = "instrument.SYM1.collar_ppm_max"
    told = [(version, msgspec.json.decode(limits)) for version, limits in rows[1:]]
    standing: Any = told[0][1]["changes"][collar]["before"]
    for version, each in told:
        change = {collar: {"before": standing, "after": 1000 * version}}
        assert each == {"since_version": version - 1, "changes": change}
        standing = 1000 * version


def test_version_waits_for_its_lines(sqlite_config: Config) -> None:
    """Rings are written one after the other: a turn may be on record a moment before what it decided by."""
    run = TradingJournal(sqlite_config, seed=3)
    projector = Projector.of(sqlite_config)
    for _ in range(8):
        run.grow(60, flush=False)
        held = run._pending.pop("changes", [])
        run.flush()
        projector.catch_up()
        run._pending["changes"] = held
        run.flush()
        projector.catch_up()
    with projector.database.transaction() as connection:
        limits = [row.limits for row in connection.execute(text("SELECT limits FROM limit_changes"))]
    assert len(limits) > 3 and all(limits)


def test_snapshot_on_demand_outlives_a_rebuild(config: Config) -> None:
    run = TradingJournal(config, seed=2)
    run.grow(60)
    projector = Projector.of(config)
    projector.catch_up()
    taken = take_snapshot(projector.database, "generated")
    assert taken and {row["symbol"] for row in taken} <= {f"SYM{index}" for index in range(INSTRUMENTS)}
    run.grow(60)
    run.end()
    before = dump(rebuild(config, projector.database).database)
    kept = [row for row in before["position_snapshots"] if "demand" in row]
    assert len(kept) == len(taken)


def test_database_that_is_ahead_of_its_journal_says_what_to_do(sqlite_config: Config) -> None:
    run = TradingJournal(sqlite_config)
    run.grow(30)
    Projector.of(sqlite_config).catch_up()
    for path in run.folder.glob("exec.*"):
        path.unlink()
    with pytest.raises(ProjectionError, match="loss of power") as refused:
        Projector.of(sqlite_config).catch_up()
    assert "rebuild" in refused.value.next_step


def test_secret_is_in_no_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROJECTION_SECRET", "hunter2")
    dsn = "postgresql://someone@127.0.0.1:9/nowhere"
    config = projected_config(tmp_path, dsn=dsn, password_env="PROJECTION_SECRET")
    TradingJournal(config).grow(3)
    projector = Projector.of(config)
    assert projector.database.url.password == "hunter2"
    with pytest.raises(DatabaseDownError) as refused:
        projector.turn()
    projector.trouble = str(refused.value)
    projector.tell(always=True)
    status = read_status(config)
    assert status is not None and "hunter2" not in repr(status) + str(refused.value) + refused.value.next_step
    monkeypatch.delenv("PROJECTION_SECRET")
    with pytest.raises(ProjectionError, match="PROJECTION_SECRET is not set"):
        Projector.of(config)


# ---- outages --------------------------------------------------------------------------------------------


class Follower:
    """A projector that follows in a thread, as its process does."""

    def __init__(self, config: Config) -> None:
        self.projector = Projector.of(config)
        self.config = config
        self._running = True
        self._thread = threading.Thread(target=lambda: self.projector.follow(lambda: self._running))
        self._thread.start()

    def __enter__(self) -> Follower:
        return self

    def __exit__(self, *_: object) -> None:
        self._running = False
        self._thread.join()

    def caught_up(self, run: TradingJournal) -> bool:
        """Whether the database answers and has all that the journal holds."""
        if self.projector.trouble:
            return False
        journal = Journal(run.folder)
        offsets = self.projector._run.offsets if self.projector._run else {}
        return not self.projector.lag()[0] and all(
            offsets.get(ring) == journal.next(ring) for ring in ("exec", "cmd", "norm")
        )


def test_locked_database_is_waited_for_and_caught_up(config: Config, tmp_path: Path) -> None:
    run = TradingJournal(config, seed=7)
    run.grow(40)
    with Follower(config) as follower:
        until(lambda: follower.caught_up(run), "the first events")
        other = Database(database_url(config))
        with other.transaction() as connection:  # SQLite: BEGIN IMMEDIATE is a lock of the whole file
            if other.dialect == "postgresql":
                connection.execute(text("LOCK TABLE orders, order_audit_trail IN ACCESS EXCLUSIVE MODE"))
            run.grow(60)
            until(lambda: follower.projector.trouble, "the lock to be noticed")
            run.grow(60)
            until(lambda: follower.projector.lag()[0] > 0, "a lag")
        until(lambda: follower.caught_up(run), "the catching up")
        assert follower.projector.outages >= 1
    run.end()
    follower.projector.catch_up()
    assert_exact(config, follower.projector.database, tmp_path)


def test_deleted_sqlite_file_is_made_again_whole(sqlite_config: Config, tmp_path: Path) -> None:
    run = TradingJournal(sqlite_config, seed=8)
    with Follower(sqlite_config) as follower:
        path = follower.projector.database.path
        assert path is not None
        for _ in range(2):
            run.grow(20)
            until(lambda: follower.caught_up(run), "the events")
            path.unlink()
            run.grow(20)
            until(lambda: path.exists() and follower.caught_up(run), "the file, and all that belongs in it")
    run.end()
    follower.projector.catch_up()
    assert_exact(sqlite_config, follower.projector.database, tmp_path)


def test_killed_and_restarted_postgresql_is_caught_up_exactly(cluster: Cluster, tmp_path: Path) -> None:
    dsn = cluster.create("killed")
    config = projected_config(tmp_path, dsn=dsn, batch_events=100, interval_ms=10)
    run = TradingJournal(config, seed=10)
    with Follower(config) as follower:
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL, signal.SIGQUIT):
            run.grow(150)
            until(lambda: follower.projector.events > 0, "a first transaction")
            cluster.end(number)
            run.grow(60)
            until(lambda: follower.projector.trouble, "the outage to be noticed")
            cluster.start()
            until(lambda: not follower.projector.trouble, "the end of the outage")
        until(lambda: follower.caught_up(run), "the catching up")
        assert follower.projector.outages >= 3
    run.end()
    follower.projector.catch_up()
    assert_exact(config, follower.projector.database, tmp_path)


def test_projector_killed_at_random_instants_projects_each_event_once(config: Config, tmp_path: Path) -> None:
    run = TradingJournal(config, seed=11)
    run.grow(300)
    run.end()
    path = tmp_path / "engine.toml"
    path.write_text(config_toml(config))
    draw = random.Random(2)
    killed = 0
    for _ in range(2):
        command = [sys.executable, "-m", "hotctl", "projection", "follow", str(path), "--once"]
        environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'control'}"}
        process = subprocess.Popen(
            command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        before = rows_of(config)
        deadline = time.monotonic() + 20
        while rows_of(config) == before and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(draw.random() / 20)
        killed += process.poll() is None
        process.kill()
        process.communicate()
    assert killed
    projector = Projector.of(config)
    projector.catch_up()
    assert_exact(config, projector.database, tmp_path)


def rows_of(config: Config) -> int:
    """Rows of the trail, by a connection of one's own."""
    url = database_url(config)
    if url.get_backend_name() == "sqlite":
        try:
            with sqlite3.connect(f"file:{url.database}?mode=ro", uri=True, timeout=5) as connection:
                return int(connection.execute("SELECT count(*) FROM order_audit_trail").fetchone()[0])
        except sqlite3.OperationalError:
            return 0
    with closing(Database(url)) as database, database.transaction() as session:
        return int(session.execute(text("SELECT count(*) FROM order_audit_trail")).scalar_one())


# ---- the command line -----------------------------------------------------------------------------------


def hotctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'control'}"}
    return subprocess.run(
        [sys.executable, "-m", "hotctl", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_commands_tell_make_and_keep(sqlite_config: Config, tmp_path: Path) -> None:
    path = tmp_path / "engine.toml"
    path.write_text(config_toml(sqlite_config))
    run = TradingJournal(sqlite_config)
    run.grow(40)
    behind = hotctl("projection", "status", str(path), "--json")
    assert behind.returncode == 1 and msgspec.json.decode(behind.stdout)["lag_events"] == sum(run.count.values())
    assert hotctl("projection", "follow", str(path), "--once").returncode == 0
    status = hotctl("projection", "status", str(path))
    assert status.returncode == 0 and "order_audit_trail" in status.stdout, status.stderr
    snapshot = hotctl("projection", "snapshot", str(path), "--json")
    assert msgspec.json.decode(snapshot.stdout)["positions"], snapshot.stderr
    rebuilt = hotctl("projection", "rebuild", str(path), "--json")
    assert msgspec.json.decode(rebuilt.stdout)["events"] == sum(run.count.values()), rebuilt.stderr

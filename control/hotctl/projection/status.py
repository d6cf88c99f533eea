"""Looking at a projection, taking a snapshot of its positions, and making it from nothing again."""

from __future__ import annotations

import getpass
import os
import time
from dataclasses import dataclass, field
from typing import Any

import psutil
from sqlalchemy import func, select

from hotctl.errors import ProjectionError
from hotctl.projection import tables
from hotctl.projection.database import Database, insert_rows, upsert_rows
from hotctl.projection.projector import Projector, ProjectorStatus, read_status, run_folders
from hotctl.projection.run import RINGS
from hotpath.config import Config
from hotpath.journal import Journal


@dataclass
class RunStatus:
    """One run: what its journal holds and what the database has."""

    run_epoch: int
    folder: str
    complete: bool
    projected: dict[str, int] = field(default_factory=dict)
    journaled: dict[str, int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)

    @property
    def lag_events(self) -> int:
        """Events that the database does not have yet."""
        return sum(max(0, self.journaled[ring] - self.projected.get(ring, 0)) for ring in self.journaled)


@dataclass
class Status:
    """A whole projection."""

    database: str
    rows: dict[str, int]
    runs: list[RunStatus]
    projector: ProjectorStatus | None
    projector_lives: bool

    @property
    def lag_events(self) -> int:
        """Over all runs."""
        return sum(run.lag_events for run in self.runs)


def look(config: Config, database: Database) -> Status:
    """What is there and what is missing. Raises DatabaseDownError."""
    with database.transaction() as connection:
        rows = {
            table.name: int(connection.execute(select(func.count()).select_from(table)).scalar_one())
            for table in tables.metadata.sorted_tables
        }
        known = {int(row.run_epoch): row for row in connection.execute(select(tables.runs))}
        offsets: dict[int, dict[str, tuple[int, int]]] = {}
        for row in connection.execute(select(tables.projection_offsets)):
            offsets.setdefault(int(row.run_epoch), {})[row.ring] = (int(row.next_sequence), int(row.lost))
    runs = []
    for folder in run_folders(config):
        journal = Journal(folder)
        epoch = int(journal.run.run_epoch)
        found = offsets.pop(epoch, {})
        runs.append(
            RunStatus(
                epoch,
                str(folder),
                bool(known[epoch].complete) if epoch in known else False,
                {ring: sequence for ring, (sequence, _) in found.items()},
                {ring: journal.next(ring) for ring in RINGS},
                {ring: lost for ring, (_, lost) in found.items() if lost},
            )
        )
    status = read_status(config)
    lives = status is not None and psutil.pid_exists(status.pid) and time.time_ns() - status.at_ns < 10 * 10**9
    return Status(database.shown, rows, runs, status, lives)


def take_snapshot(database: Database, engine: str) -> list[dict[str, Any]]:
    """The positions of the engine's last run as they are projected now, kept in position_snapshots."""
    asked_by = f"{getpass.getuser()} ({os.getpid()})"
    with database.transaction() as connection:
        runs, positions, offsets = tables.runs, tables.positions, tables.projection_offsets
        last = connection.execute(select(func.max(runs.c.run_epoch)).where(runs.c.engine == engine)).scalar_one()
        if last is None:
            raise ProjectionError(
                f"{database.shown}: no run of engine {engine} is projected", next_step="hotctl projection follow CONFIG"
            )
        reached = dict(
            connection.execute(select(offsets.c.ring, offsets.c.next_sequence).where(offsets.c.run_epoch == last)).all()
        )
        rows = list(connection.execute(select(positions).where(positions.c.run_epoch == last).order_by("instrument")))
        taken_ns = time.time_ns()
        insert_rows(
            connection,
            tables.position_snapshots,
            [
                (
                    last, taken_ns, row.instrument, "demand", asked_by, row.symbol, row.lots, row.cost_micros,
                    row.cash_micros, row.realised_micros, row.unrealised_micros, row.fees_micros, row.mark_ticks,
                    reached["exec"], reached["norm"],
                )
                for row in rows
            ],
        )  # fmt: skip
        return [dict(row._mapping) for row in rows]


def rebuild(config: Config, database: Database) -> Projector:
    """Drop every table and project every journal that is left. Snapshots that people asked for are kept where the
    old tables can be read: no journal tells of them."""
    kept: list[Any] = []
    snapshots = tables.position_snapshots
    try:
        with database.transaction() as connection:
            kept = list(connection.execute(select(snapshots).where(snapshots.c.kind == "demand")))
    except ProjectionError:
        kept = []  # away, or of another release: there is nothing to carry over
    database.drop()
    projector = Projector(config, database)
    projector.catch_up()
    with database.transaction() as connection:
        upsert_rows(connection, snapshots, [tuple(row) for row in kept])
    return projector

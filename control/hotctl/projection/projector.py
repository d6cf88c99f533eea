"""All runs of an engine, the oldest first, then the one that goes on: follow the journal, survive the database.

An outage of any kind (away, locked, killed, deleted) throws the state in memory away; when the database answers again,
what it holds is read back and the journal is taken up from its offsets. Meanwhile the lag grows, and is told.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from hotctl.errors import DatabaseDownError
from hotctl.projection.database import Database, database_url
from hotctl.projection.run import RINGS, OffsetsMovedError, RunProjection
from hotpath.config import Config
from hotpath.errors import HotpathError, JournalError
from hotpath.journal import Journal, journal_root
from hotpath.journal.format import RUN_FILE

BACK_OFF_SECONDS = (0.1, 5.0)  # after an outage, doubled up to the second
STATUS_SECONDS = 1.0


class ProjectorStatus(msgspec.Struct):
    """What a projector says of itself, once a second, in a file beside the engine's others."""

    pid: int
    at_ns: int
    database: str
    up: bool = True
    trouble: str = ""  # of the last outage
    outages: int = 0
    run_epoch: int = 0
    events: int = 0  # since it started
    lag_events: int = 0  # in the journal, and not in the database
    lag_seconds: float = 0.0  # since the oldest of them was published


def status_path(config: Config) -> Path:
    """Where that file lies."""
    return Path(config.engine.state_dir) / f"{config.engine.name}.projector.json"


def run_folders(config: Config, current: Path | None = None) -> list[Path]:
    """The journals of an engine, the oldest first; `current` lies elsewhere perhaps."""
    root = journal_root(config)
    found = {path.parent for path in root.glob(f"*/{RUN_FILE}")} if root.is_dir() else set()
    if current is not None and (current / RUN_FILE).exists():
        found.add(current)
    if (root / RUN_FILE).exists():
        found.add(root)  # a journal that was recorded straight into it
    return sorted(found, key=_epoch_of)


def _epoch_of(folder: Path) -> int:
    suffix = folder.name.rpartition("-")[2]
    if suffix.isdecimal():
        return int(suffix)
    return int(Journal(folder).run.run_epoch)


@dataclass
class Projector:
    """``while running: projector.turn() or wait``."""

    config: Config
    database: Database
    current: Path | None = None
    told: Callable[[ProjectorStatus], None] | None = None  # hears each status too
    events: int = 0
    outages: int = 0
    trouble: str = ""
    _run: RunProjection | None = None
    _loaded: bool = False
    _done: set[Path] = field(default_factory=set)
    _told_at: float = 0.0

    @staticmethod
    def of(
        config: Config, *, current: Path | None = None, told: Callable[[ProjectorStatus], None] | None = None
    ) -> Projector:
        """With the database that the configuration names."""
        return Projector(config, Database(database_url(config)), current, told)

    def turn(self) -> bool:
        """One transaction; False when there is nothing to project. Raises DatabaseDownError."""
        if self.database.replaced():
            self._start_over()
        run = self._choose_run()
        if run is None:
            return False
        try:
            if not self._loaded:
                with self.database.transaction(snapshot=True) as connection:  # of another's commit all or nothing
                    run.load(connection)
                self._loaded = True
            moved = self._project(run)
        except OffsetsMovedError:
            self._loaded = False
            return True
        except BaseException:
            self._loaded = False
            raise
        if run.complete:
            self._done.add(run.journal.folder)
            self._run, self._loaded = None, False
            return True
        return moved

    def _project(self, run: RunProjection) -> bool:
        if run.complete:
            return False
        plan = run.plan()
        if not (plan.count or plan.snapshot or plan.complete):
            return False
        with self.database.transaction() as connection:
            run.write(connection, plan)
        run.committed(plan)
        self.events += plan.count
        return True

    def _start_over(self) -> None:
        """The database is another one: nothing that is known of it holds."""
        self.database.close()
        self._done.clear()
        self._run, self._loaded = None, False

    def _choose_run(self) -> RunProjection | None:
        """The oldest that is not whole in the database; one that has a successor will not grow."""
        folders = run_folders(self.config, self.current)
        for index, folder in enumerate(folders):
            if folder in self._done:
                continue
            final = index < len(folders) - 1
            if self._run is None or self._run.journal.folder != folder:
                self._run, self._loaded = RunProjection(Journal(folder), self.config.projection), False
            self._run.final = final
            return self._run
        return None

    def catch_up(self, *, seconds: float | None = None) -> bool:
        """Project until there is nothing more; False when the time was over first. Raises DatabaseDownError."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while self.turn():
            self.tell()
            if deadline is not None and time.monotonic() > deadline:
                return False
        return True

    def follow(self, running: Callable[[], bool]) -> None:
        """Project what is there and what comes, through every outage, while `running` says so."""
        pause = BACK_OFF_SECONDS[0]
        while running():
            try:
                moved = self.turn()
                if self.trouble:
                    print("projector: the database answers again", file=sys.stderr)
                self.trouble, pause = "", BACK_OFF_SECONDS[0]
            except DatabaseDownError as error:
                self._note_outage(error)
                moved = False
                self.tell()
                _sleep(pause, running)
                pause = min(2 * pause, BACK_OFF_SECONDS[1])
                continue
            except (JournalError, OSError) as error:  # retention took a segment while it was read, or a disk failed
                self._note_outage(error)
                moved = False
            self.tell()
            if not moved:
                _sleep(self.config.projection.interval_ms / 1000, running)

    def _note_outage(self, error: Exception) -> None:
        if not self.trouble:
            self.outages += 1
            print(f"projector: {error}", file=sys.stderr)
        self.trouble = str(error)

    # ---- what it says of itself ----------------------------------------------------------------------

    def lag(self) -> tuple[int, float]:
        """Events of the journal that are not in the database, and since when the oldest of them waits, in seconds."""
        run = self._run
        if run is None:
            return 0, 0.0
        if self.trouble:  # nothing is planned, so nobody has looked at the journal
            try:
                run.journal.refresh()
            except (JournalError, OSError) as error:
                self.trouble = str(error)
        events = sum(max(0, run.journal.next(ring) - run.offsets.get(ring, 0)) for ring in RINGS)
        return events, run.waiting_seconds()

    def tell(self, *, always: bool = False) -> None:
        """Write the status file, at most once a second."""
        now = time.monotonic()
        if not always and now - self._told_at < STATUS_SECONDS:
            return
        self._told_at = now
        events, seconds = self.lag()
        status = ProjectorStatus(
            pid=os.getpid(),
            at_ns=time.time_ns(),
            database=self.database.shown,
            up=not self.trouble,
            trouble=self.trouble,
            outages=self.outages,
            run_epoch=self._run.run_epoch if self._run else 0,
            events=self.events,
            lag_events=events,
            lag_seconds=round(seconds, 3),
        )
        if self.told is not None:
            self.told(status)
        path = status_path(self.config)
        beside = path.with_name(f"{path.name}.{os.getpid()}.new")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            beside.write_bytes(msgspec.json.encode(status))
            beside.rename(path)
        except OSError as error:  # the projection matters, what is said of it does not
            print(f"projector: {path}: {error.strerror}", file=sys.stderr)


def _sleep(seconds: float, running: Callable[[], bool]) -> None:
    deadline = time.monotonic() + seconds
    while running() and (left := deadline - time.monotonic()) > 0:
        time.sleep(min(left, 0.1))


def read_status(config: Config) -> ProjectorStatus | None:
    """What the last projector said; None when there was none, or it cannot be read."""
    try:
        return msgspec.json.decode(status_path(config).read_bytes(), type=ProjectorStatus)
    except (OSError, msgspec.MsgspecError):
        return None


def explain(error: HotpathError) -> str:
    """One line for a log."""
    return f"{error} ({error.next_step})" if error.next_step else str(error)

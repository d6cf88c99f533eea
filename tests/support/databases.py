"""Real databases for tests: a PostgreSQL cluster of the test's own on a unix socket; what a projection holds."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import select

from hotctl.projection import tables
from hotctl.projection.database import Database

START_SECONDS = 30.0
NOT_COMPARED = {"runs": ("folder",)}  # where the journal lies is not what it says


def postgresql_programs() -> Path | None:
    """The folder of initdb and postgres; None where PostgreSQL is not installed."""
    found = [Path(path).resolve().parent for path in [shutil.which("initdb")] if path]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in found if (folder / "postgres").exists()), None)


class Cluster:
    """One PostgreSQL server, killable."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._folder = folder
        self._data = folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._as_user: list[str] = []
        if os.geteuid() == 0:  # initdb refuses root
            user = next(name for name in ("postgres", "nobody") if _user_exists(name))
            entry = pwd.getpwnam(user)
            os.chown(folder, entry.pw_uid, entry.pw_gid)
            self._as_user = ["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups"]
        self._run(
            "initdb", "-D", str(self._data), "-U", "hotpath", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C"
        )

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [*self._as_user, str(self._programs / program), *arguments], check=True, capture_output=True,
            cwd=self._folder, timeout=60,
        )  # fmt: skip

    def dsn(self, database: str) -> str:
        """Address of one database of the server."""
        return f"postgresql://hotpath@/{database}?host={self._folder}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        settings = {
            "unix_socket_directories": str(self._folder), "listen_addresses": "", "fsync": "off",
            "shared_buffers": "16MB", "max_connections": "20", "autovacuum": "off",
        }  # fmt: skip
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._as_user, str(self._programs / "postgres"), "-D", str(self._data), *options],
                cwd=self._folder, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while subprocess.run(
            [str(self._programs / "pg_isready"), "-q", "-h", str(self._folder)], check=False, timeout=10
        ).returncode:
            assert time.monotonic() < deadline and self._process.poll() is None, (self._folder / "log").read_text()
            time.sleep(0.05)

    def end(self, number: int = signal.SIGINT) -> None:
        """Stop it: SIGINT cuts connections in order, SIGQUIT lets all its processes die, SIGKILL kills the group."""
        if self._process is None:
            return
        if number == signal.SIGKILL:
            os.killpg(self._process.pid, signal.SIGKILL)
        else:
            self._process.send_signal(number)
        self._process.wait(timeout=30)
        self._process = None
        if number == signal.SIGKILL:
            _await_orphans(self._data)

    def create(self, database: str) -> str:
        """Make an empty database; returns its address."""
        self._run("createdb", "-h", str(self._folder), "-U", "hotpath", database)
        return self.dsn(database)


def _user_exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _await_orphans(data: Path) -> None:
    """A server that was killed is started again when its processes have let go of its memory."""
    (data / "postmaster.pid").unlink(missing_ok=True)
    time.sleep(0.1)


@contextmanager
def postgresql_cluster() -> Iterator[Cluster]:
    """A server of one's own, in a folder that its user can reach."""
    programs = postgresql_programs()
    assert programs is not None, "the caller looked"
    folder = Path(tempfile.mkdtemp(prefix="hotpath-postgresql-"))
    cluster = None
    try:
        cluster = Cluster(programs, folder)
        cluster.start()
        yield cluster
    finally:
        if cluster is not None:
            cluster.end(signal.SIGQUIT)
        shutil.rmtree(folder, ignore_errors=True)


def dump(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table, sorted."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    with database.transaction() as connection:
        for table in tables.metadata.sorted_tables:
            columns = [column for column in table.columns if column.name not in NOT_COMPARED.get(table.name, ())]
            rows = connection.execute(select(*columns))
            found[table.name] = sorted((tuple(row) for row in rows), key=repr)
    return found

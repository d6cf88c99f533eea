"""The database: how it is reached, how it is made ready, and how rows go in quickly.

    [projection] dsn = ""              SQLite, ENGINE.projection.db in engine.state_dir: nothing to set up
    [projection] dsn = "postgresql://user@host/name", password_env = "NAME of the variable that holds the secret"

Every connection is bounded in time, so that a database that is locked or away shows as DatabaseDownError and never as
a process that hangs. No message holds the secret.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hotctl.errors import DatabaseDownError, DriverMissingError, ProjectionError
from hotpath.config import Config

try:
    import alembic.command
    import alembic.config
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from sqlalchemy import Connection, Engine, Table, create_engine, event, text
    from sqlalchemy.engine import URL, make_url
    from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError
    from sqlalchemy.exc import TimeoutError as PoolTimeoutError

    from hotctl.projection import tables
except ModuleNotFoundError as error:
    raise DriverMissingError(
        f"the projection needs the package {error.name}", next_step="pip install 'hotpath-engine[sql]'"
    ) from None

SQLITE = "sqlite"
POSTGRESQL = "postgresql"
CONNECT_SECONDS = 3
LOCK_MS = 1000  # until a lock that somebody else holds counts as an outage
STATEMENT_MS = 60_000
SQLITE_PARAMETERS = 500  # names in one IN (...): fewer than any build of SQLite allows
OWNER_ONLY = 0o077
LOCKED_NAMES = "hotpath.projection.migration"
MIGRATIONS = Path(__file__).parent / "migrations"


def database_path(config: Config) -> Path:
    """The SQLite file, where no other database is named."""
    return Path(config.engine.state_dir) / f"{config.engine.name}.projection.db"


def database_url(config: Config) -> URL:
    """Where the projection goes; the secret comes from the environment. Raises ProjectionError."""
    if not config.projection.dsn:
        return URL.create(SQLITE, database=str(database_path(config)))
    try:
        url = make_url(config.projection.dsn)
    except ArgumentError:
        raise ProjectionError(
            "projection.dsn: is no database address", next_step='as "postgresql://user@host:5432/name"'
        ) from None
    if url.get_backend_name() == POSTGRESQL:
        url = url.set(drivername="postgresql+psycopg")
    variable = config.projection.password_env
    if variable:
        if variable not in os.environ:
            raise ProjectionError(
                f"projection.password_env: the environment variable {variable} is not set",
                next_step=f"export {variable} before starting",
            )
        url = url.set(password=os.environ[variable])
    return url


_MIGRATING = threading.Lock()  # alembic keeps what it works on in a module: one migration at a time in a process


class Database:
    """One database, opened when it is first needed and again after each outage."""

    def __init__(self, url: URL) -> None:
        self.url = url
        self.dialect = url.get_backend_name()
        if self.dialect not in (SQLITE, POSTGRESQL):
            raise ProjectionError(f"projection.dsn: {self.dialect}: only sqlite and postgresql are known here")
        self._engine: Engine | None = None
        self._file: tuple[int, int] | None = None  # device and inode of the SQLite file that is open

    @property
    def shown(self) -> str:
        """The address without its secret."""
        return self.url.render_as_string(hide_password=True)

    @property
    def path(self) -> Path | None:
        """The SQLite file; None for a server."""
        return Path(self.url.database) if self.dialect == SQLITE and self.url.database else None

    def close(self) -> None:
        """Let every connection go; the next use opens a new one."""
        if self._engine is not None:
            self._engine.dispose()
        self._engine, self._file = None, None

    def replaced(self) -> bool:
        """Whether the SQLite file that is open is not the one that lies there now: deleted, or another one."""
        if self.path is None or self._file is None:
            return False
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return True
        return (found.st_dev, found.st_ino) != self._file

    @contextmanager
    def transaction(self, *, snapshot: bool = False) -> Iterator[Connection]:
        """One transaction, committed when the block ends well. Raises DatabaseDownError for whatever the database
        or the way to it does wrong; whether the commit came through is then not known.

        `snapshot`: every table is seen as it was at one instant, whoever commits meanwhile. SQLite does no other.
        """
        try:
            engine = self._open()
            if snapshot and self.dialect == POSTGRESQL:
                engine = engine.execution_options(isolation_level="REPEATABLE READ")
            with engine.begin() as connection:
                yield connection
        except PoolTimeoutError:
            raise DatabaseDownError(f"{self.shown}: no connection is free") from None
        except DBAPIError as error:
            self.close()
            raise DatabaseDownError(f"{self.shown}: {_first_line(error)}") from None

    def _open(self) -> Engine:
        if self._engine is None:
            engine = self._make()
            try:
                with engine.begin() as connection:
                    self._migrate(connection)
            except BaseException:
                engine.dispose()
                raise
            self._engine = engine
            if self.path is not None:
                found = self.path.stat()
                self._file = (found.st_dev, found.st_ino)
        return self._engine

    def _make(self) -> Engine:
        try:
            if self.path is not None:
                return _sqlite_engine(self.url, self.path)
            options = f"-c lock_timeout={LOCK_MS} -c statement_timeout={STATEMENT_MS}"
            arguments = {
                "connect_timeout": CONNECT_SECONDS,
                "options": options,
                "application_name": "hotpath-projector",
                "keepalives_idle": 5,
                "keepalives_interval": 2,
                "keepalives_count": 3,
                "tcp_user_timeout": 10_000,
            }
            return create_engine(self.url, pool_size=1, max_overflow=1, connect_args=arguments)
        except (NoSuchModuleError, ModuleNotFoundError) as error:
            raise DriverMissingError(
                f"{self.shown}: no driver for it is installed ({error})", next_step="pip install 'hotpath-engine[sql]'"
            ) from None

    def _migrate(self, connection: Connection) -> None:
        """Bring the tables to this release's; refuse a later release's."""
        if self.dialect == POSTGRESQL:
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": LOCKED_NAMES})
        with _MIGRATING:
            self._upgrade(connection)

    def _upgrade(self, connection: Connection) -> None:
        config = alembic.config.Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        config.attributes["connection"] = connection
        script = ScriptDirectory.from_config(config)
        current = MigrationContext.configure(connection).get_current_revision()
        if current == script.get_current_head():
            return
        if current is not None and current not in {revision.revision for revision in script.walk_revisions()}:
            raise ProjectionError(
                f"{self.shown}: its tables are of another release (revision {current})",
                next_step="use that release, or make them anew: hotctl projection rebuild CONFIG",
            )
        alembic.command.upgrade(config, "head")

    def drop(self) -> None:
        """Remove the projection's tables, or the SQLite file whole."""
        self.close()
        if self.path is not None:
            for suffix in ("", "-wal", "-shm"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
            return
        engine = self._make()
        try:
            with engine.begin() as connection:
                names = [table.name for table in tables.metadata.sorted_tables]
                for name in (*names, "alembic_version"):
                    connection.execute(text(f"DROP TABLE IF EXISTS {name} CASCADE"))
                connection.execute(text("DROP FUNCTION IF EXISTS order_audit_trail_refuse CASCADE"))
        except DBAPIError as error:
            raise DatabaseDownError(f"{self.shown}: {_first_line(error)}") from None
        finally:
            engine.dispose()


def _sqlite_engine(url: URL, path: Path) -> Engine:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    before = os.umask(OWNER_ONLY)  # what an engine trades is nobody else's to read
    try:
        path.touch(exist_ok=True)
    finally:
        os.umask(before)
    engine = create_engine(url, connect_args={"timeout": LOCK_MS / 1000})

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver shall not begin transactions by itself
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")  # what a loss of power takes back, the offsets take back too

    @event.listens_for(engine, "begin")
    def _began(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _first_line(error: DBAPIError) -> str:
    """What the database said; never a statement with its values."""
    said = str(error.orig).strip().splitlines()
    return said[0] if said else type(error.orig).__name__


# ---- rows -------------------------------------------------------------------------------------------

Row = Sequence[Any]


def insert_rows(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Add rows, each a value for every column of the table in order. One that is there already is an error."""
    if not rows:
        return
    names = [column.name for column in table.columns]
    if connection.dialect.name == POSTGRESQL:
        _copy_rows(connection, table.name, names, rows)
        return
    marks = ", ".join("?" * len(names))
    connection.exec_driver_sql(f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({marks})", _tuples(rows))


def upsert_rows(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """The same, where a row that is there already takes the new values."""
    if not rows:
        return
    names = [column.name for column in table.columns]
    keys = [column.name for column in table.primary_key.columns]
    mark = "%s" if connection.dialect.name == POSTGRESQL else "?"
    values = ", ".join(f"{name} = excluded.{name}" for name in names if name not in keys)
    connection.exec_driver_sql(
        f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({', '.join([mark] * len(names))}) "
        f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {values}",
        _tuples(rows),
    )


def _tuples(rows: Iterable[Row]) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in rows]


def _copy_rows(connection: Connection, table: str, names: list[str], rows: Sequence[Row]) -> None:
    """PostgreSQL's own way for many rows; part of the transaction like any statement."""
    driver: Any = connection.connection.driver_connection
    refusals: Any = connection.dialect.dbapi
    try:
        with driver.cursor() as cursor, cursor.copy(f"COPY {table} ({', '.join(names)}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
    except refusals.Error as error:  # not by way of SQLAlchemy, which would have made it one of its own
        raise OperationalError("COPY", None, error) from error

"""SQLite, set up so that a returned write is on the disk: WAL, full synchronization, one writer.

Uses the SQLite that `pysqlite3` carries: the system's may have the WAL-reset corruption fixed in 3.51.3.

Source: sqlite.org/wal.html, sqlite.org/pragma.html, sqlite.org/rescode.html.
"""

import os
from pathlib import Path
from typing import Any, Final

import pysqlite3.dbapi2
from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.pool import QueuePool

from durable.errors import DatabaseConfigurationError, DatabaseDamagedError, DatabaseUnavailableError

BUSY_TIMEOUT_MS: Final = 10_000
MIN_VERSION: Final = (3, 51, 3)

_MAIN_CODE_MASK = 0xFF
_CORRUPT, _NOT_A_DATABASE = 11, 26
_UNAVAILABLE = {
    3: "the database's file may not be accessed",  # SQLITE_PERM
    5: "another process holds the database",  # SQLITE_BUSY
    6: "another connection holds the database",  # SQLITE_LOCKED
    7: "the database has no memory left",  # SQLITE_NOMEM
    8: "the database's file is read-only",  # SQLITE_READONLY
    9: "the database was interrupted",  # SQLITE_INTERRUPT
    10: "the database's disk fails",  # SQLITE_IOERR
    13: "the database's disk is full",  # SQLITE_FULL
    14: "the database's file cannot be opened",  # SQLITE_CANTOPEN
    15: "another process holds the database",  # SQLITE_PROTOCOL
}


def writer_engine(url: URL) -> Engine:
    """Return the engine of the one connection that writes; each transaction holds the write lock from its
    start.
    """
    engine = _engine(url, connections=1, begin="BEGIN IMMEDIATE")

    @event.listens_for(engine, "connect")
    def _configure_writer(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA journal_size_limit=67108864")
        cursor.close()

    return engine


def reader_engine(url: URL, connections: int) -> Engine:
    """Return the engine of `connections` connections that cannot write; each transaction sees one moment."""
    engine = _engine(url, connections=connections, begin="BEGIN")

    @event.listens_for(engine, "connect")
    def _configure_reader(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA query_only=ON")

    return engine


def prepare_file(url: URL, *, create: bool) -> None:
    """Check that `url` names a file and that it is there; with `create`, make it, readable by its owner
    alone.

    Raises DatabaseConfigurationError or DatabaseUnavailableError.
    """
    if pysqlite3.dbapi2.sqlite_version_info < MIN_VERSION:
        raise DatabaseConfigurationError(
            f"SQLite {pysqlite3.dbapi2.sqlite_version} can damage its log; install one of 3.51.3 or newer"
        )
    if not url.database or url.database == ":memory:" or url.query:
        raise DatabaseConfigurationError("database: write sqlite:///<path of a file>, without a query")
    path = Path(url.database)
    if path.is_file():
        return
    if not create:
        raise DatabaseConfigurationError(
            f"database: there is no file {path}; create it first, with `migrate` or `init`"
        )
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise DatabaseUnavailableError(
            f"database: {path} cannot be made ({error.strerror}); does its folder exist?"
        ) from error


def check_integrity(connection: Connection) -> None:
    """Raise DatabaseDamagedError when the file's structure or a foreign key is broken."""
    found = connection.execute(text("PRAGMA quick_check(1)")).scalar()
    if found != "ok" or connection.execute(text("PRAGMA foreign_key_check")).first() is not None:
        raise DatabaseDamagedError("the database's file is damaged; restore it from a backup")


def unavailable_reason(error: BaseException) -> str | None:
    """Return why the database could not serve, or None when `error` is about something else."""
    return _UNAVAILABLE.get(_main_code(error))


def is_damage(error: BaseException) -> bool:
    """Return whether SQLite found its file malformed."""
    return _main_code(error) in {_CORRUPT, _NOT_A_DATABASE}


def _main_code(error: BaseException) -> int:
    return int(getattr(error, "sqlite_errorcode", 0)) & _MAIN_CODE_MASK


def _engine(url: URL, *, connections: int, begin: str) -> Engine:
    engine = create_engine(
        url.set(drivername="sqlite+pysqlite"),
        module=pysqlite3.dbapi2,
        poolclass=QueuePool,
        hide_parameters=True,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=BUSY_TIMEOUT_MS / 1000,
        connect_args={"check_same_thread": False, "timeout": BUSY_TIMEOUT_MS / 1000, "isolation_level": None},
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA foreign_keys=ON")
        # Without it, REPLACE would delete rows around the triggers that forbid deleting.
        cursor.execute("PRAGMA recursive_triggers=ON")
        cursor.execute("PRAGMA trusted_schema=OFF")
        cursor.execute("PRAGMA cell_size_check=ON")
        cursor.execute("PRAGMA cache_size=-16384")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine

"""A database as the servers use it: functions that run inside one transaction.

`write` gives a function everything: it runs alone, all of it is kept or nothing, and what it changed is on
disk when `write` returns. Writers follow one another, on either database: SQLite knows no other way, and on
PostgreSQL they wait for one lock. (Measured there against optimistic serializable transactions, which
conflict on small tables and busy rows: waiting was faster at every number of threads.) `read` shows one
moment, can change nothing, and waits for nobody.

Errors of the database become `DurableError`s; what the function itself raises passes unchanged, after the
transaction was rolled back.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Final, TypeVar

import sqlalchemy.exc
from sqlalchemy import Connection, Engine, make_url

from durable import postgresql, sqlite
from durable.errors import (
    CommitUnknownError,
    DatabaseConfigurationError,
    DatabaseDamagedError,
    DatabaseUnavailableError,
)

_T = TypeVar("_T")

DEFAULT_CONNECTIONS: Final = 8
# Any constant: it must only differ from other advisory locks in the same database.
WRITERS_LOCK: Final = 0x626F757273650000
# More calls than this waiting for a thread means that the database does not keep up.
MAX_WAITING: Final = 1024


class Database:
    """An open database. Threads may share it; close it once at the end."""

    def __init__(self, *, dialect: str, writer: Engine, reader: Engine, connections: int) -> None:
        self.dialect: Final = dialect
        self.connections: Final = connections
        self._writer = writer
        self._reader = reader
        self._driver: ModuleType = postgresql if dialect == "postgresql" else sqlite

    def write(self, change: Callable[[Connection], _T]) -> _T:
        """Return what `change` returned, once everything it did is on disk.

        It ran once, beside no other `write` of any process. Raises DatabaseUnavailableError with nothing
        changed, CommitUnknownError when only repeating can tell, and whatever `change` raises after
        rolling back.
        """
        return self.write_apart(WRITERS_LOCK, change)

    def write_apart(self, lock: int, change: Callable[[Connection], _T]) -> _T:
        """Return what `change` returned, once it is on disk; it ran beside no other holder of `lock`.

        On PostgreSQL it may run beside other writers, whose commits its statements see: for work that no
        change touches, such as giving indexes, and for migrating. `lock` is any constant of 63 bits.
        Raises what `write` raises.
        """

        def locked(connection: Connection) -> _T:
            if self.dialect == "postgresql":
                postgresql.wait_for(connection, lock)
            return change(connection)

        try:
            return self._transact(self._writer, locked)
        except sqlalchemy.exc.DBAPIError as error:
            self._raise_known(error.orig)
            raise

    def read(self, query: Callable[[Connection], _T]) -> _T:
        """Return what `query` returned; it saw one moment and could change nothing.

        Raises DatabaseUnavailableError, and whatever `query` raises.
        """
        try:
            return self._transact(self._reader, query)
        except sqlalchemy.exc.DBAPIError as error:
            self._raise_known(error.orig)
            raise

    def check(self) -> None:
        """Prove that the database can keep what it is given.

        Raises DatabaseDamagedError when its structure is broken, DatabaseConfigurationError when its
        settings could lose a commit, DatabaseUnavailableError when it is out of reach.
        """
        self.read(sqlite.check_integrity if self.dialect == "sqlite" else postgresql.check_settings)

    def close(self) -> None:
        """Close all connections. Using the database afterwards opens new ones."""
        for engine in (self._reader, self._writer):
            engine.dispose()

    def _transact(self, engine: Engine, function: Callable[[Connection], _T]) -> _T:
        try:
            connection = engine.connect()
        except sqlalchemy.exc.TimeoutError as error:
            raise DatabaseUnavailableError(
                "all of the database's connections are in use; try again"
            ) from error
        with connection:
            transaction = connection.begin()
            try:
                result = function(connection)
            except BaseException:
                self._roll_back(connection)
                raise
            self._commit(connection, transaction.commit)
            return result

    def _commit(self, connection: Connection, commit: Callable[[], None]) -> None:
        try:
            commit()
        except sqlalchemy.exc.DBAPIError as error:
            if error.connection_invalidated and self.dialect == "postgresql":
                raise CommitUnknownError(
                    "the database's connection broke while committing; repeat the same request"
                ) from error
            self._roll_back(connection)
            raise

    @staticmethod
    def _roll_back(connection: Connection) -> None:
        """Undo, and never reuse a connection that could not."""
        try:
            connection.rollback()
        except sqlalchemy.exc.SQLAlchemyError:
            connection.invalidate()

    def _raise_known(self, error: BaseException | None) -> None:
        if error is None:
            return
        if self._driver.is_damage(error):
            raise DatabaseDamagedError("the database is damaged; restore it from a backup") from error
        reason = self._driver.unavailable_reason(error)
        if reason is not None:
            raise DatabaseUnavailableError(f"{reason}; nothing was changed") from error


def open_database(url: str, *, create: bool = False, connections: int = DEFAULT_CONNECTIONS) -> Database:
    """Open `sqlite:///<file>` or `postgresql://<user>@<host>/<database>` with at most `connections`
    readers (SQLite) or connections in all (PostgreSQL).

    A missing SQLite file is made only with `create`. Nothing is read or checked yet: see `Database.check`
    and `durable.schema`. Raises DatabaseConfigurationError for an address of another form,
    DatabaseUnavailableError when a file cannot be made.
    """
    try:
        address = make_url(url)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise DatabaseConfigurationError("database: not an address of the form sqlite:///<file>") from None
    if address.drivername == "sqlite":
        sqlite.prepare_file(address, create=create)
        writer = sqlite.writer_engine(address)
        reader = sqlite.reader_engine(address, connections)
        return Database(dialect="sqlite", writer=writer, reader=reader, connections=connections)
    if address.drivername == "postgresql":
        writer = postgresql.engine(address, connections)
        return Database(
            dialect="postgresql",
            writer=writer,
            reader=postgresql.reading(writer),
            connections=connections,
        )
    raise DatabaseConfigurationError("database: must be sqlite:///<file> or postgresql://<...>")


class AsyncDatabase:
    """The same database for an event loop: each call runs in one of a bounded number of threads.

    A cancelled call still runs to its end; only its result is lost. One event loop owns it.
    """

    def __init__(self, database: Database) -> None:
        # Writers follow one another anyway; a second one on PostgreSQL waits there while the first works.
        writers = 1 if database.dialect == "sqlite" else 2
        readers = max(1, database.connections - writers)
        self.database: Final = database
        self._writers = ThreadPoolExecutor(writers, thread_name_prefix="database-writer")
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix="database-reader")
        self._waiting = 0

    async def write(self, change: Callable[[Connection], _T]) -> _T:
        """`Database.write` off the event loop. Raises DatabaseUnavailableError when too many calls wait."""
        return await self._run(self._writers, lambda: self.database.write(change))

    async def write_apart(self, lock: int, change: Callable[[Connection], _T]) -> _T:
        """`Database.write_apart` off the event loop. Raises DatabaseUnavailableError when too many wait."""
        return await self._run(self._writers, lambda: self.database.write_apart(lock, change))

    async def read(self, query: Callable[[Connection], _T]) -> _T:
        """`Database.read` off the event loop. Raises DatabaseUnavailableError when too many calls wait."""
        return await self._run(self._readers, lambda: self.database.read(query))

    def close(self) -> None:
        """Wait for running calls, then close the database."""
        self._writers.shutdown(wait=True)
        self._readers.shutdown(wait=True)
        self.database.close()

    async def _run(self, threads: ThreadPoolExecutor, call: Callable[[], _T]) -> _T:
        if self._waiting >= MAX_WAITING:
            raise DatabaseUnavailableError("too many calls wait for the database; try again")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(threads, call)
        finally:
            self._waiting -= 1

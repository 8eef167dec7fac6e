"""Opening a node's database, and bringing its schema up to date."""

from typing import Final

from sqlalchemy import Connection

from durable import (
    AsyncDatabase,
    Database,
    DatabaseUnavailableError,
    DurableError,
    check_schema,
    migrate,
    open_database,
)

__all__ = [
    "AsyncDatabase",
    "Connection",
    "DatabaseUnavailableError",
    "DurableError",
    "migrate_database",
    "open_node_database",
]

MIGRATIONS: Final = "compute.store.migrations"


def open_node_database(url: str) -> Database:
    """Open a database that `migrate_database` has prepared, proven sound and of this version's schema.

    Raises what `durable` raises: the message says whether to migrate, to upgrade or to restore.
    """
    database = open_database(url)
    try:
        database.check()
        check_schema(database, MIGRATIONS)
    except BaseException:
        database.close()
        raise
    return database


def migrate_database(url: str) -> None:
    """Make the database if it is a file that is not there, and bring its schema up to date."""
    database = open_database(url, create=True)
    try:
        migrate(database, MIGRATIONS)
    finally:
        database.close()

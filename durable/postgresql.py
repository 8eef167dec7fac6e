"""PostgreSQL through psycopg 3: writers that wait for a lock, read-only snapshots, every wait bounded.

A writer's statements each see what was committed before them: what it waited for, it then sees.

Source: PostgreSQL manual, 13.2 "Transaction Isolation", 13.3.5 "Advisory Locks", appendix A (error codes).
"""

from typing import Final

from sqlalchemy import URL, Connection, Engine, create_engine, text

from durable.errors import DatabaseConfigurationError

MIN_VERSION: Final = 140_000
CONNECT_TIMEOUT_SECONDS: Final = 5
LOCK_TIMEOUT_MS: Final = 10_000
STATEMENT_TIMEOUT_MS: Final = 30_000
IDLE_TIMEOUT_MS: Final = 30_000

_UNAVAILABLE_CLASSES = {
    "08": "the database's connection broke",
    "40": "the database undid the transaction because of another one",
    "53": "the database has no disk, memory or connection left",
    "57": "the database is stopping or stopped the transaction",
    "58": "the database's system fails",
    "55": "another transaction holds the lock",
    "25": "the database is read-only or cut an idle transaction off",
}
_DAMAGE = "XX"


def engine(url: URL, connections: int) -> Engine:
    """Return the engine of at most `connections` connections."""
    settings = {
        "lock_timeout": LOCK_TIMEOUT_MS,
        "statement_timeout": STATEMENT_TIMEOUT_MS,
        "idle_in_transaction_session_timeout": IDLE_TIMEOUT_MS,
        "synchronous_commit": "on",
        "timezone": "UTC",
    }
    return create_engine(
        url.set(drivername="postgresql+psycopg"),
        hide_parameters=True,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=LOCK_TIMEOUT_MS / 1000,
        pool_pre_ping=True,
        isolation_level="READ COMMITTED",
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
        },
    )


def reading(writing: Engine) -> Engine:
    """Return an engine over the same connections whose transactions cannot write and see one moment."""
    return writing.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def wait_for(connection: Connection, lock: int) -> None:
    """Return when this transaction holds the advisory lock `lock`; it does until its end."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": lock})


def check_settings(connection: Connection) -> None:
    """Raise DatabaseConfigurationError when the server could lose a commit or garble a text."""
    version = int(connection.execute(text("SHOW server_version_num")).scalar_one())
    if version < MIN_VERSION:
        raise DatabaseConfigurationError("database: PostgreSQL 14 or newer is needed")
    for setting, wanted in (("server_encoding", "UTF8"), ("fsync", "on"), ("full_page_writes", "on")):
        if connection.execute(text(f"SHOW {setting}")).scalar_one() != wanted:
            raise DatabaseConfigurationError(f"database: PostgreSQL's {setting} must be {wanted}")


def unavailable_reason(error: BaseException) -> str | None:
    """Return why the database could not serve, or None when `error` is about something else."""
    state = _state(error)
    if state is None:
        lost = type(error).__name__ in {"OperationalError", "ConnectionTimeout", "InterfaceError"}
        return "the database is out of reach" if lost else None
    return _UNAVAILABLE_CLASSES.get(state[:2])


def is_damage(error: BaseException) -> bool:
    """Return whether the server found its files malformed."""
    state = _state(error)
    return state is not None and state.startswith(_DAMAGE)


def _state(error: BaseException) -> str | None:
    state = getattr(error, "sqlstate", None)
    return state if isinstance(state, str) else None

"""The schema's version: brought up to date by migrations that a package carries, refused when it is newer.

A package such as `exchange.store.migrations` is a folder of Alembic revision files, installed with the
program. Migrating runs in one transaction and, on PostgreSQL, alone.

Source: alembic.sqlalchemy.org, "Commands" and "Sharing a Connection".
"""

from importlib.resources import as_file, files
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from durable.database import Database
from durable.errors import SchemaOutdatedError, SchemaUnknownError

# Any constant: it must only differ from other programs' advisory locks in the same database.
MIGRATION_LOCK: Final = 0x626F757273650001


def migrate(database: Database, package: str) -> None:
    """Bring the database to the newest revision in `package`; when it is there already, change nothing.

    Raises SchemaUnknownError when the database is newer, and DatabaseUnavailableError.
    """
    with as_file(files(package)) as folder:
        config = _config(folder)
        script = ScriptDirectory.from_config(config)

        def upgrade(connection: Connection) -> None:
            _refuse_unknown(connection, script)
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

        database.write_apart(MIGRATION_LOCK, upgrade)


def downgrade(database: Database, package: str, revision: str) -> None:
    """Take the database back to `revision`, or to `base`: nothing. Data of newer revisions is lost.

    Raises what `migrate` raises.
    """
    with as_file(files(package)) as folder:
        config = _config(folder)
        script = ScriptDirectory.from_config(config)

        def step_back(connection: Connection) -> None:
            _refuse_unknown(connection, script)
            config.attributes["connection"] = connection
            command.downgrade(config, revision)

        database.write_apart(MIGRATION_LOCK, step_back)


def check_schema(database: Database, package: str) -> None:
    """Raise SchemaOutdatedError when migrations are missing, SchemaUnknownError when there are newer ones."""
    with as_file(files(package)) as folder:
        script = ScriptDirectory.from_config(_config(folder))

        def check(connection: Connection) -> None:
            current = _refuse_unknown(connection, script)
            if current != script.get_current_head():
                raise SchemaOutdatedError(
                    "the database is empty, or its schema older than this program; run `migrate`, or `init` "
                    "to found an exchange"
                )

        database.read(check)


def _config(folder: Path) -> Config:
    config = Config()
    for option, value in (
        ("script_location", Path(__file__).parent / "environment"),
        ("version_locations", folder),
        ("path_separator", "newline"),
    ):
        config.set_main_option(option, str(value).replace("%", "%%"))
    return config


def _refuse_unknown(connection: Connection, script: ScriptDirectory) -> str | None:
    current = MigrationContext.configure(connection).get_current_revision()
    if current is not None and current not in {revision.revision for revision in script.walk_revisions()}:
        raise SchemaUnknownError(
            "the database was written by a newer version, or by another program; upgrade this one"
        )
    return current

"""A database is brought to the program's schema, once, and refused when it belongs to another."""

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy.exc
from sqlalchemy import text

from durable import (
    SchemaOutdatedError,
    SchemaUnknownError,
    check_schema,
    downgrade,
    migrate,
    open_database,
)

REVISION = '''"""{number}"""
from alembic import op
revision = "{number}"
down_revision = {before!r}
def upgrade():
    op.execute("{up}")
def downgrade():
    op.execute("{down}")
'''


def write_revision(folder, number, before, up, down):
    text_ = REVISION.format(number=number, before=before, up=up, down=down)
    (folder / f"rev_{number}.py").write_text(text_)


@pytest.fixture
def revisions(tmp_path, monkeypatch, request):
    """A package of two revisions, as a program's would be."""
    name = "revisions_of_" + "".join(one if one.isalnum() else "_" for one in request.node.name)
    folder = tmp_path / name
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    write_revision(folder, "0001", None, "CREATE TABLE purse (owner TEXT PRIMARY KEY)", "DROP TABLE purse")
    write_revision(
        folder, "0002", "0001", "ALTER TABLE purse ADD coins INTEGER", "ALTER TABLE purse DROP coins"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield name, folder
    sys.modules.pop(name, None)


def columns(database):
    return set(database.read(lambda c: c.execute(text("SELECT * FROM purse")).keys()))


def test_a_new_database_gets_every_revision_and_keeps_its_data_on_the_way(database, revisions):
    package, folder = revisions
    (folder / "rev_0002.py").rename(folder / "later")
    migrate(database, package)
    database.write(lambda c: c.execute(text("INSERT INTO purse VALUES ('ann')")))
    (folder / "later").rename(folder / "rev_0002.py")
    with pytest.raises(SchemaOutdatedError, match="migrate"):
        check_schema(database, package)
    migrate(database, package)
    check_schema(database, package)
    assert columns(database) == {"owner", "coins"}
    assert database.read(lambda c: c.execute(text("SELECT owner FROM purse")).scalars().all()) == ["ann"]


def test_stepping_back_and_forth_keeps_the_older_columns(database, revisions):
    package, _ = revisions
    migrate(database, package)
    database.write(lambda c: c.execute(text("INSERT INTO purse VALUES ('ann', 7)")))
    downgrade(database, package, "0001")
    assert columns(database) == {"owner"}
    migrate(database, package)
    assert database.read(lambda c: c.execute(text("SELECT owner, coins FROM purse")).all()) == [("ann", None)]


def test_migrating_twice_at_once_happens_once(database, database_url, revisions):
    package, _ = revisions
    others = [open_database(database_url) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda other: migrate(other, package), others))
    check_schema(database, package)
    for other in others:
        other.close()


def test_a_database_of_a_newer_program_is_refused_untouched(database, revisions):
    package, folder = revisions
    migrate(database, package)
    (folder / "rev_0002.py").unlink()
    for refused in (check_schema, migrate):
        with pytest.raises(SchemaUnknownError, match="newer version"):
            refused(database, package)
    assert columns(database) == {"owner", "coins"}


def test_a_migration_that_fails_leaves_the_schema_as_it_was(database, revisions):
    package, folder = revisions
    write_revision(
        folder, "0003", "0002", "ALTER TABLE purse ADD metal TEXT; INSERT INTO nowhere VALUES (1)", "SELECT 1"
    )
    text_ = (folder / "rev_0003.py").read_text()
    (folder / "rev_0003.py").write_text(text_.replace("; INSERT", '")\n    op.execute("INSERT'))
    with pytest.raises(sqlalchemy.exc.DBAPIError):
        migrate(database, package)
    with pytest.raises(SchemaOutdatedError):
        check_schema(database, package)
    with pytest.raises(sqlalchemy.exc.DBAPIError):
        columns(database)

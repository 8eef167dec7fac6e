"""Every test that asks for `database_url` or `database` runs on SQLite and on PostgreSQL."""

import pytest
from databases import postgresql_database, postgresql_server
from exchange_bench import Bench

from durable import open_database


@pytest.fixture(scope="session")
def postgresql():
    with postgresql_server() as address:
        yield address


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_url(request, tmp_path):
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'market.db'}"
    else:
        with postgresql_database(request.getfixturevalue("postgresql")) as address:
            yield address


@pytest.fixture
def database(database_url):
    opened = open_database(database_url, create=True)
    yield opened
    opened.close()


@pytest.fixture
def bench(database):
    """An exchange with a provider, a bank and a regulator, on either database."""
    return Bench(database)

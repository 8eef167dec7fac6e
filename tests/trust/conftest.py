"""One market, made once by real calls and copied for every attack; one pair of SEAL worker processes."""

import asyncio

import pytest
import pytest_asyncio

from compute.engine.workers import WorkerEngine
from tests.trust.local_servers import LocalEngine, SharedEngine
from tests.trust.trust_world import make_stock, open_market


@pytest.fixture(scope="session")
def workers():
    """Two warm SEAL worker processes."""
    engine = WorkerEngine(2)
    asyncio.run(engine.start())
    yield engine
    asyncio.run(engine.close())


@pytest.fixture(scope="session")
def stock(tmp_path_factory, workers):
    """A market before its first license."""
    return asyncio.run(make_stock(tmp_path_factory.mktemp("stock"), workers))


@pytest_asyncio.fixture
async def market(tmp_path, stock, workers):
    """A market of its own, whose blocks worker processes evaluate."""
    async with open_market(tmp_path, stock, lambda: SharedEngine(workers)) as world:
        yield world


@pytest_asyncio.fixture
async def open_engine_market(tmp_path, stock):
    """A market whose engine is SEAL in this process, so that its checks can be taken out too."""
    async with open_market(tmp_path, stock, LocalEngine) as world:
        yield world

"""One market for all tests that take turns in it; each negotiates licenses of its own."""

import pytest
from market_world import open_market


@pytest.fixture(scope="session")
def _market(tmp_path_factory):
    with open_market(tmp_path_factory.mktemp("market")) as world:
        yield world


@pytest.fixture
def market(_market):
    """The market with all of its servers running; whatever the test stopped runs again afterwards."""
    yield _market
    _market.market.start()
    _market.reconnect()

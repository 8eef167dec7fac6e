"""One exchange for the tests that leave it running; those that stop or kill it make their own."""

import pytest
from exchange_steps import OTHER_BANK, RIVAL
from exchange_world import BUREAU, HARBOUR, WATCH, ExchangeWorld


@pytest.fixture(scope="session")
def exchange(tmp_path_factory):
    """A running exchange with a provider, a bank and a regulator."""
    world = ExchangeWorld(tmp_path_factory.mktemp("exchange"))
    world.start()
    for party in (BUREAU, HARBOUR, WATCH):
        world.register(party)
    yield world
    assert world.stop() == 0


@pytest.fixture(scope="session")
def market(exchange):
    """The same, with a second provider, a second bank and a listed dataset `loans`."""
    for party in (RIVAL, OTHER_BANK):
        exchange.register(party)
    exchange.listed("loans")
    return exchange

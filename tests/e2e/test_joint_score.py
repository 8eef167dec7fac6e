"""Joint scores over two providers, between processes over mutual TLS: equal to the plaintext scorecard."""

import pytest
from databases import postgresql_database, postgresql_server
from market_records import ATTRIBUTES, BUREAU, KNOWN, REGISTRY, STRANGERS, records_of, rows_of
from market_world import dataset_of, open_market

WITHDRAWN = KNOWN[7:1000:97]
PERSONS = (*STRANGERS[:50], *KNOWN[:600], *WITHDRAWN[7:], *STRANGERS[50:60])


def assert_scored_jointly(world):
    for person in WITHDRAWN:
        world.withdraw(REGISTRY, person)
    world.withdraw(BUREAU, WITHDRAWN[0])
    licenses = world.license_both()
    card = world.deploy(licenses)
    results = world.bank.score(
        card, rows_of(PERSONS), consent_reference="vault 7, shelf 2", licenses=licenses
    )
    assert results.ids == PERSONS
    assert results.scores == world.plain_scores(PERSONS)
    for provider, attributes in ATTRIBUTES.items():
        dataset = dataset_of(provider)
        assert results.parts[dataset] == tuple(
            world.plain_part(dataset, attributes, person) for person in PERSONS
        )
    for name in licenses:
        charged = (1, len(PERSONS), 11 * len(PERSONS))
        at_node, at_exchange = world.bank.usage(name), world.bank.license(name).usage
        assert (at_node.models, at_node.rows, at_node.bits) == charged
        assert (at_exchange.models, at_exchange.rows, at_exchange.bits) == charged


@pytest.mark.parametrize("provider", ATTRIBUTES)
def test_the_persons_scored_are_known_absent_and_withdrawn_and_some_of_their_cells_are_missing(provider):
    records = records_of(provider)
    known = set(PERSONS) & set(records)
    assert known & set(WITHDRAWN)
    assert set(PERSONS) - set(records) - set(STRANGERS)
    for attribute in ATTRIBUTES[provider]:
        cells = {records[person][attribute.name] for person in known}
        points = {attribute.points_of(cell) for cell in cells}
        assert "" in cells
        assert points == set(attribute.points)


def test_a_joint_score_over_two_providers_is_the_plaintext_scorecards_for_every_row(market):
    assert_scored_jointly(market)


@pytest.mark.postgres
def test_a_joint_score_is_the_plaintext_scorecards_with_the_exchange_on_postgresql(tmp_path):
    with (
        postgresql_server() as server,
        postgresql_database(server) as database,
        open_market(tmp_path, database=database) as world,
    ):
        assert_scored_jointly(world)
        indexes = [world.auditor.check(record).index for record in world.auditor.records()]
        assert indexes == list(range(len(indexes)))

"""Attack 16: reading logs, errors, trade records and databases after a full trade.

There are no metrics or traces to read: the servers write a log, their database, and replies.
"""

import pytest
from market_records import BUREAU, REGISTRY

from tests.trust.failing_calls import provoke
from tests.trust.full_trade import PERSONS, PROVIDERS, dataset_of, records_of, trade_in_full
from tests.trust.full_trade_secrets import secrets_of
from tests.trust.secrets_search import find_in


@pytest.fixture(scope="module")
def trade(tmp_path_factory):
    return trade_in_full(tmp_path_factory.mktemp("market"), provoke)


@pytest.fixture(scope="module")
def secrets(trade):
    return secrets_of(trade)


def test_the_trade_was_whole(trade):
    assert trade.opened == trade.in_clear
    assert trade.refused > 80
    assert trade.unreleased == 2
    assert trade.releases >= 4


def test_what_is_searched_for_is_what_was_used(trade, secrets):
    for provider in PROVIDERS:
        parts = trade.results.parts[dataset_of(provider)]
        assert secrets.scores_of_blocks[provider][0] == parts, "its seeds, masks and keys open the blocks"
        assert len(secrets.scores_of_blocks[provider]) == 3, "of which one was never released"
    for one in (PERSONS[0], *records_of(BUREAU)[PERSONS[0]].values()):
        assert one.encode() in trade.sources
    kinds = {one.what for one in secrets.told_to_nobody}
    assert len(kinds) >= 20, kinds


def test_every_place_was_written(trade):
    logs = [name for name in trade.places if "log" in name]
    assert len(logs) == 4
    for name in logs:
        assert trade.places[name].strip(), name
    assert b"CreateEvaluation" in trade.places[f"the log of {REGISTRY}"]
    assert b'"code": "INVALID_ARGUMENT"' in trade.places[f"the log of {REGISTRY}"]
    assert b'"event": "call"' in trade.places["the exchange's log"]
    assert b"names a person who is named before" in trade.places["what callers were told"]
    assert b"bourse-" not in trade.places["the home of harbour-bank-analyst"], "its formats are encrypted"


def test_what_may_lie_in_a_nodes_database_is_found_there(trade, secrets):
    for provider in PROVIDERS:
        place = {f"the database of {provider}": trade.places[f"the database of {provider}"]}
        found = find_in(place, secrets.in_node[provider])
        assert {one.rpartition(" as ")[0] for one in found} == {
            f"{what} in the database of {provider}"
            for what in (
                "an entity key",
                "bins of all records",
                "a sealed column's first residues",
                "a block's first residues",
            )
        }


def test_nothing_secret_was_written_or_told_anywhere(trade, secrets):
    assert find_in(trade.places, secrets.told_to_nobody) == []


def test_model_and_features_have_no_name_outside_the_bank(trade, secrets):
    elsewhere = {name: data for name, data in trade.places.items() if name != "what callers were told"}
    assert find_in(elsewhere, secrets.bank_reads) == []


def test_what_lies_in_a_nodes_database_left_it_nowhere(trade, secrets):
    for provider in PROVIDERS:
        elsewhere = {
            name: data for name, data in trade.places.items() if name != f"the database of {provider}"
        }
        assert find_in(elsewhere, secrets.in_node[provider]) == []

"""Charging, on both databases: one charge, one record, whatever is repeated and whoever races."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from exchange_bench import ADMIN, person, signed, with_terms

from exchange.domain.errors import (
    ClauseRefusedError,
    LicenseStateError,
    SignatureRefusedError,
    StatementRefusedError,
)
from exchange.domain.licenses import Usage
from exchange.domain.parties import Member, PartyKind, Role
from exchange.domain.records import RecordFilter, RecordKind
from exchange.store.parties import get_party
from exchange.store.records import list_trade_records, sequence
from exchange.verbs import ledger, parties
from exchange.verbs.sequencing import SEQUENCER_LOCK
from wire.signing import Purpose

SEALING = "sealings/model-01"


def block(number):
    return f"evaluations/eval-001/blocks/{number}"


@pytest.fixture
def market(bench):
    bench.listed("loans")
    return bench


@pytest.fixture
def deployed(market):
    license_ = market.licensed("loans")
    market.record_model(license_, market.model(license_, SEALING))
    return license_


def released(market):
    market.database.write_apart(SEQUENCER_LOCK, sequence)
    wanted = RecordFilter(kinds=(RecordKind.RESULT_RELEASED,))
    return market.database.read(lambda tx: list_trade_records(tx, wanted, after=None, size=1000)).items


def race(count, run):
    def caught(number):
        try:
            return run(number)
        except ClauseRefusedError as error:
            return error

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(caught, range(count)))


def test_the_first_release_of_a_block_charges_all_its_rows_and_later_ones_none(market, deployed):
    market.record_release(deployed, market.release(deployed, SEALING, block(0)))
    assert market.license(deployed).usage == Usage(models=1, rows=100, bits=1100)
    later = market.release(deployed, SEALING, block(0), rows_charged=0, bits_charged=0)
    market.record_release(deployed, later)
    assert market.license(deployed).usage == Usage(models=1, rows=100, bits=1100)
    assert len(released(market)) == 2


@pytest.mark.parametrize(
    ("opened_before", "changes"),
    [
        (False, {"rows_charged": 0, "bits_charged": 0}),
        (False, {"rows_charged": 10, "bits_charged": 110}),
        (False, {"bits_charged": 110}),
        (True, {}),
        (True, {"rows_charged": 0, "bits_charged": 0, "rows_gathered": 200}),
        (True, {"rows_charged": 0, "bits_charged": 0, "place": bytes(32)}),
        (True, {"rows_charged": 0, "bits_charged": 1}),
    ],
)
def test_a_charge_other_than_the_exchanges_own_is_refused(market, deployed, opened_before, changes):
    if opened_before:
        market.record_release(deployed, market.release(deployed, SEALING, block(0)))
    usage, count = market.license(deployed).usage, len(released(market))
    with pytest.raises(StatementRefusedError):
        market.record_release(deployed, market.release(deployed, SEALING, block(0), **changes))
    assert market.license(deployed).usage == usage
    assert len(released(market)) == count


def test_however_many_race_the_cap_is_never_passed(market, deployed):
    results = race(
        16,
        lambda number: market.record_release(deployed, market.release(deployed, SEALING, block(number))),
    )
    refusals = [one for one in results if isinstance(one, ClauseRefusedError)]
    assert len(results) - len(refusals) == 6
    assert {one.clause for one in refusals} == {"max_rows"}
    assert market.license(deployed).usage == Usage(models=1, rows=600, bits=6600)
    assert len(released(market)) == 6


def test_the_same_statement_sent_16_times_at_once_is_one_record_and_one_charge(market, deployed):
    release = market.release(deployed, SEALING, block(0))
    results = race(16, lambda _: market.record_release(deployed, release))
    assert len({(one.entry, one.receipt) for one in results}) == 1
    assert market.license(deployed).usage.rows == 100
    assert len(released(market)) == 1


def test_another_statement_on_the_same_request_is_refused(market, deployed):
    first = market.release(deployed, SEALING, block(0))
    market.record_release(deployed, first)
    statement = first.statement
    second = market.release(
        deployed, SEALING, block(0), rows_charged=0, bits_charged=0, request_sha256=statement.request_sha256
    )
    second = replace(second, request_bytes=first.request_bytes, request=first.request)
    with pytest.raises(StatementRefusedError, match="another statement"):
        market.record_release(deployed, second)
    assert len(released(market)) == 1


def test_a_repeated_statement_gets_its_first_receipt_even_after_the_end(market, deployed):
    release = market.release(deployed, SEALING, block(0))
    model = market.model(deployed, SEALING)
    first = market.record_release(deployed, release)
    market.step("terminate", deployed)
    market.move_dataset("loans", "delist")
    market.clock.pass_(timedelta(days=99))
    assert market.record_release(deployed, release) == first
    assert market.record_model(deployed, model).entry
    with pytest.raises(LicenseStateError):
        market.record_release(deployed, market.release(deployed, SEALING, block(1)))


@pytest.mark.parametrize(
    ("hindrance", "error"),
    [
        ("terminated", LicenseStateError),
        ("dataset suspended", LicenseStateError),
        ("dataset delisted", LicenseStateError),
        ("bank suspended", LicenseStateError),
        ("too early", ClauseRefusedError),
        ("too late", ClauseRefusedError),
    ],
)
def test_a_license_that_is_not_in_force_releases_nothing(market, deployed, hindrance, error):
    match hindrance:
        case "terminated":
            market.step("terminate", deployed)
        case "dataset suspended":
            market.move_dataset("loans", "suspend")
        case "dataset delisted":
            market.move_dataset("loans", "delist")
        case "bank suspended":
            market.suspend("harbour-bank")
        case "too early":
            market.clock.pass_(timedelta(days=-2))
        case _:
            market.clock.pass_(timedelta(days=30))
    with pytest.raises(error):
        market.record_release(deployed, market.release(deployed, SEALING, block(0)))
    with pytest.raises(error):
        market.record_model(deployed, market.model(deployed, "sealings/model-02"))
    assert market.license(deployed).usage == Usage(models=1)
    assert released(market) == ()


def test_a_dataset_or_bank_that_is_back_lets_releases_go_on(market, deployed):
    market.move_dataset("loans", "suspend")
    market.suspend("harbour-bank")
    market.move_dataset("loans", "reinstate")
    market.do(
        ADMIN,
        lambda tx, act: parties.reinstate_party(
            tx, act, get_party(tx, "harbour-bank"), etag="", reason="test"
        ),
    )
    market.record_release(deployed, market.release(deployed, SEALING, block(0)))
    assert market.license(deployed).usage.rows == 100


def test_a_node_of_another_provider_records_nothing(market, deployed):
    market.register("rival", PartyKind.PROVIDER, Member("node", frozenset({Role.NODE})))
    with pytest.raises(StatementRefusedError, match="not one that this node"):
        market.do(
            person("provider", "rival", "node"),
            lambda tx, act: ledger.node_license(tx, act.caller, deployed.license),
        )


def test_the_number_of_models_is_capped_and_each_is_recorded_once(market, deployed):
    model = market.model(deployed, SEALING)
    assert market.record_model(deployed, model).entry == market.record_model(deployed, model).entry
    assert market.license(deployed).usage.models == 1
    results = race(
        8,
        lambda number: market.record_model(deployed, market.model(deployed, f"sealings/another-{number}")),
    )
    assert sum(not isinstance(one, ClauseRefusedError) for one in results) == 1
    assert market.license(deployed).usage.models == 2


def test_another_model_under_the_same_sealing_is_refused(market, deployed):
    with pytest.raises(StatementRefusedError, match="another statement"):
        market.record_model(deployed, market.model(deployed, SEALING, license_digest=bytes(32)))


def test_a_release_under_a_model_of_another_license_is_refused(market, deployed):
    other = market.licensed("loans")
    with pytest.raises(StatementRefusedError, match="not recorded under this license"):
        market.record_release(other, market.release(other, SEALING, block(0)))
    with pytest.raises(StatementRefusedError, match="not recorded under this license"):
        market.record_release(deployed, market.release(deployed, "sealings/unknown-1", block(0)))


def test_bits_run_out_before_rows_when_the_license_says_so(market):
    license_ = market.licensed("loans", with_terms(max_bits=1500))
    market.record_model(license_, market.model(license_, SEALING))
    market.record_release(license_, market.release(license_, SEALING, block(0)))
    with pytest.raises(ClauseRefusedError) as refused:
        market.record_release(license_, market.release(license_, SEALING, block(1)))
    assert refused.value.clause == "max_bits"
    assert refused.value.limit == "1500, of which 1100 are used"
    assert "at most 36 rows" in refused.value.way_out


@pytest.mark.parametrize("forged", ["statement", "request", "model", "sealing"])
def test_each_statement_must_bear_its_signers_pinned_key(market, deployed, forged):
    key = Ed25519PrivateKey.generate()
    release = market.release(deployed, SEALING, block(0))
    model = market.model(deployed, "sealings/model-02")
    match forged:
        case "statement":
            mine = signed(key, Purpose.RELEASE_STATEMENT, release.statement_bytes.payload)
            release = replace(release, statement_bytes=mine)
        case "request":
            mine = signed(key, Purpose.RELEASE_REQUEST, release.request_bytes.payload)
            release = replace(release, request_bytes=mine)
        case "model":
            mine = signed(key, Purpose.MODEL_STATEMENT, model.model_bytes.payload)
            model = replace(model, model_bytes=mine)
        case _:
            mine = signed(key, Purpose.SEALING, model.sealing_bytes.payload)
            model = replace(model, sealing_bytes=mine)
    of_release = forged in {"statement", "request"}
    record, what = (market.record_release, release) if of_release else (market.record_model, model)
    with pytest.raises(SignatureRefusedError):
        record(deployed, what)
    assert market.license(deployed).usage == Usage(models=1)


def test_before_it_is_in_force_a_license_records_nothing(market):
    accepted = market.step("accept", market.step("offer", market.requested("loans")))
    with pytest.raises(LicenseStateError):
        market.record_model(accepted, market.model(accepted, SEALING))
    requested = market.requested("loans")
    with pytest.raises(LicenseStateError):
        market.record_model(requested, market.model(accepted, SEALING))

"""What the regulator sees of a trade: its whole chain, in order, proven, and nothing else."""

import pytest
from bourse.exchange.v1 import trade_record_pb2
from bourse.type.v1 import query_pb2, record_pb2, statement_pb2
from market_records import ATTRIBUTES, BUREAU, KNOWN, REGISTRY, STRANGERS, records_of, rows_of
from market_world import ANALYST, BANK, SCENARIO, dataset_of

from clients.errors import EvidenceError
from clients.records import kind_name
from clients.regulator import RegulatorClient

PERSONS = (*KNOWN[100:137], *STRANGERS[:3])
NEGOTIATED = [
    "LICENSE_REQUESTED",
    "LICENSE_OFFERED",
    "LICENSE_ACCEPTED",
    "LICENSE_AGREED",
    "LICENSE_FINALIZED",
]


def checked(market, **filters):
    return [market.auditor.check(record) for record in market.auditor.records(**filters)]


def kinds(records):
    return [kind_name(record.entry.kind) for record in records]


@pytest.fixture
def traded(market):
    """A trade over two providers: where the ledger stood before, and its licenses."""
    before = len(list(market.auditor.records()))
    licenses = market.license_both()
    card = market.deploy(licenses)
    market.bank.score(card, rows_of(PERSONS), consent_reference="vault 7", licenses=licenses)
    return before, licenses


def test_the_regulator_finds_exactly_the_trades_chain_in_order_and_all_of_it_is_proven(market, traded):
    before, licenses = traded
    records = checked(market)
    assert [record.index for record in records] == list(range(len(records)))
    new = records[before:]
    assert len(new) == 2 * (len(NEGOTIATED) + 2)
    for name, provider in zip(licenses, ATTRIBUTES, strict=True):
        chain = [record for record in new if record.entry.license == name]
        assert kinds(chain) == [*NEGOTIATED, "MODEL_DEPLOYED", "RESULT_RELEASED"]
        assert {record.entry.dataset for record in chain} == {dataset_of(provider)}
        assert {record.entry.scenario for record in chain} == {SCENARIO}
        assert {frozenset(record.entry.parties) for record in chain} == {
            frozenset({f"parties/{provider}", f"parties/{BANK}"})
        }
        assert [record.entry.member for record in chain] == [
            "analyst",
            "steward",
            "analyst",
            "steward",
            "analyst",
            "node",
            "node",
        ]
        assert [record.signatures for record in chain] == [0, 0, 0, 1, 3, 2, 2]
        assert [one.entry.time.ToNanoseconds() for one in chain] == sorted(
            one.entry.time.ToNanoseconds() for one in chain
        )


def test_a_release_is_recorded_with_purpose_counts_and_charge_and_both_signed_statements(market, traded):
    _, licenses = traded
    for name in licenses:
        (record,) = checked(market, license_name=name, kinds=[record_pb2.RECORD_KIND_RESULT_RELEASED])
        rows = len(PERSONS)
        assert record.entry.usage == record_pb2.Usage(
            rows_gathered=rows, rows_opened=rows, rows_charged=rows, bits_charged=11 * rows
        )
        assert record.entry.query_kind == query_pb2.QUERY_KIND_NAMED
        release = statement_pb2.ReleaseStatement.FromString(record.entry.statements[0].payload)
        request = statement_pb2.ReleaseRequest.FromString(record.entry.statements[1].payload)
        assert release.block == request.block
        assert (release.rows_opened, request.rows) == (rows, rows)


def test_a_listing_leaves_its_chain_too(market):
    listed = market.publish(BUREAU, "second-bureau", records_of(BUREAU))
    chain = checked(market, dataset=listed.name)
    assert kinds(chain) == ["DATASET_SUBMITTED", "DATASET_LISTED"]
    assert [record.entry.parties[0] for record in chain] == ["parties/" + BUREAU, "parties/market-office"]
    assert {record.entry.revision_digest for record in chain} == {listed.latest_revision.revision_digest}


def test_a_bank_sees_its_own_records_and_no_other_partys(market, traded):
    with market.new_client(RegulatorClient, ANALYST) as bank:
        seen = [bank.check(record).entry for record in bank.records()]
    assert seen
    assert {entry.parties[0] for entry in seen} <= {
        f"parties/{BANK}",
        f"parties/{REGISTRY}",
        f"parties/{BUREAU}",
        "parties/market-office",
    }
    assert all(f"parties/{BANK}" in entry.parties for entry in seen)
    assert len(seen) < len(list(market.auditor.records()))


@pytest.mark.parametrize("place", ["entry", "receipt", "statement"])
def test_a_record_that_was_changed_anywhere_is_found_out(market, traded, place):
    _, licenses = traded
    found = list(
        market.auditor.records(license_name=licenses[0], kinds=[record_pb2.RECORD_KIND_RESULT_RELEASED])
    )
    changed = trade_record_pb2.TradeRecord()
    changed.CopyFrom(found[0])
    entry = record_pb2.TradeRecordEntry.FromString(changed.entry)
    if place == "entry":
        entry.usage.rows_charged -= 1
    elif place == "statement":
        signature = entry.statements[0].signatures[0]
        signature.value = bytes([signature.value[0] ^ 1]) + signature.value[1:]
    else:
        signature = changed.receipt.statement.signatures[0]
        signature.value = bytes([signature.value[0] ^ 1]) + signature.value[1:]
    changed.entry = entry.SerializeToString(deterministic=True)
    with pytest.raises(EvidenceError, match=f"record {found[0].index}: "):
        market.auditor.check(changed)

"""Steps that do not exist, parties that are not there, terms that cannot be: refused, and nothing changed."""

from datetime import UTC, datetime

import grpc
import pytest
from bourse.exchange.v1 import (
    dataset_pb2,
    dataset_service_pb2,
    license_pb2,
    license_service_pb2,
    party_pb2,
    party_service_pb2,
)
from bourse.type.v1 import record_pb2
from exchange_papers import (
    SCENARIO,
    canonical,
    description,
    listing,
    request_id,
    signed,
    terms,
    timestamp,
)
from exchange_steps import (
    ANALYST,
    AUDITOR,
    NODE,
    RIVAL,
    STEWARD,
    dataset_call,
    dataset_in,
    dataset_request,
    fresh_name,
    license_call,
    license_in,
    license_request,
    reason,
    refusal,
)
from exchange_world import (
    ADMIN,
    SECONDS,
    PartyOfTests,
)

from exchange.domain.datasets import DATASET_STATES, REVISABLE, DatasetState
from exchange.domain.licenses import LICENSE_STATES, LicenseState
from wire.signing import Purpose


def test_every_step_of_a_listing_that_does_not_exist_is_refused(market):
    for state in DatasetState:
        for transition in DATASET_STATES.transitions:
            if state in transition.sources:
                continue
            dataset = dataset_in(market, state)
            call = dataset_call(market, transition.verb)
            refused_ = refusal(call, dataset_request(transition.verb, dataset.name))
            assert (refused_.reason, refused_.code) == ("DATASET_STATE", grpc.StatusCode.FAILED_PRECONDITION)
            got = market.as_(STEWARD).datasets.GetDataset(
                dataset_service_pb2.GetDatasetRequest(name=dataset.name), timeout=SECONDS
            )
            assert got == dataset


@pytest.mark.parametrize("state", list(DatasetState))
def test_listings_and_revisions_change_only_in_their_states(market, state):
    dataset = dataset_in(market, state)
    stub = market.as_(STEWARD).datasets
    update = dataset_service_pb2.UpdateDatasetRequest(
        dataset=dataset_pb2.Dataset(name=dataset.name, title="Another title"),
        update_mask={"paths": ["title"]},
        request_id=request_id(),
    )
    if state in {DatasetState.DRAFT, DatasetState.REJECTED}:
        assert stub.UpdateDataset(update, timeout=SECONDS).title == "Another title"
    else:
        assert reason(stub.UpdateDataset, update) == "DATASET_STATE"
    payload = canonical(description(dataset.name.removeprefix("datasets/"), "bureau", revision=2))
    revise = dataset_service_pb2.CreateDatasetRevisionRequest(
        parent=dataset.name,
        revision=dataset_pb2.DatasetRevision(
            description=signed(market.key(NODE), Purpose.DATASET_DESCRIPTION, payload)
        ),
        request_id=request_id(),
    )
    before = len(market.records(dataset=dataset.name))
    if state in REVISABLE:
        assert stub.CreateDatasetRevision(revise, timeout=SECONDS).name == f"{dataset.name}/revisions/2"
        recorded = len(market.records(dataset=dataset.name)) - before
        assert recorded == (0 if state is DatasetState.DRAFT else 1)
    else:
        assert reason(stub.CreateDatasetRevision, revise) == "DATASET_STATE"


# VERIFIED lasts no longer than its transaction, and `finalize` is the exchange's own.
@pytest.mark.parametrize("state", [one for one in LicenseState if one is not LicenseState.VERIFIED])
def test_every_step_of_a_negotiation_that_does_not_exist_is_refused(market, state):
    license_ = license_in(market, state)
    assert license_.state == license_pb2.LicenseState.Value(f"LICENSE_STATE_{state.name}")
    for transition in LICENSE_STATES.transitions:
        if state in transition.sources or transition.verb == "finalize":
            continue
        call = license_call(market, transition.verb)
        refused_ = refusal(call, license_request(market, transition.verb, license_))
        assert (refused_.reason, refused_.code) == ("LICENSE_STATE", grpc.StatusCode.FAILED_PRECONDITION)
    got = market.as_(AUDITOR).licenses.GetLicense(
        license_service_pb2.GetLicenseRequest(name=license_.name), timeout=SECONDS
    )
    assert got == license_


def test_a_party_is_suspended_and_reinstated_once_and_never_by_itself(exchange):
    stub = exchange.as_(ADMIN).parties
    name = "parties/" + fresh_name()
    exchange.register(PartyOfTests(name.removeprefix("parties/"), "bank", ()))

    def suspend(name):
        return party_service_pb2.SuspendPartyRequest(name=name, reason="rules", request_id=request_id())

    def reinstate(name):
        return party_service_pb2.ReinstatePartyRequest(name=name, reason="rules", request_id=request_id())

    assert reason(stub.ReinstateParty, reinstate(name)) == "PARTY_STATE"
    assert stub.SuspendParty(suspend(name), timeout=SECONDS).state == party_pb2.PARTY_STATE_SUSPENDED
    assert reason(stub.SuspendParty, suspend(name)) == "PARTY_STATE"
    assert stub.ReinstateParty(reinstate(name), timeout=SECONDS).state == party_pb2.PARTY_STATE_ACTIVE
    assert reason(stub.SuspendParty, suspend("parties/square")) == "PARTY_STATE"
    assert reason(stub.SuspendParty, suspend("parties/nobody")) == "PARTY_NOT_FOUND"


def test_names_are_taken_once(market):
    party = party_service_pb2.CreatePartyRequest(
        party_id="bureau",
        party=party_pb2.Party(display_name="x", kind=party_pb2.PARTY_KIND_BANK),
        request_id=request_id(),
    )
    taken = refusal(market.as_(ADMIN).parties.CreateParty, party)
    assert (taken.reason, taken.code) == ("PARTY_EXISTS", grpc.StatusCode.ALREADY_EXISTS)
    payload = canonical(description("loans", "rival"))
    dataset = listing()
    dataset.latest_revision.description.CopyFrom(
        signed(market.key(RIVAL.member("node")), Purpose.DATASET_DESCRIPTION, payload)
    )
    request = dataset_service_pb2.CreateDatasetRequest(
        dataset_id="loans", dataset=dataset, request_id=request_id()
    )
    taken = refusal(market.as_(RIVAL.member("steward")).datasets.CreateDataset, request)
    assert (taken.reason, taken.code) == ("DATASET_EXISTS", grpc.StatusCode.ALREADY_EXISTS)


@pytest.mark.parametrize("kind", ["PARTY_KIND_OPERATOR", "PARTY_KIND_UNSPECIFIED", 99])
def test_only_kinds_that_trade_are_registered(exchange, kind):
    request = party_service_pb2.CreatePartyRequest(
        party_id="second-square",
        party=party_pb2.Party(display_name="x", kind=kind),
        request_id=request_id(),
    )
    got = refusal(exchange.as_(ADMIN).parties.CreateParty, request)
    assert [path for path, _ in got.violations] == ["party.kind"]


def created(world, **changes):
    values = {"dataset": "datasets/loans", "scenario": SCENARIO, "terms": terms()} | changes
    return license_service_pb2.CreateLicenseRequest(
        license=license_pb2.License(**values), request_id=request_id()
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"dataset": "datasets/nothing"}, "DATASET_NOT_FOUND"),
        ({"dataset": "loans"}, "FIELD_INVALID"),
        ({"revision": 7}, "DATASET_NOT_FOUND"),
        ({"scenario": "marketing"}, "SCENARIO_NOT_PERMITTED"),
        ({"scenario": ""}, "FIELD_INVALID"),
        ({"terms": None}, "FIELD_INVALID"),
        ({"terms": terms(profile="wide-v1")}, "TERM_NOT_ENFORCED"),
        ({"terms": terms(query_kinds=[5])}, "TERM_NOT_ENFORCED"),
        ({"terms": terms(drop=3)}, "TERM_NOT_ENFORCED"),
        ({"terms": terms(max_rows=0)}, "FIELD_INVALID"),
        ({"terms": terms(columns=["income"])}, "FIELD_INVALID"),
        ({"terms": terms(valid_until=timestamp(datetime(2020, 1, 1, tzinfo=UTC)))}, "FIELD_INVALID"),
    ],
)
def test_a_license_that_cannot_be_is_not_asked_for(market, changes, expected):
    assert reason(market.as_(ANALYST).licenses.CreateLicense, created(market, **changes)) == expected


@pytest.mark.parametrize("state", [one for one in DatasetState if one is not DatasetState.LISTED])
def test_only_a_listed_dataset_is_licensed(market, state):
    dataset = dataset_in(market, state)
    seen = state in {DatasetState.SUSPENDED, DatasetState.DELISTED}
    expected = "DATASET_STATE" if seen else "DATASET_NOT_FOUND"
    request = created(market, dataset=dataset.name)
    assert reason(market.as_(ANALYST).licenses.CreateLicense, request) == expected


def test_a_listing_without_its_evidence_stays_a_draft(market):
    dataset = market.drafted(fresh_name(), evidence=dataset_pb2.ComplianceEvidence(), tags=[])
    got = refusal(market.as_(STEWARD).datasets.SubmitDataset, dataset_request("submit", dataset.name))
    assert got.reason == "DATASET_INCOMPLETE"
    assert "evidence.legality_undertaking, evidence.assessment_sha256, evidence.assessor" in got.message


def test_the_operator_cannot_lock_itself_out(exchange):
    request = party_service_pb2.UpdatePartyRequest(
        party=party_pb2.Party(
            name="parties/square",
            members=[party_pb2.Member(member="officer", roles=["ROLE_COMPLIANCE_OFFICER"])],
        ),
        update_mask={"paths": ["members"]},
        request_id=request_id(),
    )
    assert reason(exchange.as_(ADMIN).parties.UpdateParty, request) == "PARTY_STATE"


def test_a_partys_profile_is_changed_with_a_record(exchange):
    before = exchange.register(PartyOfTests(fresh_name(), "provider", ()))
    changed = exchange.as_(ADMIN).parties.UpdateParty(
        party_service_pb2.UpdatePartyRequest(
            party=party_pb2.Party(
                name=before.name, display_name="New name", node_address="[::1]:7500", etag=before.etag
            ),
            update_mask={"paths": ["display_name", "node_address"]},
            request_id=request_id(),
        ),
        timeout=SECONDS,
    )
    assert (changed.display_name, changed.node_address) == ("New name", "[::1]:7500")
    assert changed.receipt != before.receipt
    kinds = [
        record_pb2.TradeRecordEntry.FromString(one.entry).kind for one in exchange.records(party=before.name)
    ]
    assert kinds == [record_pb2.RECORD_KIND_PARTY_REGISTERED, record_pb2.RECORD_KIND_PARTY_CHANGED]

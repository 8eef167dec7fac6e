"""Whose word it is: descriptions, keys, agreements and statements, each signed by the wrong one."""

from datetime import UTC, datetime, timedelta

import grpc
import pytest
from bourse.exchange.v1 import (
    dataset_pb2,
    dataset_service_pb2,
    license_pb2,
    party_pb2,
    party_service_pb2,
    trade_record_service_pb2,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from exchange_papers import (
    canonical,
    description,
    listing,
    model_statement,
    release_request,
    release_statement,
    request_id,
    sealing_statement,
    signed,
    terms,
    timestamp,
)
from exchange_steps import (
    ANALYST,
    NODE,
    RIVAL,
    STEWARD,
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
    key_registration,
)

from exchange.domain.licenses import LicenseState
from wire.signing import Purpose, public_key_of, sign


@pytest.mark.parametrize(
    ("signer", "purpose", "expected"),
    [
        ("node", Purpose.DATASET_DESCRIPTION, None),
        ("steward", Purpose.DATASET_DESCRIPTION, "SIGNATURE_INVALID"),
        ("rival", Purpose.DATASET_DESCRIPTION, "SIGNATURE_INVALID"),
        ("nobody", Purpose.DATASET_DESCRIPTION, "SIGNATURE_INVALID"),
        ("node", Purpose.AGREEMENT, "SIGNATURE_INVALID"),
    ],
)
def test_a_description_is_its_nodes_word(market, signer, purpose, expected):
    key = {
        "node": market.key(NODE),
        "steward": market.key(STEWARD),
        "rival": market.key(RIVAL.member("node")),
        "nobody": Ed25519PrivateKey.generate(),
    }[signer]
    name = fresh_name()
    dataset = listing()
    dataset.latest_revision.description.CopyFrom(signed(key, purpose, canonical(description(name, "bureau"))))
    request = dataset_service_pb2.CreateDatasetRequest(
        dataset_id=name, dataset=dataset, request_id=request_id()
    )
    call = market.as_(STEWARD).datasets.CreateDataset
    if expected is None:
        assert call(request, timeout=SECONDS).state == dataset_pb2.DATASET_STATE_DRAFT
    else:
        assert reason(call, request) == expected


@pytest.mark.parametrize("other", ["dataset", "provider"])
def test_a_description_of_something_else_is_refused(market, other):
    name = fresh_name()
    of = description(fresh_name(), "bureau") if other == "dataset" else description(name, "rival")
    dataset = listing()
    dataset.latest_revision.description.CopyFrom(
        signed(market.key(NODE), Purpose.DATASET_DESCRIPTION, canonical(of))
    )
    request = dataset_service_pb2.CreateDatasetRequest(
        dataset_id=name, dataset=dataset, request_id=request_id()
    )
    assert reason(market.as_(STEWARD).datasets.CreateDataset, request) == "SIGNATURE_INVALID"


@pytest.mark.parametrize(
    "attack",
    ["another's key", "other party", "other purpose", "no signature", "small order", "bank's for node"],
)
def test_a_key_is_registered_only_by_who_holds_it_for_what_it_is(market, attack):
    key = Ed25519PrivateKey.generate()
    request = key_registration("bureau", "NODE", key)
    expected = "SIGNATURE_INVALID"
    match attack:
        case "another's key":
            request.public_key = public_key_of(Ed25519PrivateKey.generate())
        case "other party":
            request.name = "parties/rival"
        case "other purpose":
            request.purpose = party_pb2.KEY_PURPOSE_STEWARD
        case "no signature":
            request.possession_signature = b""
        case "small order":
            request.public_key = bytes(32)
        case _:
            payload = b"parties/bureau\0KEY_PURPOSE_BANK"
            request.purpose = party_pb2.KEY_PURPOSE_BANK
            request.possession_signature = sign(key, Purpose.KEY_POSSESSION, payload)
            expected = "SIGNING_KEY_UNUSABLE"
    assert reason(market.as_(ADMIN).parties.RegisterSigningKey, request) == expected


def test_a_key_is_retired_once(market):
    party = PartyOfTests(fresh_name(), "bank", (("analyst", ("ANALYST",)),), (("BANK", "analyst"),))
    market.register(party)
    stub = market.as_(ADMIN).parties

    def retire():
        return party_service_pb2.RetireSigningKeyRequest(
            name=f"parties/{party.party}",
            public_key=public_key_of(market.key(party.member("analyst"))),
            reason="lost",
            request_id=request_id(),
        )

    retired = stub.RetireSigningKey(retire(), timeout=SECONDS)
    assert retired.signing_keys[0].HasField("retire_time")
    assert reason(stub.RetireSigningKey, retire()) == "SIGNING_KEY_UNUSABLE"
    registration = key_registration(party.party, "BANK", market.key(party.member("analyst")))
    assert reason(stub.RegisterSigningKey, registration) == "SIGNING_KEY_UNUSABLE"


@pytest.mark.parametrize("step", ["agree", "verify"])
@pytest.mark.parametrize(
    "attack", ["foreign key", "other side's key", "other bytes", "wrong purpose", "none"]
)
def test_only_its_own_sides_pinned_key_signs_an_agreement(market, step, attack):
    license_ = license_in(market, LicenseState.ACCEPTED if step == "agree" else LicenseState.AGREED)
    own, other = (STEWARD, ANALYST) if step == "agree" else (ANALYST, STEWARD)
    payload = license_.agreement.payload
    forged = {
        "foreign key": signed(Ed25519PrivateKey.generate(), Purpose.AGREEMENT, payload),
        "other side's key": signed(market.key(other), Purpose.AGREEMENT, payload),
        "other bytes": signed(market.key(own), Purpose.AGREEMENT, payload[:-1] + bytes([payload[-1] ^ 1])),
        "wrong purpose": signed(market.key(own), Purpose.SEALING, payload),
        "none": license_.agreement if step == "verify" else signed(market.key(own), Purpose.SEALING, b"x"),
    }[attack]
    request = license_request(market, step, license_, agreement=forged)
    assert reason(license_call(market, step), request) == "SIGNATURE_INVALID"
    honest = license_request(market, step, license_)
    license_call(market, step)(honest, timeout=SECONDS)


def model_request(world, license_, sealing, *, node_key=None, bank_key=None, purpose=Purpose.MODEL_STATEMENT):
    bank_says = canonical(sealing_statement(sealing))
    node_says = canonical(model_statement(license_.name, license_.agreement.payload, bank_says))
    return trade_record_service_pb2.RecordModelRequest(
        model_statement=signed(node_key or world.key(NODE), purpose, node_says),
        sealing_statement=signed(bank_key or world.key(ANALYST), Purpose.SEALING, bank_says),
        request_id=request_id(),
    )


def release_of(world, license_, sealing, block, *, node_key=None, bank_key=None, **changes):
    bank_says = canonical(release_request(block, sealing))
    node_says = canonical(
        release_statement(license_.name, license_.agreement.payload, sealing, bank_says, **changes)
    )
    return trade_record_service_pb2.RecordReleaseRequest(
        release_statement=signed(node_key or world.key(NODE), Purpose.RELEASE_STATEMENT, node_says),
        release_request=signed(bank_key or world.key(ANALYST), Purpose.RELEASE_REQUEST, bank_says),
        request_id=request_id(),
    )


def test_what_a_node_has_recorded_must_bear_the_pinned_keys(market):
    license_ = market.licensed("loans")
    stub = market.as_(NODE).records
    foreign = Ed25519PrivateKey.generate()
    sealing = f"sealings/{fresh_name()}-sealing"
    for request in (
        model_request(market, license_, sealing, node_key=foreign),
        model_request(market, license_, sealing, bank_key=foreign),
        model_request(market, license_, sealing, node_key=market.key(STEWARD)),
        model_request(market, license_, sealing, purpose=Purpose.RELEASE_STATEMENT),
    ):
        assert reason(stub.RecordModel, request) == "SIGNATURE_INVALID"
    stub.RecordModel(model_request(market, license_, sealing), timeout=SECONDS)
    block = f"evaluations/{fresh_name()}-evaluation/blocks/0"
    for keys in ({"node_key": foreign}, {"bank_key": foreign}, {"bank_key": market.key(NODE)}):
        request = release_of(market, license_, sealing, block, **keys)
        assert reason(stub.RecordRelease, request) == "SIGNATURE_INVALID"
    assert market.records(license=license_.name, kinds=["RECORD_KIND_RESULT_RELEASED"]) == []


def test_a_node_records_only_under_its_own_providers_licenses(market):
    license_ = market.licensed("loans")
    stub = market.as_(RIVAL.member("node")).records
    request = model_request(market, license_, "sealings/anothers-1")
    assert reason(stub.RecordModel, request) == "STATEMENT_REFUSED"
    unknown = license_pb2.License(name="licenses/0f1e2d3c4b5a", agreement=license_.agreement)
    assert reason(
        market.as_(NODE).records.RecordModel, model_request(market, unknown, "sealings/anothers-2")
    ) == ("STATEMENT_REFUSED")


def test_a_cap_names_its_clause_its_limit_and_the_way_out(market):
    license_ = market.licensed("loans", wanted=terms(max_rows=150))
    sealing = f"sealings/{fresh_name()}-sealing"
    stub = market.as_(NODE).records
    stub.RecordModel(model_request(market, license_, sealing), timeout=SECONDS)
    evaluation = f"evaluations/{fresh_name()}-evaluation/blocks"
    stub.RecordRelease(release_of(market, license_, sealing, f"{evaluation}/0"), timeout=SECONDS)
    got = refusal(stub.RecordRelease, release_of(market, license_, sealing, f"{evaluation}/1"))
    assert (got.reason, got.code) == ("CLAUSE_REFUSED", grpc.StatusCode.FAILED_PRECONDITION)
    assert (got.clause.clause, got.clause.limit, got.clause.asked) == (
        "max_rows",
        "150, of which 100 are used",
        "100",
    )
    assert got.clause.way_out == "ask for at most 50 rows, or negotiate more"
    wrong = release_of(market, license_, sealing, f"{evaluation}/0")
    assert reason(stub.RecordRelease, wrong) == "STATEMENT_REFUSED"


def test_a_license_outside_its_time_records_nothing(market):
    later = timestamp(datetime.now(UTC) + timedelta(hours=1))
    license_ = market.licensed("loans", wanted=terms(valid_from=later))
    got = refusal(market.as_(NODE).records.RecordModel, model_request(market, license_, "sealings/early-01"))
    assert (got.reason, got.clause.clause) == ("CLAUSE_REFUSED", "valid_from")

"""Sealings over mutual TLS: which licenses a node honors, and which sealed models it accepts."""

import asyncio
import os
from datetime import UTC, datetime, timedelta

import grpc
import pytest
import pytest_asyncio
from bourse.compute.v1 import sealing_pb2, sealing_service_pb2
from bourse.type.v1 import agreement_pb2, query_pb2, record_pb2, statement_pb2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sealed.profiles import SCORE_V1
from tests.compute_world import (
    OTHER_ANALYST,
    TIMEOUT,
    canonical,
    fresh_id,
    open_world,
    refusal_of,
    signed_by,
)
from tests.recording_exchange import Fault
from wire.signing import Purpose, public_key_of

STRANGER = Ed25519PrivateKey.generate()
STRANGERS_KEY = public_key_of(STRANGER)
NOW = datetime.now(UTC)
COLUMN = agreement_pb2.AgreementColumn


@pytest_asyncio.fixture
async def world(tmp_path):
    async with open_world(tmp_path) as opened:
        await opened.publish()
        yield opened


async def refused(call) -> object:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return refusal_of(caught.value)


async def test_a_sealing_opens_with_fresh_nonces_and_the_context_the_bank_derives(world):
    signed = world.license()
    one, two = await world.open_sealing(signed), await world.open_sealing(signed)
    assert len({one.owner_nonce, one.sealing_nonce, two.owner_nonce, two.sealing_nonce}) == 4
    assert one.columns == 8 + SCORE_V1.blinds
    assert list(one.missing_columns) == list(range(one.columns))
    assert one.state == sealing_pb2.SEALING_STATE_OPEN
    world.sealed_for(one)


async def test_the_same_request_again_opens_no_second_sealing(world):
    signed, request_id = world.license(), fresh_id()
    first = await world.open_sealing(signed, request_id)
    assert canonical(await world.open_sealing(signed, request_id)) == canonical(first)
    assert (await world.usage()).models == 1


async def test_the_first_reply_is_repeated_when_the_license_has_ended_since(world):
    signed, request_id = world.license(), fresh_id()
    first = await world.open_sealing(signed, request_id)
    await world.stop_node()
    world.clock_ahead(timedelta(hours=2))
    await world.start_node()
    assert canonical(await world.open_sealing(signed, request_id)) == canonical(first)


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"provider": "parties/bureau"},
        {"node_key": STRANGERS_KEY},
        {"exchange": "elsewhere.test"},
        {"exchange_key": STRANGERS_KEY},
        {"steward_key": STRANGERS_KEY},
        {"bank_key": STRANGERS_KEY},
        {"revision": 2},
        {"revision_digest": os.urandom(32)},
        {"dataset": "datasets/other"},
        {"columns": [COLUMN(name="age", bins=4)]},
        {"columns": [COLUMN(name="age", bins=5), COLUMN(name="job", bins=4)]},
        {"columns": [COLUMN(name="job", bins=4), COLUMN(name="age", bins=4)]},
        {"participants": []},
        {"participants": ["parties/registry", "parties/bureau"]},
        {"profile": "wide-v1"},
        {"profile": "score-v2"},
        {"drop": 19},
        {"valid_until": NOW - timedelta(minutes=1)},
        {"valid_from": NOW + timedelta(hours=1)},
    ],
    ids=str,
)
async def test_a_license_that_is_not_for_this_node_is_refused(world, changes):
    refusal = await refused(world.open_sealing(**changes))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "LICENSE_REFUSED")


@pytest.mark.parametrize("missing", [0, 1, 2])
async def test_a_license_needs_all_three_signatures_in_their_order(world, missing):
    keys = [world.steward_key, world.bank_key, world.exchange_key]
    payload = canonical(world.agreement())
    forged = [STRANGER if place == missing else key for place, key in enumerate(keys)]
    orders = [keys[:missing] + keys[missing + 1 :], forged, keys[::-1]]
    for signers in orders:
        refusal = await refused(world.open_sealing(signed_by(Purpose.AGREEMENT, payload, *signers)))
        assert refusal.reason == "LICENSE_REFUSED"


async def test_terms_changed_under_the_signatures_are_refused(world):
    signed = world.license()
    richer = agreement_pb2.Agreement.FromString(signed.payload)
    richer.terms.max_rows = 10**6
    signed.payload = canonical(richer)
    assert (await refused(world.open_sealing(signed))).reason == "LICENSE_REFUSED"


async def test_an_agreement_in_another_spelling_is_refused(world):
    payload = canonical(world.agreement()) + b"\x08\x01"
    keys = (world.steward_key, world.bank_key, world.exchange_key)
    refusal = await refused(world.open_sealing(signed_by(Purpose.AGREEMENT, payload, *keys)))
    assert refusal.reason == "LICENSE_REFUSED"


async def test_a_stewards_key_that_the_node_does_not_honor_signs_nothing(world):
    world.steward_key = Ed25519PrivateKey.generate()
    assert (await refused(world.open_sealing())).reason == "LICENSE_REFUSED"


async def test_another_banks_license_opens_nothing(world):
    call = world.sealings(OTHER_ANALYST).CreateSealing(
        sealing_service_pb2.CreateSealingRequest(
            sealing=sealing_pb2.Sealing(agreement=world.license(), query_kind=query_pb2.QUERY_KIND_NAMED),
            request_id=fresh_id(),
        ),
        timeout=TIMEOUT,
    )
    refusal = await refused(call)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_NOT_ALLOWED")


async def test_two_agreements_of_one_name_cannot_both_be_honored(world):
    await world.open_sealing()
    assert (await refused(world.open_sealing(max_rows=10**6))).reason == "LICENSE_REFUSED"


async def test_more_models_than_licensed_are_refused_by_clause(world):
    signed = world.license(max_models=2)
    await world.open_sealing(signed)
    await world.open_sealing(signed)
    refusal = await refused(world.open_sealing(signed))
    assert (refusal.reason, refusal.clause.clause) == ("CLAUSE_REFUSED", "max_models")


async def test_a_kind_of_query_that_is_not_licensed_is_refused_by_clause(world):
    refusal = await refused(world.open_sealing(query_kinds=[]))
    assert (refusal.reason, refusal.clause.clause) == ("CLAUSE_REFUSED", "query_kinds")


async def test_an_accepted_model_is_recorded_with_both_statements(world):
    deployed = await world.deploy()
    entry = record_pb2.TradeRecordEntry.FromString(deployed.sealing.entry)
    assert entry.kind == record_pb2.RECORD_KIND_MODEL_DEPLOYED
    assert entry.statements[1] == deployed.statement
    said = statement_pb2.ModelStatement.FromString(entry.statements[0].payload)
    assert (said.sealing, said.columns) == (deployed.sealing.name, 8)
    assert deployed.sealing.state == sealing_pb2.SEALING_STATE_ACCEPTED
    assert list(deployed.sealing.missing_columns) == []


async def test_the_same_statement_again_gets_the_same_sealing_and_one_record(world):
    deployed = await world.deploy()
    again = await world.accept(deployed.sealing.name, deployed.statement)
    assert canonical(again) == canonical(deployed.sealing)
    assert len(world.recorder.entries) == 1


async def test_another_model_cannot_take_an_accepted_sealing(world):
    deployed = await world.deploy()
    model, _, statement = world.sealed_for(deployed.sealing, [-w for w in world.weights()])
    refusal = await refused(world.put_columns(deployed.sealing.name, model.packed()))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "SEALING_STATE")
    assert (await refused(world.accept(deployed.sealing.name, statement))).reason == "SEALING_STATE"


async def test_the_same_column_again_changes_nothing(world):
    deployed = await world.deploy()
    await world.put_columns(deployed.sealing.name, deployed.model.packed()[:2])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda _: b"",
        lambda data: b"\xff\xff\xff\xff" + data[4:],
        lambda data: SCORE_V1.primes[0].to_bytes(4, "little") + data[4:],
        lambda data: data[:-4] + SCORE_V1.primes[3].to_bytes(4, "little"),
    ],
    ids=["short", "trailing", "empty", "largest", "first-prime", "last-prime"],
)
async def test_a_malformed_column_is_refused(world, spoil):
    sealing = await world.open_sealing()
    model, _, _ = world.sealed_for(sealing)
    refusal = await refused(world.put_columns(sealing.name, [spoil(model.packed()[0])]))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "SEALED_MODEL_INVALID")
    assert 0 in (await found(world, sealing.name)).missing_columns


async def test_a_column_beyond_the_last_is_refused(world):
    sealing = await world.open_sealing()
    call = world.sealings().PutSealedColumn(
        sealing_service_pb2.PutSealedColumnRequest(
            sealing=sealing.name, index=sealing.columns, data=bytes(SCORE_V1.column_bytes)
        ),
        timeout=TIMEOUT,
    )
    assert (await refused(call)).violations[0][0] == "index"


async def test_a_model_with_columns_missing_is_refused(world):
    sealing = await world.open_sealing()
    model, _, statement = world.sealed_for(sealing)
    await world.put_columns(sealing.name, model.packed()[:-1])
    refusal = await refused(world.accept(sealing.name, statement))
    assert refusal.reason == "SEALED_MODEL_INVALID"
    assert list((await found(world, sealing.name)).missing_columns) == [sealing.columns - 1]


async def test_columns_changed_under_the_banks_signature_are_refused(world):
    sealing = await world.open_sealing()
    model, _, statement = world.sealed_for(sealing)
    columns = model.packed()
    await world.put_columns(sealing.name, [columns[1], columns[0], *columns[2:]])
    assert (await refused(world.accept(sealing.name, statement))).reason == "SEALED_MODEL_INVALID"
    assert world.recorder.entries == []


async def test_a_model_sealed_for_another_sealing_is_refused(world):
    signed = world.license()
    one, two = await world.open_sealing(signed), await world.open_sealing(signed)
    model, _, statement = world.sealed_for(one)
    await world.put_columns(two.name, model.packed())
    assert (await refused(world.accept(two.name, statement))).reason == "SEALED_MODEL_INVALID"


async def test_a_model_signed_by_another_key_is_refused(world):
    sealing = await world.open_sealing()
    model, _, statement = world.sealed_for(sealing)
    await world.put_columns(sealing.name, model.packed())
    forged = signed_by(Purpose.SEALING, statement.payload, STRANGER)
    assert (await refused(world.accept(sealing.name, forged))).reason == "SIGNATURE_INVALID"


@pytest.mark.parametrize("fault", [Fault.AWAY, Fault.REPLY_LOST, Fault.OTHER_STATEMENT, Fault.OTHER_KEY])
async def test_a_model_is_not_accepted_before_its_record_is_proven(world, fault):
    sealing = await world.open_sealing()
    model, digest, statement = world.sealed_for(sealing)
    await world.put_columns(sealing.name, model.packed())
    world.recorder.faults.append(fault)
    refusal = await refused(world.accept(sealing.name, statement))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "RELEASE_UNRECORDED")
    assert (await found(world, sealing.name)).state == sealing_pb2.SEALING_STATE_OPEN
    assert digest


async def test_repeating_the_statement_settles_a_deployment_in_doubt(world):
    sealing = await world.open_sealing()
    model, _, statement = world.sealed_for(sealing)
    await world.put_columns(sealing.name, model.packed())
    world.recorder.faults.append(Fault.REPLY_LOST)
    await refused(world.accept(sealing.name, statement))
    accepted = await world.accept(sealing.name, statement)
    assert accepted.state == sealing_pb2.SEALING_STATE_ACCEPTED
    assert len(world.recorder.entries) == 1
    assert len(set(world.recorder.asked)) == 1


async def test_while_a_deployment_is_in_doubt_its_columns_are_fixed(world):
    sealing = await world.open_sealing()
    model, _, statement = world.sealed_for(sealing)
    await world.put_columns(sealing.name, model.packed())
    world.recorder.faults.append(Fault.AWAY)
    await refused(world.accept(sealing.name, statement))
    other, _, changed = world.sealed_for(sealing, [-w for w in world.weights()])
    assert (await refused(world.put_columns(sealing.name, other.packed()))).reason == "SEALING_STATE"
    assert (await refused(world.accept(sealing.name, changed))).reason == "SEALING_STATE"


async def test_a_deployment_definitely_refused_may_be_tried_again(world):
    sealing = await world.open_sealing()
    model, _, statement = world.sealed_for(sealing)
    await world.put_columns(sealing.name, model.packed())
    world.recorder.faults.append(Fault.REFUSED)
    refusal = await refused(world.accept(sealing.name, statement))
    assert (refusal.reason, refusal.clause.clause) == ("CLAUSE_REFUSED", "max_rows")
    await world.put_columns(sealing.name, model.packed())
    accepted = await world.accept(sealing.name, statement)
    assert accepted.state == sealing_pb2.SEALING_STATE_ACCEPTED


async def test_a_model_accepted_many_times_at_once_is_recorded_once(world):
    sealing = await world.open_sealing()
    model, _, statement = world.sealed_for(sealing)
    await world.put_columns(sealing.name, model.packed())
    replies = await asyncio.gather(*(world.accept(sealing.name, statement) for _ in range(6)))
    assert len({canonical(reply) for reply in replies}) == 1
    assert len(world.recorder.entries) == 1


async def test_another_bank_finds_no_such_sealing(world):
    deployed = await world.deploy()
    stub, name = world.sealings(OTHER_ANALYST), deployed.sealing.name
    for call in (
        stub.GetSealing(sealing_service_pb2.GetSealingRequest(name=name), timeout=TIMEOUT),
        stub.PutSealedColumn(
            sealing_service_pb2.PutSealedColumnRequest(sealing=name, index=0, data=b""), timeout=TIMEOUT
        ),
        stub.AcceptSealing(
            sealing_service_pb2.AcceptSealingRequest(name=name, statement=deployed.statement), timeout=TIMEOUT
        ),
    ):
        refusal = await refused(call)
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.NOT_FOUND, "SEALING_NOT_FOUND")


async def found(world, name: str) -> sealing_pb2.Sealing:
    return await world.sealings().GetSealing(
        sealing_service_pb2.GetSealingRequest(name=name), timeout=TIMEOUT
    )

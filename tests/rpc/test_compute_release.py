"""Release over mutual TLS: what is refused, what is charged, and what a failing exchange can do to it."""

import asyncio
import os
from datetime import timedelta

import grpc
import pytest
import pytest_asyncio
from bourse.compute.v1 import evaluation_service_pb2
from bourse.type.v1 import record_pb2, statement_pb2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sealed.packing import parse_released
from sealed.profiles import SCORE_V1
from tests.compute_world import (
    DROP,
    OTHER_ANALYST,
    SECRET_ID,
    TIMEOUT,
    canonical,
    open_world,
    refusal_of,
    signed_by,
    until,
)
from tests.recording_exchange import Fault
from wire.signing import Purpose

PERSONS = [f"p{n}" for n in range(10)]
ROWS = [0, 3, 7]
IN_DOUBT = [
    Fault.AWAY,
    Fault.BROKEN,
    Fault.REPLY_LOST,
    Fault.FOREIGN_REFUSAL,
    Fault.OTHER_KEY,
    Fault.OTHER_LEAF,
    Fault.OTHER_ORIGIN,
    Fault.OTHER_STATEMENT,
    Fault.OTHER_CHARGE,
    Fault.OTHER_KIND,
    Fault.NO_RECEIPT,
]
MENDED_BY_ASKING_AGAIN = [Fault.AWAY, Fault.BROKEN, Fault.REPLY_LOST, Fault.FOREIGN_REFUSAL, Fault.NO_RECEIPT]


@pytest_asyncio.fixture
async def world(tmp_path):
    async with open_world(tmp_path) as opened:
        await opened.publish()
        yield opened


@pytest_asyncio.fixture
async def deployed(world):
    return await world.deploy()


@pytest_asyncio.fixture
async def block(world, deployed):
    return await world.evaluated(deployed, PERSONS)


async def refused(call) -> object:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return refusal_of(caught.value)


async def charged(world) -> tuple[int, int]:
    usage = await world.usage()
    return usage.rows, usage.bits


async def test_the_first_release_charges_every_row_gathered_and_later_ones_nothing(world, deployed, block):
    await world.release(world.release_request(deployed, block, [2]))
    assert await charged(world) == (10, 110)
    await world.release(world.release_request(deployed, block, [3, 4]))
    assert await charged(world) == (10, 110)
    assert [entry.usage.rows_charged for entry in world.recorder.entries[1:]] == [10, 0]
    assert [entry.usage.rows_opened for entry in world.recorder.entries[1:]] == [1, 2]


async def test_a_release_hands_over_the_top_bits_of_the_rows_asked_for_and_nothing_else(
    world, deployed, block
):
    reply = await world.release(world.release_request(deployed, block, ROWS))
    assert len(reply.released) == 4 * len(ROWS)
    values = parse_released(SCORE_V1, reply.released, len(ROWS), DROP)
    assert values.max() < 1 << 11
    clear = [world.score_in_clear(deployed, PERSONS[row]) for row in ROWS]
    assert world.opened(deployed, block, ROWS, reply.released) == clear


async def test_the_reply_proves_what_the_exchange_recorded(world, deployed, block):
    request = world.release_request(deployed, block, ROWS)
    reply = await world.release(request)
    entry = record_pb2.TradeRecordEntry.FromString(reply.entry)
    assert entry.kind == record_pb2.RECORD_KIND_RESULT_RELEASED
    assert list(entry.statements) == [reply.statement, request.request]
    said = statement_pb2.ReleaseStatement.FromString(reply.statement.payload)
    assert (said.rows_gathered, said.rows_opened, said.rows_charged, said.bits_charged) == (10, 3, 10, 110)
    assert len(said.place) == len(said.consent_digest) == 32


async def test_the_same_request_again_gets_the_same_bytes_and_charges_nothing(world, deployed, block):
    request = world.release_request(deployed, block, ROWS)
    first = await world.release(request)
    assert canonical(await world.release(request)) == canonical(first)
    assert await charged(world) == (10, 110)
    assert len(world.recorder.entries) == 2


async def test_the_same_request_gets_the_same_bytes_after_a_restart(world, deployed, block):
    request = world.release_request(deployed, block, ROWS)
    first = await world.release(request)
    await world.stop_node()
    await world.start_node()
    assert canonical(await world.release(request)) == canonical(first)
    assert await charged(world) == (10, 110)


@pytest.mark.parametrize(
    "changes",
    [
        {"c0_digest": os.urandom(32)},
        {"block_digest": os.urandom(32)},
        {"drop": DROP - 1},
        {"drop": DROP + 1},
        {"rows_digest": os.urandom(32)},
        {"rows": 2},
        {"rows": 4},
    ],
    ids=["other-sealing", "other-block", "lower-drop", "higher-drop", "other-rows", "fewer", "more"],
)
async def test_a_request_that_does_not_fit_the_block_is_refused(world, deployed, block, changes):
    refusal = await refused(world.release(world.release_request(deployed, block, ROWS, **changes)))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "RELEASE_REFUSED")
    assert await charged(world) == (0, 0)


@pytest.mark.parametrize(
    "rows",
    [[10], [0, 10], [8191], [2**32 - 1], [1, 1], [3, 2], []],
    ids=["first-beyond", "one-beyond", "last-coefficient", "largest", "repeated", "falling", "none"],
)
async def test_rows_outside_repeated_or_unordered_are_refused(world, deployed, block, rows):
    refusal = await refused(world.release(world.release_request(deployed, block, rows)))
    assert refusal.reason == "RELEASE_REFUSED"
    assert await charged(world) == (0, 0)


@pytest.mark.parametrize("changes", [{"version": 2}, {"nonce": b"short"}, {"query_kind": 0}])
async def test_a_malformed_request_is_refused_by_field(world, deployed, block, changes):
    refusal = await refused(world.release(world.release_request(deployed, block, ROWS, **changes)))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")
    assert refusal.violations[0][0].startswith("request.")


async def test_a_request_signed_by_another_key_is_refused(world, deployed, block):
    request = world.release_request(deployed, block, ROWS, signer=Ed25519PrivateKey.generate())
    refusal = await refused(world.release(request))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "SIGNATURE_INVALID")


async def test_a_signature_for_another_purpose_is_refused(world, deployed, block):
    request = world.release_request(deployed, block, ROWS)
    request.request.CopyFrom(signed_by(Purpose.SEALING, request.request.payload, world.bank_key))
    assert (await refused(world.release(request))).reason == "SIGNATURE_INVALID"


async def test_bytes_changed_under_a_signature_are_refused(world, deployed, block):
    request = world.release_request(deployed, block, ROWS)
    message = statement_pb2.ReleaseRequest.FromString(request.request.payload)
    message.drop = DROP - 2
    request.request.payload = canonical(message)
    assert (await refused(world.release(request))).reason == "SIGNATURE_INVALID"


async def test_request_bytes_in_another_spelling_are_refused(world, deployed, block):
    request = world.release_request(deployed, block, ROWS)
    spelled = request.request.payload + b"\x08\x01"
    request.request.CopyFrom(signed_by(Purpose.RELEASE_REQUEST, spelled, world.bank_key))
    assert (await refused(world.release(request))).reason == "FIELD_INVALID"


async def test_another_sealings_digest_does_not_open_this_ones_block(world, deployed, block):
    other = await world.deploy()
    refusal = await refused(
        world.release(world.release_request(deployed, block, ROWS, c0_digest=other.c0_digest))
    )
    assert refusal.reason == "RELEASE_REFUSED"


async def test_another_bank_finds_no_such_block(world, deployed, block):
    request = world.release_request(deployed, block, ROWS)
    stub = world.evaluations(OTHER_ANALYST)
    refusal = await refused(stub.ReleaseBlock(request, timeout=TIMEOUT))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.NOT_FOUND, "EVALUATION_NOT_FOUND")


async def test_an_expired_license_opens_nothing_more_but_repeats_what_it_opened(world, deployed, block):
    request = world.release_request(deployed, block, ROWS)
    first = await world.release(request)
    await world.stop_node()
    world.clock_ahead(timedelta(hours=2))
    await world.start_node()
    refusal = await refused(world.release(world.release_request(deployed, block, [1])))
    assert (refusal.reason, refusal.clause.clause) == ("CLAUSE_REFUSED", "valid_until")
    assert canonical(await world.release(request)) == canonical(first)


@pytest.mark.parametrize("fault", IN_DOUBT)
async def test_nothing_leaves_while_a_release_is_in_doubt(world, deployed, block, fault):
    world.recorder.faults.append(fault)
    refusal = await refused(world.release(world.release_request(deployed, block, ROWS)))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "RELEASE_UNRECORDED")
    assert await charged(world) == (10, 110)


@pytest.mark.parametrize("fault", MENDED_BY_ASKING_AGAIN)
async def test_the_same_request_settles_a_release_in_doubt_with_one_charge(world, deployed, block, fault):
    world.recorder.faults.append(fault)
    request = world.release_request(deployed, block, ROWS)
    await refused(world.release(request))
    reply = await world.release(request)
    clear = [world.score_in_clear(deployed, PERSONS[row]) for row in ROWS]
    assert world.opened(deployed, block, ROWS, reply.released) == clear
    assert await charged(world) == (10, 110)
    assert world.recorder.rows_charged == 10
    assert len(set(world.recorder.asked[1:])) == 1


async def test_another_request_settles_the_one_in_doubt_before_it_is_charged(world, deployed, block):
    world.recorder.faults.append(Fault.REPLY_LOST)
    await refused(world.release(world.release_request(deployed, block, ROWS)))
    await world.release(world.release_request(deployed, block, [1]))
    assert await charged(world) == (10, 110)
    assert [entry.usage.rows_charged for entry in world.recorder.entries[1:]] == [10, 0]


async def test_another_request_opens_nothing_while_the_one_that_charges_is_in_doubt(world, deployed, block):
    world.recorder.faults.extend([Fault.AWAY, Fault.AWAY])
    await refused(world.release(world.release_request(deployed, block, ROWS)))
    refusal = await refused(world.release(world.release_request(deployed, block, [1])))
    assert refusal.reason == "RELEASE_UNRECORDED"
    assert len(world.recorder.entries) == 1


async def test_a_definite_refusal_gives_everything_back_and_says_the_clause(world, deployed, block):
    world.recorder.faults.append(Fault.REFUSED)
    request = world.release_request(deployed, block, ROWS)
    refusal = await refused(world.release(request))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "CLAUSE_REFUSED")
    assert (refusal.clause.clause, refusal.clause.way_out) == ("max_rows", "negotiate more")
    assert await charged(world) == (0, 0)
    await world.release(request)
    assert await charged(world) == (10, 110)


async def test_openings_given_back_can_be_used_again(world, deployed, block):
    for _ in range(3):
        world.recorder.faults.append(Fault.REFUSED)
        await refused(world.release(world.release_request(deployed, block, ROWS)))
    await world.release(world.release_request(deployed, block, ROWS))
    again = await world.evaluated(deployed, PERSONS)
    await world.release(world.release_request(deployed, again, ROWS))
    refusal = await refused(world.ask(deployed, PERSONS[:1]))
    assert refusal.clause.clause == "max_openings_per_entity"


async def test_a_refused_release_that_charged_lets_the_next_one_charge(world, deployed, block):
    world.recorder.faults.extend([Fault.AWAY, Fault.REFUSED])
    await refused(world.release(world.release_request(deployed, block, ROWS)))
    await world.release(world.release_request(deployed, block, [5]))
    assert await charged(world) == (10, 110)
    assert [entry.usage.rows_charged for entry in world.recorder.entries[1:]] == [10]


async def test_a_node_not_let_in_at_its_first_attempt_gives_everything_back(world, deployed, block):
    world.recorder.faults.append(Fault.SUSPENDED)
    refusal = await refused(world.release(world.release_request(deployed, block, ROWS)))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "PARTY_SUSPENDED")
    assert await charged(world) == (0, 0)


async def test_a_node_not_let_in_later_keeps_what_it_reserved(world, deployed, block):
    world.recorder.faults.extend([Fault.REPLY_LOST, Fault.SUSPENDED])
    request = world.release_request(deployed, block, ROWS)
    await refused(world.release(request))
    assert (await refused(world.release(request))).reason == "RELEASE_UNRECORDED"
    assert await charged(world) == (10, 110)
    await world.release(request)
    assert world.recorder.rows_charged == 10


async def test_a_release_in_doubt_is_settled_by_the_nodes_next_start(world, deployed, block):
    world.recorder.faults.append(Fault.REPLY_LOST)
    await refused(world.release(world.release_request(deployed, block, ROWS)))
    await world.stop_node()
    asked = len(world.recorder.asked)
    await world.start_node()
    await until(lambda: len(world.recorder.asked) > asked)
    assert world.recorder.asked[-1] == world.recorder.asked[-2]
    assert await charged(world) == (10, 110)


async def test_a_release_in_doubt_survives_the_licenses_end(world, deployed, block):
    world.recorder.faults.append(Fault.REPLY_LOST)
    request = world.release_request(deployed, block, ROWS)
    await refused(world.release(request))
    await world.stop_node()
    world.clock_ahead(timedelta(hours=2))
    await world.start_node()
    reply = await world.release(request)
    clear = [world.score_in_clear(deployed, PERSONS[row]) for row in ROWS]
    assert world.opened(deployed, block, ROWS, reply.released) == clear


async def test_a_bank_that_hangs_up_finds_its_release_done(world, deployed, block):
    request = world.release_request(deployed, block, ROWS)
    world.recorder.gate.clear()
    waiting = world.recorder.waiting
    call = world.evaluations().ReleaseBlock(request, timeout=TIMEOUT)
    await until(lambda: world.recorder.waiting > waiting)
    call.cancel()
    world.recorder.gate.set()
    await until(lambda: len(world.recorder.entries) == 2)
    await world.release(request)
    assert await charged(world) == (10, 110)
    assert len(world.recorder.entries) == 2


async def test_many_releases_of_one_block_at_once_charge_it_once(world, deployed, block):
    requests = [world.release_request(deployed, block, [row]) for row in range(10)]
    await asyncio.gather(*(world.release(request) for request in requests))
    assert await charged(world) == (10, 110)
    assert sum(entry.usage.rows_charged for entry in world.recorder.entries) == 10


async def test_the_same_request_many_times_at_once_is_recorded_once(world, deployed, block):
    request = world.release_request(deployed, block, ROWS)
    replies = await asyncio.gather(*(world.release(request) for _ in range(8)))
    assert len({canonical(reply) for reply in replies}) == 1
    assert len(world.recorder.entries) == 2


async def test_caps_are_checked_again_when_blocks_evaluated_together_are_released(world):
    deployed = await world.deploy(max_rows=15)
    one = await world.evaluated(deployed, PERSONS)
    two = await world.evaluated(deployed, [f"p{n}" for n in range(10, 20)])
    await world.release(world.release_request(deployed, one, ROWS))
    refusal = await refused(world.release(world.release_request(deployed, two, [0])))
    assert (refusal.reason, refusal.clause.clause) == ("CLAUSE_REFUSED", "max_rows")
    assert refusal.clause.limit == "15, of which 10 used"
    assert (await world.usage()).rows == 10


async def test_the_statement_to_the_exchange_names_no_row_and_no_person(world, deployed):
    # Identifiers so long that random bytes do not spell them by chance.
    persons = [SECRET_ID, "applicant-4711"]
    block = await world.evaluated(deployed, persons)
    await world.release(world.release_request(deployed, block, [0, 1]))
    known = {field.name for field in evaluation_service_pb2.ReleaseBlockRequest.DESCRIPTOR.fields}
    assert known == {"request", "rows", "rows_salt"}
    said = b"".join(canonical(entry) for entry in world.recorder.entries)
    assert not any(person.encode() in said for person in persons)

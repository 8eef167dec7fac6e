"""Evaluations over mutual TLS: what is asked, what is refused before anything is done, what a stop leaves."""

import asyncio
import hashlib

import grpc
import pytest
import pytest_asyncio
from bourse.compute.v1 import evaluation_pb2, evaluation_service_pb2

from compute import server
from compute.engine.workers import WorkerEngine
from sealed.profiles import SCORE_V1
from tests.compute_world import (
    LICENSE,
    OTHER_ANALYST,
    SECRET_ID,
    STEWARD,
    TIMEOUT,
    WitnessEngine,
    canonical,
    fresh_id,
    open_world,
    refusal_of,
    until,
)

PERSONS = [f"p{n}" for n in range(10)]


@pytest_asyncio.fixture
async def world(tmp_path):
    async with open_world(tmp_path) as opened:
        await opened.publish()
        yield opened


async def refused(call) -> object:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return refusal_of(caught.value)


async def test_a_block_is_the_same_bytes_every_time_and_after_a_restart(world):
    block = await world.evaluated(await world.deploy(), PERSONS)
    assert len(block.data) == SCORE_V1.block_bytes
    assert hashlib.sha256(block.data).digest() == block.sha256
    assert block.rows == len(PERSONS)
    evaluation = block.name.rpartition("/blocks/")[0]
    assert await world.block(evaluation) == block
    await world.stop_node()
    await world.start_node()
    assert await world.block(evaluation) == block


async def test_the_same_persons_asked_for_again_make_another_block(world):
    deployed = await world.deploy()
    one, two = await world.evaluated(deployed, PERSONS), await world.evaluated(deployed, PERSONS)
    assert one.data != two.data


async def test_the_same_request_again_starts_no_second_evaluation(world):
    deployed = await world.deploy()
    request_id = fresh_id()
    first = await world.ask(deployed, PERSONS, request_id)
    await world.evaluation_outcome(first.name)
    assert canonical(await world.ask(deployed, PERSONS, request_id)) == canonical(first)
    assert len(world.engine.tasks) == 1
    assert (await refused(world.ask(deployed, PERSONS[:1], request_id))).reason == "REQUEST_ID_REUSED"


async def test_evaluating_charges_nothing(world):
    await world.evaluated(await world.deploy(), PERSONS)
    usage = await world.usage()
    assert (usage.rows, usage.bits, usage.models) == (0, 0, 1)


async def test_only_the_rows_asked_for_are_given_to_the_engine(world):
    await world.evaluated(await world.deploy(), ["p9", "nobody", "p1"])
    (task,) = world.engine.tasks
    assert task.rows == 3
    assert task.bins == bytes([1, 2, 0, 0, 1, 2])


async def test_every_block_has_a_seed_and_a_place_of_its_own(world):
    deployed = await world.deploy(max_rows=10**6, max_bits=10**8)
    persons = [f"x{n}" for n in range(8192 + 5)]
    started = await world.ask(deployed, persons)
    done = await world.evaluation_outcome(started.name)
    assert (done.rows, done.blocks, done.blocks_done) == (8197, 2, 2)
    assert [(await world.block(done.name, n)).rows for n in (0, 1)] == [8192, 5]
    assert len({task.seed for task in world.engine.tasks}) == 2
    assert len({task.place for task in world.engine.tasks}) == 2


@pytest.mark.parametrize(
    ("changes", "clause"),
    [
        ({"max_rows": 9}, "max_rows"),
        ({"max_bits": 109}, "max_bits"),
        ({"max_openings_per_entity": 0}, "max_openings_per_entity"),
    ],
)
async def test_what_no_release_could_pay_is_refused_up_front(world, changes, clause):
    deployed = await world.deploy(**changes)
    refusal = await refused(world.ask(deployed, PERSONS))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "CLAUSE_REFUSED")
    assert refusal.clause.clause == clause
    assert all((refusal.clause.limit, refusal.clause.asked, refusal.clause.way_out))


async def test_a_clause_refuses_alike_whether_the_persons_are_known_or_not(world):
    deployed = await world.deploy(max_rows=3)
    known = await refused(world.ask(deployed, ["p1", "p2", "p3", "p4"]))
    unknown = await refused(world.ask(deployed, ["a", "b", "c", "d"]))
    assert known == unknown


async def test_a_person_charged_too_often_is_refused_by_place_and_not_by_name(world):
    deployed = await world.deploy(max_openings_per_entity=1)
    block = await world.evaluated(deployed, [SECRET_ID, "p1"])
    await world.release(world.release_request(deployed, block, [0]))
    refusal = await refused(world.ask(deployed, ["p2", SECRET_ID]))
    assert refusal.clause.clause == "max_openings_per_entity"
    assert "those at 2, " in refusal.clause.asked
    assert SECRET_ID not in str(refusal)
    await world.ask(deployed, ["p2", "p3"])


@pytest.mark.parametrize(
    ("persons", "field"),
    [
        ([], "evaluation.entity_ids"),
        (["a", "b", "a"], "evaluation.entity_ids[2]"),
        (["a", ""], "evaluation.entity_ids[1]"),
        (["x" * 65], "evaluation.entity_ids[0]"),
        ([f"{n}" for n in range(65_537)], "evaluation.entity_ids"),
    ],
    ids=["nobody", "twice", "empty", "long", "too-many"],
)
async def test_a_malformed_list_of_persons_is_refused_by_place(world, persons, field):
    refusal = await refused(world.ask(await world.deploy(), persons))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")
    assert refusal.violations[0][0] == field


@pytest.mark.parametrize("reference", ["", "x" * 201, "line\nbreak"])
async def test_a_consent_reference_is_needed_and_bounded(world, reference):
    deployed = await world.deploy()
    call = world.evaluations().CreateEvaluation(
        evaluation_service_pb2.CreateEvaluationRequest(
            evaluation=evaluation_pb2.Evaluation(
                sealing=deployed.sealing.name, entity_ids=["p1"], consent_reference=reference
            ),
            request_id=fresh_id(),
        ),
        timeout=TIMEOUT,
    )
    assert (await refused(call)).violations[0][0] == "evaluation.consent_reference"


async def test_a_sealing_that_is_not_accepted_evaluates_nothing(world):
    sealing = await world.open_sealing()
    call = world.evaluations().CreateEvaluation(
        evaluation_service_pb2.CreateEvaluationRequest(
            evaluation=evaluation_pb2.Evaluation(
                sealing=sealing.name, entity_ids=["p1"], consent_reference="form 1"
            ),
            request_id=fresh_id(),
        ),
        timeout=TIMEOUT,
    )
    assert (await refused(call)).reason == "SEALING_STATE"


async def test_another_bank_finds_no_such_evaluation(world):
    block = await world.evaluated(await world.deploy(), PERSONS)
    evaluation = block.name.rpartition("/blocks/")[0]
    stub = world.evaluations(OTHER_ANALYST)
    for call in (
        stub.GetEvaluation(evaluation_service_pb2.GetEvaluationRequest(name=evaluation), timeout=TIMEOUT),
        stub.GetBlock(evaluation_service_pb2.GetBlockRequest(name=block.name), timeout=TIMEOUT),
    ):
        refusal = await refused(call)
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.NOT_FOUND, "EVALUATION_NOT_FOUND")


@pytest.mark.parametrize("number", ["1", "8", "9999999"])
async def test_a_block_that_the_evaluation_lacks_is_not_found(world, number):
    block = await world.evaluated(await world.deploy(), PERSONS)
    name = f"{block.name.rpartition('/')[0]}/{number}"
    call = world.evaluations().GetBlock(evaluation_service_pb2.GetBlockRequest(name=name), timeout=TIMEOUT)
    assert (await refused(call)).reason == "EVALUATION_NOT_FOUND"


async def test_a_block_is_not_there_before_it_is_evaluated(world):
    deployed = await world.deploy()
    world.engine.hold.clear()
    started = await world.ask(deployed, PERSONS)
    assert (await refused(world.block(started.name))).reason == "EVALUATION_STATE"
    world.engine.hold.set()
    await world.evaluation_outcome(started.name)
    await world.block(started.name)


async def test_an_engine_that_fails_is_an_outcome_that_tells_nothing(world):
    deployed = await world.deploy()
    world.engine.broken = True
    started = await world.ask(deployed, PERSONS)
    done = await world.evaluation_outcome(started.name)
    assert done.state == evaluation_pb2.EVALUATION_STATE_FAILED
    assert SECRET_ID not in done.error
    assert (await refused(world.block(started.name))).reason == "EVALUATION_STATE"


async def interrupted(world, persons=PERSONS):
    """An evaluation that the node's stop caught after its block was decided, before it was evaluated."""
    deployed = await world.deploy()
    world.engine.hold.clear()
    started = await world.ask(deployed, persons)
    await until(lambda: bool(world.engine.tasks))
    (before,) = world.engine.tasks
    await world.stop_node()
    return deployed, started, before


async def test_an_evaluation_that_a_stop_interrupted_ends_as_it_was_decided(world):
    deployed, started, before = await interrupted(world)
    await world.start_node()
    await world.evaluation_outcome(started.name)
    (after,) = world.engine.tasks
    assert (after.seed, after.place, after.bins) == (before.seed, before.place, before.bins)
    block = await world.block(started.name)
    reply = await world.release(world.release_request(deployed, block, [0, 1]))
    clear = [world.score_in_clear(deployed, person) for person in PERSONS[:2]]
    assert world.opened(deployed, block, [0, 1], reply.released) == clear


async def test_a_withdrawal_meanwhile_means_other_rows_under_another_mask(world):
    deployed, started, before = await interrupted(world)
    hold = [True]

    class Held(WitnessEngine):
        def __init__(self) -> None:
            super().__init__()
            if hold[0]:
                self.hold.clear()

    world.make_engine = Held
    await world.start_node()
    await world.withdraw("p1")
    await world.stop_node()
    hold[0] = False
    await world.start_node()
    await world.evaluation_outcome(started.name)
    (after,) = world.engine.tasks
    assert after.bins[2:4] == bytes([0, 0]) != before.bins[2:4]
    assert after.seed != before.seed
    assert after.place != before.place
    block = await world.block(started.name)
    reply = await world.release(world.release_request(deployed, block, [0, 1]))
    clear = [world.score_in_clear(deployed, person) for person in ("p0", "nobody")]
    assert world.opened(deployed, block, [0, 1], reply.released) == clear


async def test_an_evaluation_that_runs_is_not_started_twice(world, monkeypatch):
    monkeypatch.setattr(server, "SWEEP_SECONDS", 0.02)
    await world.stop_node()
    await world.start_node()
    deployed = await world.deploy()
    world.engine.hold.clear()
    started = await world.ask(deployed, PERSONS)
    await until(lambda: bool(world.engine.tasks))
    await asyncio.sleep(0.2)
    world.engine.hold.set()
    await world.evaluation_outcome(started.name)
    assert len(world.engine.tasks) == 1


async def test_a_lost_or_damaged_copy_of_a_sealed_model_is_made_again(world):
    world.make_engine = lambda: WorkerEngine(1)
    await world.stop_node()
    await world.start_node()
    deployed = await world.deploy()
    await world.evaluated(deployed, PERSONS)
    (copy,) = (world.config.state / "models").iterdir()
    whole = copy.read_bytes()
    for damage in (b"", whole[:-1], b"\1" + whole[1:], None):
        await world.stop_node()
        await world.start_node()
        if damage is None:
            copy.unlink()
        else:
            copy.write_bytes(damage)
        block = await world.evaluated(deployed, ["p1"])
        assert copy.read_bytes() == whole
        assert block.rows == 1


async def test_usage_is_told_to_the_licenses_bank_and_to_the_nodes_steward_alone(world):
    await world.deploy()
    assert (await world.usage()).models == (await world.usage(STEWARD)).models == 1
    assert (await refused(world.usage(OTHER_ANALYST))).reason == "LICENSE_NOT_FOUND"
    other = evaluation_service_pb2.GetLicenseUsageRequest(license=LICENSE[:-1] + "2")
    call = world.evaluations().GetLicenseUsage(other, timeout=TIMEOUT)
    assert (await refused(call)).reason == "LICENSE_NOT_FOUND"


async def test_evaluations_run_side_by_side_and_all_end(world):
    deployed = await world.deploy()
    started = await asyncio.gather(*(world.ask(deployed, [f"p{n}"]) for n in range(6)))
    outcomes = await asyncio.gather(*(world.evaluation_outcome(one.name) for one in started))
    assert all(one.state == evaluation_pb2.EVALUATION_STATE_SUCCEEDED for one in outcomes)

"""Evaluations are free: nobody may fill a node's disk with blocks that were never released."""

import grpc
import pytest
from bourse.compute.v1 import evaluation_pb2, evaluation_service_pb2

from compute.domain import evaluation
from tests.compute_world import TIMEOUT, fresh_id, open_world, refusal_of

WAITING = 3


async def ask(world, deployed, person):
    return await world.evaluations().CreateEvaluation(
        evaluation_service_pb2.CreateEvaluationRequest(
            evaluation=evaluation_pb2.Evaluation(
                sealing=deployed.sealing.name, entity_ids=[person], consent_reference="form 7"
            ),
            request_id=fresh_id(),
        ),
        timeout=TIMEOUT,
    )


async def test_blocks_that_wait_for_release_are_bounded_and_a_release_makes_room(tmp_path, monkeypatch):
    # The limit is lowered, not the check: 1,024 blocks would take a minute.
    monkeypatch.setattr(evaluation, "MAX_BLOCKS_WAITING", WAITING)
    async with open_world(tmp_path) as world:
        await world.publish()
        deployed = await world.deploy()
        block = await world.evaluated(deployed, ["p1"])
        for number in range(WAITING - 1):
            await ask(world, deployed, f"p{10 + number}")
        with pytest.raises(grpc.RpcError) as refused:
            await ask(world, deployed, "p20")
        refusal = refusal_of(refused.value)
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "BLOCKS_WAITING")
        assert f"at most {WAITING}" in refusal.message
        await world.release(world.release_request(deployed, block, [0]))
        await ask(world, deployed, "p20")

"""A node whose disk is full at a release: nothing leaves, nothing is charged twice."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import pytest
import pytest_asyncio
from bourse.compute.v1 import evaluation_pb2

from compute import server
from tests.compute_world import TIMEOUT, open_world, refusal_of, until
from tests.recording_exchange import Fault

PERSONS = ["p1", "p2", "p3"]


@pytest_asyncio.fixture
async def world(tmp_path):
    async with open_world(tmp_path) as opened:
        await opened.publish()
        yield opened


@contextmanager
def full_disk() -> Iterator[None]:
    """No file of this process can grow, or be written beyond its first byte."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def refused(call) -> object:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return refusal_of(caught.value)


async def test_a_disk_full_before_the_charge_leaves_everything_as_it_was(world):
    deployed = await world.deploy()
    block = await world.evaluated(deployed, PERSONS)
    request = world.release_request(deployed, block, [0])
    with full_disk():
        refusal = await refused(world.release(request))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "TRY_AGAIN")
    assert (await world.usage()).rows == 0
    assert len(world.recorder.entries) == 1
    await world.release(request)
    assert (await world.usage()).rows == world.recorder.rows_charged == 3


async def test_a_disk_full_after_the_record_lets_nothing_leave_and_charges_once(world):
    deployed = await world.deploy()
    block = await world.evaluated(deployed, PERSONS)
    request = world.release_request(deployed, block, [0])
    world.recorder.gate.clear()
    waiting = world.recorder.waiting
    call = world.evaluations().ReleaseBlock(request, timeout=TIMEOUT)
    await until(lambda: world.recorder.waiting > waiting)
    with full_disk():
        world.recorder.gate.set()
        refusal = await refused(call)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "TRY_AGAIN")
    assert (await world.usage()).rows == world.recorder.rows_charged == 3
    reply = await world.release(request)
    assert world.opened(deployed, block, [0], reply.released) == [world.score_in_clear(deployed, "p1")]
    assert (await world.usage()).rows == world.recorder.rows_charged == 3


async def test_an_evaluation_that_a_full_disk_left_undone_is_taken_up_again(world, monkeypatch):
    monkeypatch.setattr(server, "SWEEP_SECONDS", 0.05)
    await world.stop_node()
    await world.start_node()
    deployed = await world.deploy()
    world.engine.hold.clear()
    started = await world.ask(deployed, PERSONS)
    await until(lambda: bool(world.engine.tasks))
    with full_disk():
        world.engine.hold.set()
        await until(lambda: len(world.engine.tasks) > 1)
    done = await world.evaluation_outcome(started.name)
    assert done.state == evaluation_pb2.EVALUATION_STATE_SUCCEEDED
    assert len({task.seed for task in world.engine.tasks}) == 1
    block = await world.block(started.name)
    reply = await world.release(world.release_request(deployed, block, [2]))
    assert world.opened(deployed, block, [2], reply.released) == [world.score_in_clear(deployed, "p3")]


async def test_a_disk_full_while_giving_back_keeps_the_charge_until_the_refusal_is_known_again(world):
    deployed = await world.deploy()
    block = await world.evaluated(deployed, PERSONS)
    request = world.release_request(deployed, block, [0])
    world.recorder.faults.extend([Fault.REFUSED, Fault.REFUSED])
    world.recorder.gate.clear()
    waiting = world.recorder.waiting
    call = world.evaluations().ReleaseBlock(request, timeout=TIMEOUT)
    await until(lambda: world.recorder.waiting > waiting)
    with full_disk():
        world.recorder.gate.set()
        assert (await refused(call)).reason == "TRY_AGAIN"
    assert (await world.usage()).rows == 3
    assert (await refused(world.release(request))).reason == "CLAUSE_REFUSED"
    assert (await world.usage()).rows == 0

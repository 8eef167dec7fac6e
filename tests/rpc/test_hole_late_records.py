"""The exchange refuses an attempt while an earlier one is on its way, and then records the earlier one."""

import pytest
import pytest_asyncio

from tests.compute_world import open_world
from tests.recording_exchange import Fault
from tests.trust.trust_world import refused

ASKED = ["p1", "p2", "p3"]


@pytest_asyncio.fixture
async def world(tmp_path):
    async with open_world(tmp_path) as opened:
        await opened.publish()
        yield opened


@pytest.mark.parametrize("restarted", [False, True], ids=["running", "restarted"])
async def test_a_record_that_comes_after_a_refusal_is_found_by_the_same_request(world, restarted):
    deployed = await world.deploy()
    block = await world.evaluated(deployed, ASKED)
    before = len(world.recorder.entries)
    request = world.release_request(deployed, block, [0, 1])
    # Recorded, but the node does not hear of it; then refused, as if that record were not there yet.
    world.recorder.faults.extend([Fault.REPLY_LOST, Fault.REFUSED])
    assert (await refused(world.release(request))).reason == "RELEASE_UNRECORDED"
    assert (await refused(world.release(request))).reason == "CLAUSE_REFUSED"
    assert (await world.usage()).rows == 0, "given back, and nothing has left"
    if restarted:
        await world.stop_node()
        await world.start_node()
    reply = await world.release(request)
    assert world.opened(deployed, block, [0, 1], reply.released) == [
        world.score_in_clear(deployed, person) for person in ASKED[:2]
    ]
    assert (await world.usage()).rows == len(ASKED), "charged once at the node"
    assert len(world.recorder.entries) == before + 1, "recorded, and charged, once at the exchange"

"""A whole sealed trade, interrupted and resumed, on SQLite and on PostgreSQL."""

import grpc
import pytest

from tests.compute_world import open_world, refusal_of
from tests.recording_exchange import Fault

PERSONS = [f"p{n}" for n in range(20)] + ["nobody"]


async def test_a_trade_is_charged_once_and_opened_exactly_on_any_database(tmp_path, database_url):
    async with open_world(tmp_path, database=database_url) as world:
        await world.publish()
        deployed = await world.deploy()
        block = await world.evaluated(deployed, PERSONS)
        rows = list(range(len(PERSONS)))
        request = world.release_request(deployed, block, rows)
        world.recorder.faults.append(Fault.REPLY_LOST)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await world.release(request)
        assert refusal_of(caught.value).reason == "RELEASE_UNRECORDED"
        await world.stop_node()
        await world.start_node()
        reply = await world.release(request)
        clear = [world.score_in_clear(deployed, person) for person in PERSONS]
        assert world.opened(deployed, block, rows, reply.released) == clear
        assert (await world.usage()).rows == world.recorder.rows_charged == len(PERSONS)

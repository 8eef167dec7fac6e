"""A whole sealed trade at one node, over mutual TLS: published, sealed, evaluated, released, opened."""

import pytest_asyncio

from tests.compute_world import LICENSE, open_world


@pytest_asyncio.fixture
async def world(tmp_path):
    async with open_world(tmp_path) as opened:
        await opened.publish()
        yield opened


async def test_every_opened_score_is_the_plaintext_scorecards(world):
    deployed = await world.deploy()
    persons = [f"p{n}" for n in range(40)] + ["nobody", "p999"]
    block = await world.evaluated(deployed, persons)
    rows = list(range(len(persons)))
    reply = await world.release(world.release_request(deployed, block, rows))
    scores = world.opened(deployed, block, rows, reply.released)
    assert scores == [world.score_in_clear(deployed, person) for person in persons]
    usage = await world.usage()
    assert (usage.license, usage.models, usage.rows, usage.bits) == (LICENSE, 1, 42, 42 * 11)
    assert world.recorder.rows_charged == 42

"""A release runs to its end though its bank hangs up, so a bank that calls and hangs up piles work up."""

import asyncio

import pytest_asyncio

from tests.compute_world import open_world, until
from tests.trust.trust_world import refused


@pytest_asyncio.fixture
async def world(tmp_path):
    async with open_world(tmp_path) as opened:
        await opened.publish()
        yield opened


async def test_calling_and_hanging_up_does_not_pile_up_work_without_end(world, monkeypatch):
    # The limit is lowered, not the check: reaching the real one takes too long.
    monkeypatch.setattr("compute.verbs.running.MAX_CALLS", 3)
    deployed = await world.deploy()
    block = await world.evaluated(deployed, ["p1", "p2"])
    world.recorder.gate.clear()
    before = len(world.recorder.asked)
    hung_up = [
        asyncio.ensure_future(world.release(world.release_request(deployed, block, [0]))) for _ in range(3)
    ]
    waiting = world.recorder.waiting
    await until(lambda: world.recorder.waiting > waiting)
    await until(lambda: held() == 3)
    for call in hung_up:
        call.cancel()
    await asyncio.gather(*hung_up, return_exceptions=True)
    late = world.release_request(deployed, block, [1])
    refusal = await refused(world.release(late))
    assert (refusal.reason, refusal.code.name) == ("TRY_AGAIN", "UNAVAILABLE")
    world.recorder.gate.set()
    await until(lambda: held() == 0)
    assert (await world.release(late)).released
    assert len(world.recorder.asked) == before + 4, "what the others began has ended properly"
    assert (await world.usage()).rows == 2


def held() -> int:
    """Calls whose work has not come to its end."""
    return sum(task.get_coro().__name__ == "_released" for task in asyncio.all_tasks())

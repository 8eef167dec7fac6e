"""A bank that has paid for a block once must not be able to fill ledger and memory with requests for it."""

import numpy as np
import pytest_asyncio

from compute.release.policy import MORE_RELEASES_THAN_ROWS
from sealed.profiles import SCORE_V1
from tests.compute_world import canonical, open_world
from tests.trust.trust_world import refused


@pytest_asyncio.fixture
async def world(tmp_path):
    async with open_world(tmp_path) as opened:
        await opened.publish()
        yield opened


async def test_a_block_paid_for_once_does_not_buy_trade_records_without_end(world):
    deployed = await world.deploy()
    block = await world.evaluated(deployed, ["p1"])
    first = world.release_request(deployed, block, [0])
    served = await world.release(first)
    for _ in range(MORE_RELEASES_THAN_ROWS):
        assert (await world.release(world.release_request(deployed, block, [0]))).released == served.released
    refusal = await refused(world.release(world.release_request(deployed, block, [0])))
    assert refusal.reason == "RELEASE_REFUSED"
    assert canonical(await world.release(first)) == canonical(served), "a retry is no new release"
    assert (await world.usage()).rows == 1


async def test_more_rows_than_any_block_has_are_refused_before_they_are_looked_at(world, monkeypatch):
    deployed = await world.deploy()
    block = await world.evaluated(deployed, ["p1"])
    request = world.release_request(deployed, block, np.arange(SCORE_V1.N + 1))

    def never(*_: object) -> None:
        raise AssertionError("work was done on the rows")

    monkeypatch.setattr("compute.release.policy.packed_rows", never)
    refusal = await refused(world.release(request))
    assert (refusal.reason, refusal.violations[0][0]) == ("FIELD_INVALID", "rows")

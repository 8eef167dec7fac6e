"""Attack 9: scores at the ends of what a release carries, and beyond.

What holds: a release's bits carry every score up to the limit exactly, negative ones too; a model that could
exceed it is refused by the bank's own client before anything is sealed. Nobody else can see that it would.
"""

import asyncio

import pytest
from bourse.compute.v1 import evaluation_service_pb2

from clients.errors import ScorecardError
from clients.rows import Rows
from sealed.profiles import SCORE_V1
from tests.compute_world import DATASET, TIMEOUT
from tests.trust.at_exchange import agreed
from tests.trust.trust_world import PERSONS, refused
from tests.trust.without import without

DROPS = (7, 9, 12)
"""The drops of the smallest, a usual and the largest step that the exchange licenses."""


def points(limit: int, *, excess: int = 0) -> dict[str, tuple[int, ...]]:
    """Points whose sums are `limit` + `excess`, −`limit`, and near 0."""
    half = limit // 2
    return {"age": (-half - 1, half, -half - 1, half), "job": (-half, half + 1 + excess, -half, half + 1)}


async def scored(market, drop: int, chosen: dict[str, tuple[int, ...]]) -> tuple[list[int], list[int]]:
    """The parts that the bank opens of everybody, and those of the plaintext scorecard."""
    license_ = await market.negotiated(drop=drop)
    card = market.scorecard(**chosen)
    with market.bank_client() as bank:
        await asyncio.to_thread(bank.deploy, agreed(license_).license, card)
        rows = Rows(PERSONS, {})
        results = await asyncio.to_thread(bank.score, card, rows, consent_reference="file 12, form 3")
    in_clear = [chosen["age"][age] + chosen["job"][job] for age, job in map(market.bins_in_clear, PERSONS)]
    return list(results.parts[DATASET]), in_clear


@pytest.mark.parametrize("drop", DROPS)
async def test_scores_open_exactly_at_both_ends_of_the_range(market, drop):
    limit = SCORE_V1.max_score(drop)
    opened, in_clear = await scored(market, drop, points(limit))
    assert opened == in_clear
    assert {limit, -limit} < set(in_clear), "both ends are among them"


@pytest.mark.parametrize("drop", DROPS)
async def test_a_model_one_point_out_of_range_is_refused_before_anything_is_sealed(market, drop):
    license_ = await market.negotiated(drop=drop)
    card = market.scorecard(**points(SCORE_V1.max_score(drop), excess=1))
    with market.bank_client() as bank, pytest.raises(ScorecardError):
        await asyncio.to_thread(bank.deploy, agreed(license_).license, card)
    asked = evaluation_service_pb2.GetLicenseUsageRequest(license=agreed(license_).license)
    refusal = await refused(market.evaluations().GetLicenseUsage(asked, timeout=TIMEOUT))
    assert refusal.reason == "LICENSE_NOT_FOUND", "not even a sealing was opened at the node"


@pytest.mark.parametrize("drop", DROPS)
async def test_without_the_range_check_the_best_scores_would_silently_become_the_worst(market, drop):
    limit = SCORE_V1.max_score(drop)
    with without("clients.bank.check_part_range"):
        opened, in_clear = await scored(market, drop, points(limit, excess=1))
    assert limit + 1 in in_clear
    wrapped = [-limit - 1 if score == limit + 1 else score for score in in_clear]
    assert opened == wrapped, "nobody complains: node and exchange see no score"

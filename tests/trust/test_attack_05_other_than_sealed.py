"""Attack 5: opening a block as something else than it is.

Another sealing in the same job, another drop, coefficients outside the rows gathered, rows repeated or out of
order. Winning means: masks that meet twice, more bits than were charged, or a ledger that says what was not.
"""

import numpy as np
import pytest
from bourse.type.v1 import statement_pb2

from compute.domain import evaluation
from compute.release.policy import packed_rows
from sealed.block import centered, mask_of, open_rows, phase
from sealed.packing import pack_released, parse_released, unpack
from sealed.profiles import SCORE_V1
from tests.compute_world import DROP, JOBS
from tests.trust.crafted import bits_of, polynomials
from tests.trust.trust_world import BITS, PERSONS, refused
from tests.trust.without import without
from wire.framing import tagged_hash

CLERK = 4 + 1  # four bins of age come first
ASKED = PERSONS[:10]
ROWS = list(range(len(ASKED)))
RISING = "compute.release.policy.require_rows_rising"
INSIDE = "compute.release.policy.require_rows_inside_block"
TAKE = "compute.release.releasing.release"


async def last_release(market):
    """What the ledger's newest release says: its entry, and the bank's signed request in it."""
    entry = (await market.recorded("RESULT_RELEASED"))[-1]
    return entry, statement_pb2.ReleaseRequest.FromString(entry.statements[1].payload)


# ---- another sealing, another block ----


async def test_a_block_is_not_opened_in_another_sealings_name(market):
    license_ = await market.negotiated()
    used, named = await market.deployed(license_), await market.deployed(license_, (0,) * 8)
    block = await market.evaluated(used, ASKED)
    refusal = await refused(
        market.release(market.release_request(used, block, [0], c0_digest=named.c0_digest))
    )
    assert (refusal.reason, "c0_digest" in refusal.message) == ("RELEASE_REFUSED", True)
    # The second licensed model was never evaluated; without both sides' checks the ledger says it was.
    with without("compute.release.policy.require_same_sealing"):
        request = market.release_request(used, block, [0], c0_digest=named.c0_digest)
        refusal = await refused(market.release(request))
        assert refusal.reason == "STATEMENT_REFUSED", "the exchange keeps the rule as well"
        with without("exchange.domain.charges.require_recorded_model"):
            opened = await market.read(used, block, [0], c0_digest=named.c0_digest)
    assert opened == [market.score_in_clear(used, ASKED[0])]
    _, request = await last_release(market)
    assert request.c0_digest == named.c0_digest != used.c0_digest


async def test_a_block_is_not_opened_in_another_blocks_name(market):
    license_ = await market.negotiated()
    deployed = await market.deployed(license_)
    block, other = await market.evaluated(deployed, ASKED), await market.evaluated(deployed, ASKED[:1])
    request = market.release_request(deployed, block, [0], block_digest=other.sha256)
    refusal = await refused(market.release(request))
    assert (refusal.reason, "block_digest" in refusal.message) == ("RELEASE_REFUSED", True)
    with without("compute.release.policy.require_same_block"):
        await market.release(request)
    _, request = await last_release(market)
    assert request.block_digest == other.sha256, "an auditor who replays finds no such block in this job"


def scores_between(market, one, its_block, other, others_block) -> list[int]:
    """Scores that the difference of two blocks shows without any release, if they share a mask."""
    phases = [
        phase(SCORE_V1, unpack(SCORE_V1, block.data), deployed.model.secret, ROWS)
        for deployed, block in ((one, its_block), (other, others_block))
    ]
    difference = centered(SCORE_V1, phases[0] - phases[1])
    return ((difference + (1 << DROP - 1)) >> DROP).tolist()


async def test_another_sealing_in_the_same_job_meets_another_mask(open_engine_market):
    market = open_engine_market
    license_ = await market.negotiated()
    scorecard, zeros = await market.deployed(license_), await market.deployed(license_, (0,) * 8)
    in_clear = [market.score_in_clear(scorecard, person) for person in ASKED]
    prepare = evaluation.prepare

    def one_job_for_all(_job, number, revision_digest, withdrawals, rows, _salt, _seed):
        return prepare("evaluations/one", number, revision_digest, withdrawals, rows, bytes(32), bytes(32))

    def seed_and_place_alone(seed, _ctx, _c0_digest, place):
        return tagged_hash("bourse/seal/v1/block", seed, place)

    # Every evaluation draws its own seed and has its own name. Even a node that used one seed for one job
    # would be safe, because the mask's key holds context and digest of the sealed columns.
    with without("compute.domain.evaluation.prepare", one_job_for_all):
        one, two = await market.evaluated(scorecard, ASKED), await market.evaluated(zeros, ASKED)
        assert scores_between(market, scorecard, one, zeros, two) != in_clear
        with without("compute.engine.evaluation.block_key", seed_and_place_alone):
            one, two = await market.evaluated(scorecard, ASKED), await market.evaluated(zeros, ASKED)
        assert scores_between(market, scorecard, one, zeros, two) == in_clear, "read without any release"
    assert await market.charged(license_) == ((0, 0), (0, 0))


# ---- another drop ----


async def test_a_row_opens_at_the_licenses_drop_alone(market):
    license_ = await market.negotiated()
    persons = PERSONS[:19]
    fine = polynomials({CLERK: {-place: 1 << place for place in range(19)}}, scale=0)
    deployed = await market.deployed_as(license_, fine)
    block = await market.evaluated(deployed, persons)
    packed = [int(JOBS[n % 4] == "clerk") for n in range(19)]
    request = market.release_request(deployed, block, [0], drop=0)
    refusal = await refused(market.release(request))
    assert (refusal.reason, "drop" in refusal.message) == ("RELEASE_REFUSED", True)
    with without("compute.release.policy.require_same_drop"):
        assert (await refused(market.release(request))).reason == "STATEMENT_REFUSED", "the exchange's rule"
        with without("exchange.domain.charges.require_licensed_drop"):
            # A last line: the node drops what the license says, whatever the request does. So the ledger
            # would be wrong about the drop, and yet no bit more would leave.
            reply = await market.release(request)
            parse_released(SCORE_V1, reply.released, 1, DROP)
            with (
                without(TAKE, lambda mask, rows, _drop: mask[list(rows)]),
                without(
                    "compute.release.releasing.pack_released",
                    lambda profile, values, _drop: pack_released(profile, values, 0),
                ),
            ):
                reply = await market.release(request)
    values = parse_released(SCORE_V1, reply.released, 1, 0)
    (score,) = open_rows(SCORE_V1, unpack(SCORE_V1, block.data), deployed.model.secret, values, [0], 0)
    assert bits_of(int(score), 19) == packed, "19 bits are read from one coefficient that is sold for 11"
    entry, request = await last_release(market)
    assert (request.drop, entry.usage.bits_charged) == (0, 19 * BITS)


# ---- other coefficients ----


async def test_a_coefficient_outside_the_rows_gathered_never_opens(market):
    license_ = await market.negotiated()
    # One person; coefficient 0 reads the age's bin, coefficient 1 the job's.
    split = polynomials(
        {bin_: {0: bin_} for bin_ in range(4)} | {4 + bin_: {1: bin_} for bin_ in range(4)}, scale=DROP
    )
    deployed = await market.deployed_as(license_, split)
    block = await market.evaluated(deployed, ["p9"])
    age, job = market.bins_in_clear("p9")
    assert await market.read(deployed, block, [0]) == [age]
    outside = market.release_request(deployed, block, [1])
    refusal = await refused(market.release(outside))
    assert (refusal.reason, "rows" in refusal.message) == ("RELEASE_REFUSED", True)
    with without(INSIDE):
        # Two last lines: the mask is derived for the rows gathered alone, and taking from it checks again.
        assert (await refused(market.release(outside))).reason == "INTERNAL"
        with without(
            "compute.release.releasing.mask_of",
            lambda profile, seed, ctx, digest, where, _rows: mask_of(
                profile, seed, ctx, digest, where, profile.N
            ),
        ):
            assert await market.read(deployed, block, [1]) == [job], "a second answer of the same person"
    assert await market.charged(license_) == ((1, BITS), (1, BITS)), "for the price of one"


@pytest.mark.parametrize("rows", [[0, 0, 0], [2, 0]], ids=["repeated", "unordered"])
async def test_rows_repeated_or_out_of_order_are_never_opened_or_recorded(market, rows):
    license_ = await market.negotiated()
    deployed = await market.deployed(license_)
    block = await market.evaluated(deployed, ASKED[:3])
    request = market.release_request(deployed, block, rows)
    refusal = await refused(market.release(request))
    assert (refusal.reason, "rising" in refusal.message) == ("RELEASE_REFUSED", True)
    assert await market.charged(license_) == ((0, 0), (0, 0))
    with without(RISING):
        # A last line: taking rows from the mask checks their order again. Nothing leaves.
        assert (await refused(market.release(request))).reason == "INTERNAL"
        with without(TAKE, lambda mask, rows, drop: mask[list(rows)] >> drop):
            reply = await market.release(request)
    values = parse_released(SCORE_V1, reply.released, len(rows), DROP)
    assert len(values) == len(rows)
    entry, recorded = await last_release(market)
    in_order = packed_rows(sorted(set(rows)))
    assert entry.usage.rows_opened == len(rows)
    assert recorded.rows_digest != tagged_hash("bourse/release/v1/rows", request.rows_salt, in_order), (
        "the ledger counts and names other rows than those that were opened"
    )


async def test_no_other_rows_open_than_those_that_were_signed_for(market):
    license_ = await market.negotiated()
    deployed = await market.deployed(license_)
    block = await market.evaluated(deployed, ASKED)
    request = market.release_request(deployed, block, [0], sent_rows=[7])
    refusal = await refused(market.release(request))
    assert (refusal.reason, "rows" in refusal.message) == ("RELEASE_REFUSED", True)
    with without("compute.release.policy.require_rows_digest"):
        reply = await market.release(request)
    assert market.opened(deployed, block, [7], reply.released) == [market.score_in_clear(deployed, "p7")]
    _, recorded = await last_release(market)
    signed = tagged_hash("bourse/release/v1/rows", request.rows_salt, packed_rows([0]))
    assert recorded.rows_digest == signed, "the ledger proves that row 0 was opened"


async def test_no_more_rows_open_than_the_signed_request_says(market):
    license_ = await market.negotiated()
    deployed = await market.deployed(license_)
    block = await market.evaluated(deployed, ASKED)
    request = market.release_request(deployed, block, ROWS, rows=1)
    refusal = await refused(market.release(request))
    assert (refusal.reason, "as many" in refusal.message) == ("RELEASE_REFUSED", True)
    with without("compute.release.policy.require_row_count"):
        assert (await refused(market.release(request))).reason == "STATEMENT_REFUSED", "the exchange's rule"
        with without("exchange.domain.charges.require_row_counts"):
            reply = await market.release(request)
    assert len(market.opened(deployed, block, ROWS, reply.released)) == len(ROWS)
    _, recorded = await last_release(market)
    assert recorded.rows == 1, "the bank signed for one row"


async def test_a_release_needs_the_signature_of_the_licenses_bank(market):
    license_ = await market.negotiated()
    deployed = await market.deployed(license_)
    block = await market.evaluated(deployed, ASKED)
    request = market.release_request(deployed, block, [0], signer=market.steward_key)
    assert (await refused(market.release(request))).reason == "SIGNATURE_INVALID"
    with without("compute.release.policy.require_bank_signature"):
        assert (await refused(market.release(request))).reason == "SIGNATURE_INVALID", "the exchange's rule"
        with without("exchange.verbs.ledger.verify_one"):
            reply = await market.release(request)
    assert np.frombuffer(reply.released, dtype="<u4").size == 1
    assert await market.charged(license_) == ((10, 10 * BITS), (10, 10 * BITS)), "charged to the bank"

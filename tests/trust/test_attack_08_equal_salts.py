"""Attack 8: two sealings that share a salt, and a node that evaluates other than it says.

What holds: sealing and evaluation are deterministic, so that both can be replayed bit by bit; and all of a
sealing's randomness changes with the node's nonces, the license, and every single weight.
"""

import asyncio

import numpy as np
import pytest

from compute.records.revision import gather
from sealed import ring
from sealed.block import evaluate
from sealed.packing import pack
from sealed.profiles import SCORE_V1
from sealed.sealing import _key, derive_secret, model_digest, public_a, seal
from tests.compute_world import DROP
from tests.trust.at_exchange import agreed
from tests.trust.trust_world import PERSONS, parsed
from tests.trust.without import without

ASKED = PERSONS[:10]
SALT = b"one salt for all of our models.."
WEIGHTS = (-31, 17, 4, 40, -7, 58, -12, 23)
HEAVIER = (-31, 17, 4, 40, -7, 58 + 77, -12, 23)
POINTS = {"age": WEIGHTS[:4], "job": WEIGHTS[4:]}
DIGEST = model_digest(b"our scorecard")
KEY = "sealed.sealing._key"


def sealed_with_one_salt(weights, ctx):
    """What a bank's program seals that was given the same salt, and the same model's digest, again."""
    return seal(SCORE_V1, weights, DIGEST, SALT, ctx, DROP)


# ---- determinism ----


async def test_an_auditor_who_is_shown_model_and_salt_seals_the_columns_that_the_node_holds(market):
    license_ = await market.negotiated()
    with market.bank_client() as bank:
        card = market.scorecard(**POINTS)
        kept = await asyncio.to_thread(bank.deploy, agreed(license_).license, card)
    again = seal(SCORE_V1, kept.weights, model_digest(kept.model), kept.salt, kept.opened.context, DROP)
    assert kept.weights == WEIGHTS
    assert again.packed() == await market.columns_at_node(kept.opened.name)
    other = seal(SCORE_V1, HEAVIER, model_digest(kept.model), kept.salt, kept.opened.context, DROP)
    assert other.packed() != again.packed()


async def test_a_block_replayed_from_its_seed_is_the_block_bit_by_bit(market):
    deployed = await market.deployed(await market.negotiated())
    persons = [*ASKED, "nobody", *PERSONS[30:]]
    block = await market.evaluated(deployed, persons)
    assert await replayed(market, deployed, block, persons) == block.data


async def test_a_node_that_evaluates_other_records_than_it_says_is_shown_by_the_replay(market):
    deployed = await market.deployed(await market.negotiated())
    with without("compute.verbs.gathering.gather", lambda columns, rows: gather(columns, [7, *rows[1:]])):
        block = await market.evaluated(deployed, ASKED)
    assert await replayed(market, deployed, block, ASKED) != block.data
    assert await replayed(market, deployed, block, ["p7", *ASKED[1:]]) == block.data


async def replayed(market, deployed, block, persons) -> bytes:
    """The block as an auditor computes it, given seed, place, columns and the persons' records."""
    prepared, seed = await market.preparation(block.name)
    bins = np.array([market.bins_in_clear(person) if person in PERSONS else (0, 0) for person in persons])
    gathered = np.stack([bins[:, column] == bin_ for column in range(2) for bin_ in range(4)])
    columns = parsed(await market.columns_at_node(deployed.sealing.name))
    replay = evaluate(SCORE_V1, columns, deployed.sealing.context, gathered, seed, prepared.place)
    return pack(replay.block)


# ---- one weight changed under the same salt and context ----


async def both_models_seen_by_the_node(market):
    """A bank corrects one weight before it has its sealing accepted; the node keeps what it saw first."""
    sealing = await market.open_sealing(await market.negotiated())
    seen = []
    for weights in (WEIGHTS, HEAVIER):
        model = sealed_with_one_salt(weights, sealing.context)
        await market.put_columns(sealing.name, model.packed())
        seen.append(parsed(await market.columns_at_node(sealing.name)))
    return seen


def constant_differences(seen) -> list[int | None]:
    """For each column the difference of the weights that it shows, or None when it shows none."""
    return [
        weight_of(difference) if not difference[:, 1:].any() else None
        for difference in (
            ring.subtract(SCORE_V1, after, before) for before, after in zip(*seen, strict=True)
        )
    ]


def weight_of(constant) -> int:
    """w of a constant polynomial round(q·w·2^scale/t), give or take one."""
    q = SCORE_V1.q
    units = [q // p * pow(q // p, -1, p) for p in SCORE_V1.primes]
    lifted = sum(int(x) * unit for x, unit in zip(constant[:, 0], units, strict=True)) % q
    step = q << DROP
    return (2 * SCORE_V1.t * (lifted - q * (lifted > q // 2)) + step) // (2 * step)


async def test_two_models_under_one_salt_share_no_randomness(market):
    seen = await both_models_seen_by_the_node(market)
    assert constant_differences(seen) == [None] * (8 + SCORE_V1.blinds)
    assert equal_residues(*seen) < 5, "of 589,824, as of any two uniform strings"


async def test_a_key_without_the_weights_would_show_which_weight_changed_and_by_how_much(market):
    # The key holds the weights twice: as they are, and in the model's digest. A bank that forgets to digest
    # its new model is still safe; both are taken out.
    with without(KEY, lambda _weights, _digest, salt, ctx: _key((), bytes(32), salt, ctx)):
        seen = await both_models_seen_by_the_node(market)
    assert constant_differences(seen) == [0, 0, 0, 0, 0, 77, 0, 0] + [0] * SCORE_V1.blinds


def equal_residues(one, two) -> int:
    """How many residues of two models agree."""
    return sum(int((before == after).sum()) for before, after in zip(one, two, strict=True))


# ---- another nonce, another license ----


@pytest.mark.parametrize("same_license", [True, False], ids=["another-nonce", "another-license"])
async def test_one_model_sealed_twice_with_one_salt_shares_no_randomness(market, same_license):
    contexts, models = await sealed_twice(market, same_license=same_license)
    assert contexts[0] != contexts[1]
    assert equal_residues(*models) < 5
    assert not is_secret(secret_from(contexts, models))


async def test_a_key_without_the_context_would_give_the_node_the_banks_secret_key(market):
    with without(KEY, lambda weights, digest, salt, _ctx: _key(weights, digest, salt, bytes(32))):
        contexts, models = await sealed_twice(market, same_license=True)
        mine = derive_secret(SCORE_V1, WEIGHTS, DIGEST, SALT, contexts[0]).coefficients
    found = secret_from(contexts, models)
    assert is_secret(found)
    assert np.array_equal(found, mine), "with it the node reads every weight"


async def sealed_twice(market, *, same_license: bool):
    """Contexts and columns, as the node sees them, of one model sealed twice with one salt."""
    license_ = await market.negotiated()
    contexts, models = [], []
    for _ in range(2):
        sealing = await market.open_sealing(license_)
        model = sealed_with_one_salt(WEIGHTS, sealing.context)
        await market.put_columns(sealing.name, model.packed())
        contexts.append(sealing.context)
        models.append(parsed(await market.columns_at_node(sealing.name)))
        if not same_license:
            license_ = await market.negotiated()
    return contexts, models


def secret_from(contexts, models) -> np.ndarray:
    """−(c0 − c0')/(a − a') of the first column: the secret key, if messages and errors cancel."""
    difference = ring.subtract(SCORE_V1, models[1][0], models[0][0])
    a = ring.subtract(SCORE_V1, *(public_a(SCORE_V1, ctx, 0) for ctx in contexts))
    inverse = np.stack(
        [
            np.array([pow(int(value) % p, -1, p) for value in row.flat]).reshape(row.shape).astype(float)
            for row, p in zip(ring.spectrum(SCORE_V1, a), SCORE_V1.primes, strict=True)
        ]
    )
    quotient = ring.polynomial(SCORE_V1, ring.product(SCORE_V1, ring.spectrum(SCORE_V1, difference), inverse))
    first = quotient[0].astype(np.int64)
    return np.where(first > SCORE_V1.primes[0] // 2, first - SCORE_V1.primes[0], first)


def is_secret(polynomial: np.ndarray) -> bool:
    """Whether a polynomial is ternary, as secret keys are and no other that could turn up."""
    return bool((np.abs(polynomial) <= 1).all())

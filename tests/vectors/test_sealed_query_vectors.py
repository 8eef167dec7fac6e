import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from sealed.block import Evaluation, evaluate, mask_of, open_rows, place, release
from sealed.packing import block_digest, pack, parse_column, unpack
from sealed.profiles import SCORE_V1, WIDE_V1
from sealed.sealing import c0_digest, derive_secret, model_digest, public_a


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(scope="module")
def where(answer) -> bytes:
    return place(
        answer["job"],
        answer["block"],
        answer.octets("revision_digest"),
        answer["withdrawals"],
        answer.octets("rows_digest"),
    )


@pytest.fixture(scope="module")
def evaluation(answer, model, where) -> Evaluation:
    columns = [parse_column(answer.profile, packed) for packed in model.packed()]
    return evaluate(answer.profile, columns, answer.ctx, answer.gathered, answer.octets("block_seed"), where)


def test_both_profiles_use_the_known_ring():
    known = json.loads(Path(__file__).with_name("sealed-query-v1.json").read_text("ascii"))
    assert SCORE_V1.N == WIDE_V1.N == known["N"]
    assert SCORE_V1.blinds == WIDE_V1.blinds == known["blinds"]
    assert list(WIDE_V1.primes) == known["primes"]
    assert list(SCORE_V1.primes) == known["primes"][:4]


def test_the_context_and_the_place_have_the_known_digests(answer, where):
    assert answer.ctx == answer.octets("ctx")
    assert where == answer.octets("place")
    assert model_digest(json.dumps(answer["weights"]).encode()) == answer.octets("model_digest")


def test_sealing_gives_the_known_secret_and_columns(answer, model):
    assert sha256(model.secret.coefficients.tobytes()) == answer["s_sha256_of_int8"]
    assert [sha256(column) for column in model.packed()] == answer["c0_sha256"]
    assert c0_digest(model.packed()) == answer.octets("c0_digest")
    assert sha256(pack(public_a(answer.profile, answer.ctx, 0))) == answer["a0_sha256"]


def test_the_secret_alone_can_be_derived_again(answer, model):
    secret = derive_secret(
        answer.profile, answer["weights"], answer.octets("model_digest"), answer.octets("salt"), answer.ctx
    )
    assert np.array_equal(secret.coefficients, model.secret.coefficients)


def test_evaluating_gives_the_known_block_and_mask(answer, evaluation):
    packed = pack(evaluation.block)
    assert block_digest(packed).hex() == answer["block_sha256"]
    assert sha256(evaluation.mask.astype("<u8").tobytes()) == answer["mask_sha256_of_u64le"]
    assert np.array_equal(unpack(answer.profile, packed), evaluation.block)


def test_the_seed_alone_gives_the_known_mask(answer, where):
    mask = mask_of(
        answer.profile,
        answer.octets("block_seed"),
        answer.ctx,
        answer.octets("c0_digest"),
        where,
        answer["rows"],
    )
    assert sha256(mask.astype("<u8").tobytes()) == answer["mask_sha256_of_u64le"]


def test_a_release_opens_the_known_scores(answer, model, evaluation):
    rows = range(answer["rows"])
    released = release(evaluation.mask, rows, answer["drop"])
    assert released[:16].tolist() == answer["released_first_16"]
    scores = open_rows(answer.profile, evaluation.block, model.secret, released, rows, answer["drop"])
    assert scores[:16].tolist() == answer["scores_first_16"]
    assert sha256(scores.astype("<i8").tobytes()) == answer["scores_sha256_of_i64le"]
    assert np.array_equal(scores, np.array(answer["weights"]) @ answer.gathered.astype(np.int64))

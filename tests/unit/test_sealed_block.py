from dataclasses import dataclass

import numpy as np
import pytest

from sealed.block import Evaluation, block_key, evaluate, mask_of, open_rows, place, release
from sealed.errors import BlockFormatError, FieldError, GatherError, ReleaseFormatError, RowsError, ScaleError
from sealed.packing import block_digest, pack, pack_released, parse_column, parse_released, unpack
from sealed.profiles import PROFILES, SCORE_V1, WIDE_V1, Profile
from sealed.sealing import SealedModel, c0_digest, context, model_digest, seal

SEED = bytes([5]) * 32
PLACE = place("jobs/1", 0, bytes(32), 0, bytes([1]) * 32)
profiles = pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)


@dataclass(frozen=True)
class Sealing:
    profile: Profile
    ctx: bytes
    model: SealedModel
    drop: int

    @property
    def columns(self) -> list[np.ndarray]:
        return [parse_column(self.profile, packed) for packed in self.model.packed()]

    def evaluate(self, gathered: np.ndarray, seed: bytes = SEED, where: bytes = PLACE) -> Evaluation:
        return evaluate(self.profile, self.columns, self.ctx, gathered, seed, where)


def sealing_of(profile: Profile, weights: list[int], drop: int = 9) -> Sealing:
    ctx = context(
        profile,
        kind="named",
        license_digest=bytes(32),
        owner="providers/a",
        owner_nonce=bytes(32),
        sealing=bytes(32),
        scale=drop,
        drop=drop,
        columns=[b"c%d" % j for j in range(len(weights))],
    )
    return Sealing(profile, ctx, seal(profile, weights, model_digest(b"m"), bytes(32), ctx, drop), drop)


@pytest.fixture(scope="module")
def sealing() -> Sealing:
    return sealing_of(SCORE_V1, [3, -4])


@pytest.fixture(scope="module")
def evaluation(sealing) -> Evaluation:
    return sealing.evaluate(np.array([[1, 0, 1], [0, 1, 0]]))


@profiles
@pytest.mark.parametrize("drop", [0, 7, 9])
def test_scores_at_both_ends_of_the_range_open_exactly(profile, drop):
    limit = profile.max_score(drop)
    sealing = sealing_of(profile, [limit, -limit, 1], drop)
    gathered = np.zeros((3, profile.N), dtype=np.int64)
    gathered[0, ::2] = gathered[1, 1::2] = 1
    gathered[2, 0::4] = -1
    evaluation = sealing.evaluate(gathered)
    rows = range(profile.N)
    released = release(evaluation.mask, rows, drop)
    scores = open_rows(profile, evaluation.block, sealing.model.secret, released, rows, drop)
    assert np.array_equal(scores, np.array([limit, -limit, 1]) @ gathered)


def test_some_rows_open_and_the_others_stay_under_their_masks(sealing, evaluation):
    rows = [0, 2]
    released = release(evaluation.mask, rows, sealing.drop)
    secret = sealing.model.secret
    assert open_rows(SCORE_V1, evaluation.block, secret, released, rows, sealing.drop).tolist() == [3, 3]
    stolen = open_rows(SCORE_V1, evaluation.block, secret, released[:1], [1], sealing.drop)
    assert stolen.tolist() != [-4]


def test_a_block_replays_from_its_seed(sealing, evaluation):
    again = sealing.evaluate(np.array([[1, 0, 1], [0, 1, 0]]))
    assert block_digest(pack(again.block)) == block_digest(pack(evaluation.block))
    digest = c0_digest(sealing.model.packed())
    mask = mask_of(SCORE_V1, SEED, sealing.ctx, digest, PLACE, 3)
    assert np.array_equal(mask, evaluation.mask)


def test_the_mask_covers_exactly_the_gathered_rows(sealing):
    digest = c0_digest(sealing.model.packed())
    whole = mask_of(SCORE_V1, SEED, sealing.ctx, digest, PLACE, SCORE_V1.N)
    assert np.array_equal(mask_of(SCORE_V1, SEED, sealing.ctx, digest, PLACE, 5), whole[:5])
    for rows in (0, SCORE_V1.N + 1):
        with pytest.raises(GatherError):
            mask_of(SCORE_V1, SEED, sealing.ctx, digest, PLACE, rows)


@pytest.mark.parametrize(
    "change",
    [
        {"job": "jobs/2"},
        {"block": 1},
        {"revision_digest": bytes([9]) * 32},
        {"withdrawals": 1},
        {"rows_digest": bytes([9]) * 32},
    ],
    ids=lambda change: next(iter(change)),
)
def test_changed_inputs_are_another_place(change):
    inputs = {"job": "jobs/1", "block": 0, "revision_digest": bytes(32), "withdrawals": 0}
    inputs["rows_digest"] = bytes([1]) * 32
    assert place(**(inputs | change)) != place(**inputs) == PLACE


@pytest.mark.parametrize("changed", range(4), ids=["seed", "context", "c0", "place"])
def test_a_seed_used_twice_by_mistake_masks_two_blocks_differently(changed):
    inputs = [bytes([i]) * 32 for i in range(4)]
    other = [bytes([9]) * 32 if i == changed else value for i, value in enumerate(inputs)]
    assert block_key(*inputs) != block_key(*other)
    with pytest.raises(FieldError):
        block_key(*[value[:31] if i == changed else value for i, value in enumerate(inputs)])


def test_two_seeds_share_nothing(sealing, evaluation):
    gathered = np.array([[1, 0, 1], [0, 1, 0]])
    other = sealing.evaluate(gathered, seed=bytes(32))
    assert np.mean(other.block == evaluation.block) < 0.01


def test_a_column_of_zeros_adds_nothing_and_hides_among_the_others():
    sealing = sealing_of(SCORE_V1, [3, 1000])
    evaluation = sealing.evaluate(np.array([[1, 1], [0, 0]]))
    released = release(evaluation.mask, [0, 1], 9)
    opened = open_rows(SCORE_V1, evaluation.block, sealing.model.secret, released, [0, 1], 9)
    assert opened.tolist() == [3, 3]


@pytest.mark.parametrize("rows", [[-1], [3], [0, 0], [1, 0], [], [[0, 1]]])
def test_rows_outside_the_block_repeated_or_unordered_are_refused(evaluation, rows):
    with pytest.raises(RowsError):
        release(evaluation.mask, rows, 9)


def test_a_negative_drop_releases_nothing(evaluation):
    with pytest.raises(ScaleError):
        release(evaluation.mask, [0], -1)


def test_opening_needs_one_released_value_per_row(sealing, evaluation):
    released = release(evaluation.mask, [0], 9)
    with pytest.raises(RowsError):
        open_rows(SCORE_V1, evaluation.block, sealing.model.secret, released, [0, 1], 9)


@pytest.mark.parametrize(
    "gathered",
    [
        np.zeros((3, 4), dtype=np.int64),
        np.zeros((2, 0), dtype=np.int64),
        np.zeros((2, SCORE_V1.N + 1), dtype=np.int64),
        np.zeros(2, dtype=np.int64),
        np.array([[1 << 28], [0]]),
        np.array([[-(1 << 28) - 1], [0]]),
    ],
)
def test_gathered_columns_that_do_not_fit_are_refused(sealing, gathered):
    with pytest.raises(GatherError):
        sealing.evaluate(gathered)


@profiles
def test_a_block_comes_back_from_its_bytes(profile):
    evaluation = sealing_of(profile, [1]).evaluate(np.array([[1]]))
    assert np.array_equal(unpack(profile, pack(evaluation.block)), evaluation.block)


@profiles
def test_a_block_of_another_length_or_with_a_foreign_residue_is_refused(profile):
    good = bytes(profile.block_bytes)
    for bad in (good[:-1], good + b"\0", b"", good[: profile.column_bytes]):
        with pytest.raises(BlockFormatError, match=f"exactly {profile.block_bytes} bytes"):
            unpack(profile, bad)
    for polynomial in range(2):
        for i, p in enumerate(profile.primes):
            residues = np.zeros((2, len(profile.primes), profile.N), dtype="<u4")
            residues[polynomial, i, 0] = p
            with pytest.raises(BlockFormatError, match=f"prime {i} "):
                unpack(profile, residues.tobytes())


@pytest.mark.parametrize(("profile", "width"), [(SCORE_V1, 4), (WIDE_V1, 8)], ids=PROFILES)
def test_released_values_travel_in_fixed_width(profile, width):
    largest = (1 << profile.bits_per_row(9)) - 1
    data = pack_released(profile, np.array([0, 1, largest]), 9)
    assert data == b"".join(value.to_bytes(width, "little") for value in (0, 1, largest))
    assert parse_released(profile, data, 3, 9).tolist() == [0, 1, largest]


@profiles
def test_released_values_of_too_many_bits_or_another_number_are_refused(profile):
    data = pack_released(profile, np.array([0, 1]), 9)
    for bad in (data[:-1], data + b"\0", data * 2, b""):
        with pytest.raises(ReleaseFormatError, match="2 released values are exactly"):
            parse_released(profile, bad, 2, 9)
    whole = pack_released(profile, np.array([1 << profile.bits_per_row(9)]), 0)
    with pytest.raises(ReleaseFormatError, match=f"{profile.bits_per_row(9)} bits"):
        parse_released(profile, whole, 1, 9)
    for value in (-1, 1 << profile.bits_per_row(9)):
        with pytest.raises(ReleaseFormatError):
            pack_released(profile, np.array([value]), 9)


def test_an_evaluation_never_shows_its_mask(evaluation):
    assert repr(evaluation) == "Evaluation()"

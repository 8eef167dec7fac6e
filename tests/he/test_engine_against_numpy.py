from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compute.engine.errors import TaskError
from compute.engine.evaluation import evaluate_block
from compute.engine.models import read_model
from sealed import ring
from sealed.block import COEFFICIENT_LIMIT, mask_of
from sealed.packing import block_digest, unpack
from sealed.profiles import PROFILES, SCORE_V1
from sealed.sealing import public_a

profiles = pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
each_is_slow = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def scorecards(draw):
    """Points per attribute and bin, and rows that may also fall into bins the license leaves out."""
    weights = draw(st.lists(st.lists(st.integers(-200, 200), min_size=1, max_size=4), min_size=1, max_size=4))
    rows = draw(st.one_of(st.integers(1, 64), st.just(SCORE_V1.N)))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return weights, random.integers(0, 6, (rows, len(weights)))


@profiles
@each_is_slow
@given(scorecard=scorecards(), number=st.integers(0, 2**31))
def test_a_block_on_seal_has_the_bytes_of_the_numpy_witness_and_opens_to_the_scorecard(
    trade_of, engine_of, profile, scorecard, number
):
    weights, bins = scorecard
    trade, engine = trade_of(profile, weights, bins, number), engine_of(profile)
    model = read_model(engine, trade.task)
    result = evaluate_block(engine, model, trade.task)
    assert result.block == trade.block_by_numpy()
    assert result.block_digest == block_digest(result.block)
    assert evaluate_block(engine, model, trade.task) == result
    task = trade.task
    mask = mask_of(profile, task.seed, task.ctx, task.c0_digest, task.place, task.rows)
    assert np.array_equal(trade.open(unpack(profile, result.block), mask), trade.scores_in_clear())


@profiles
def test_scores_at_both_ends_of_the_range_open_exactly(trade_of, engine_of, profile):
    limit = profile.max_score(9)
    trade = trade_of(profile, [[limit, -limit, 0]], np.arange(profile.N)[:, None] % 3)
    engine, task = engine_of(profile), trade.task
    result = evaluate_block(engine, read_model(engine, task), task)
    mask = mask_of(profile, task.seed, task.ctx, task.c0_digest, task.place, task.rows)
    scores = trade.open(unpack(profile, result.block), mask)
    assert np.array_equal(scores, trade.scores_in_clear())
    assert set(scores.tolist()) == {limit, -limit, 0}


@profiles
@each_is_slow
@given(seed=st.integers(0, 2**32 - 1))
def test_products_with_full_range_coefficients_equal_those_of_numpy(engine_of, profile, seed):
    engine, random = engine_of(profile), np.random.default_rng(seed)
    pairs = [(public_a(profile, bytes(32), j), public_a(profile, bytes(32), j + 3)) for j in range(3)]
    plain = random.integers(-COEFFICIENT_LIMIT, COEFFICIENT_LIMIT, (3, profile.N))
    plain[:, :2] = -COEFFICIENT_LIMIT, COEFFICIENT_LIMIT - 1
    product = engine.multiply_accumulate(
        engine.prepare_sealed(pairs), [engine.prepare_plain(values) for values in plain]
    )
    for half in range(2):
        expected = np.zeros_like(pairs[0][0])
        for pair, values in zip(pairs, plain, strict=True):
            term = ring.multiply(profile, pair[half], ring.residues_of(profile, values))
            expected = ring.add(profile, expected, term)
        assert np.array_equal(product[half], expected)


def test_bins_that_nobody_falls_into_change_nothing_but_are_no_error(trade_of, engine_of):
    trade = trade_of(SCORE_V1, [[1, 2], [3, 4]], np.array([[0, 9], [0, 9]]))
    engine = engine_of(SCORE_V1)
    result = evaluate_block(engine, read_model(engine, trade.task), trade.task)
    assert result.block == trade.block_by_numpy()


def test_a_sum_of_nothing_is_zero(engine_of):
    engine = engine_of(SCORE_V1)
    zeros = np.zeros(SCORE_V1.N, dtype=np.int64)
    model = engine.prepare_sealed([(public_a(SCORE_V1, bytes(32), 0), public_a(SCORE_V1, bytes(32), 1))])
    assert not engine.multiply_accumulate(model, [engine.prepare_plain(zeros)]).any()


def test_how_much_is_computed_does_not_tell_which_bins_are_empty(trade_of, engine_of, monkeypatch):
    engine = engine_of(SCORE_V1)
    calls = []

    class Counting:
        def __init__(self, evaluator):
            self.evaluator = evaluator

        def __getattr__(self, name):
            calls.append(name)
            return getattr(self.evaluator, name)

    monkeypatch.setattr(engine, "_evaluator", Counting(engine._evaluator))
    counts = []
    for bins in ([[0, 0]] * 3, [[0, 0], [1, 1], [2, 2]], [[9, 9]] * 3):
        trade = trade_of(SCORE_V1, [[1, 2, 3], [4, 5, 6]], np.array(bins))
        model = read_model(engine, trade.task)
        calls.clear()
        assert evaluate_block(engine, model, trade.task).block == trade.block_by_numpy()
        counts.append(sorted(calls))
    assert counts[0] == counts[1] == counts[2]


def test_fewer_gathered_rows_leave_no_trace_of_the_block_before(engine_of):
    engine = engine_of(SCORE_V1)
    a = public_a(SCORE_V1, bytes(32), 0)
    model = engine.prepare_sealed([(a, a)])
    engine.prepare_plain(np.ones(SCORE_V1.N, dtype=np.int64))
    one = engine.multiply_accumulate(model, [engine.prepare_plain(np.ones(1, dtype=np.int64))])
    assert np.array_equal(one[0], a)


@pytest.mark.parametrize("value", [COEFFICIENT_LIMIT, -COEFFICIENT_LIMIT - 1])
def test_a_coefficient_that_seal_would_fold_silently_is_refused(engine_of, value):
    with pytest.raises(TaskError, match=r"2\^28"):
        engine_of(SCORE_V1).prepare_plain(np.array([value]))


def test_a_model_of_another_size_than_the_columns_is_refused(trade_of, engine_of):
    trade, engine = trade_of(SCORE_V1, [[1, 2]], np.array([[0]])), engine_of(SCORE_V1)
    model = read_model(engine, trade.task)
    for columns in (((0, 0),), ((0, 0), (0, 1), (0, 2))):
        with pytest.raises(TaskError, match="as many columns"):
            evaluate_block(engine, model, replace(trade.task, columns=columns))


@pytest.mark.parametrize(
    "change",
    [
        {"ctx": bytes(31)},
        {"c0_digest": bytes(33)},
        {"seed": b""},
        {"place": bytes(64)},
        {"bins": b""},
        {"bins": bytes(3)},
        {"bins": bytes(2 * (SCORE_V1.N + 1))},
        {"attributes": 0},
        {"columns": ()},
        {"columns": ((2, 0),)},
        {"columns": ((-1, 0),)},
        {"columns": ((0, 256),)},
    ],
)
def test_a_task_that_contradicts_itself_is_refused(trade_of, change):
    task = trade_of(SCORE_V1, [[1], [2]], np.array([[0, 0]])).task
    with pytest.raises(TaskError):
        replace(task, **change)


def test_a_task_never_shows_its_records_or_its_seed(trade_of):
    shown = repr(trade_of(SCORE_V1, [[1]], np.array([[0]])).task)
    assert "seed" not in shown
    assert "bins" not in shown

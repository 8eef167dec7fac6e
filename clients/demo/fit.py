"""Fitting the example's scorecard: weight-of-evidence bins and a logistic regression, in whole points.

Fitting needs the training rows of all parties **in one place**: the example pools them and says so. A trade
does not: until bins are counted jointly, a bank brings its scorecard from elsewhere. Providers' columns are
fitted on the bins they publish, the bank's own on bins made by the same rules; so points belong to published
bins and to nothing else.

Points are whole numbers, more points are less risk, and every provider's part stays within what its license
opens.

Source: docs/spec/scorecard.md; N. Siddiqi, Credit Risk Scorecards (Wiley, 2006), ch. 6 (weight of evidence,
points to double the odds).
"""

import math
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from clients.errors import InputError
from clients.rows import Cell
from clients.scorecard import OwnColumn, ProviderColumn, ProviderPart, Scorecard
from wire.bins import (
    Column,
    bin_finder,
    category_column,
    choose_categories,
    choose_edges,
    interval_column,
    parse_number,
    three_digits,
    trimmed,
)

POINTS_TO_DOUBLE_THE_ODDS = 20
POINTS_AT_EVEN_ODDS = 500
QUANTILES = 5
MIN_SHARE_PERMILLE = 10
# Rows with the overall odds that are added to every bin: a bin with few rows says little.
PRIOR_ROWS = 5.0


@dataclass(frozen=True)
class TrainingColumn:
    """One attribute with its bins, and its training cells in the order of the outcomes."""

    column: Column
    cells: Sequence[Cell] = field(repr=False)


@dataclass(frozen=True)
class TrainingPart:
    """What one provider's dataset brings to the pool; `revision_digest` pins the bins that it published."""

    dataset: str
    revision_digest: bytes | None
    columns: tuple[TrainingColumn, ...]


def own_column(
    name: str, cells: Sequence[Cell], *, numeric: bool, missing_values: Collection[str] = ()
) -> Column:
    """Return the bins of one of the bank's own columns, made of its training cells as a node makes them."""
    absent = frozenset(missing_values) | {""}
    texts = [trimmed(cell or "") for cell in cells]
    present = [text for text in texts if text not in absent]
    if numeric:
        numbers = (parse_number(text) for text in present)
        counts = Counter(three_digits(number) for number in numbers if number is not None)
        return interval_column(name, "", "", choose_edges(counts, QUANTILES))
    chosen = choose_categories(Counter(present), len(texts), MIN_SHARE_PERMILLE)
    return category_column(name, "", [(text, (text,)) for text in chosen])


def fit_scorecard(
    name: str,
    bad: Sequence[bool],
    bank: Sequence[TrainingColumn],
    providers: Sequence[TrainingPart],
    *,
    missing_values: Sequence[str] = (),
    max_part: int = 1023,
) -> Scorecard:
    """Return the scorecard fitted on pooled training rows; without `providers`, the bank's alone.

    `bad` says of each row how it turned out; the cells of every column are in its order, and
    `missing_values` are the texts that mean "absent" in all of them. `max_part` is the largest |points| that
    a provider's part may give: 2^(19 - drop) - 1 under a license of that drop. Raises InputError unless both
    outcomes occur and scikit-learn is installed.
    """
    outcomes = np.array(bad, dtype=np.bool_)
    if outcomes.all() or not outcomes.any():
        raise InputError("The training rows have one outcome only; a scorecard needs both.")
    groups = [bank, *(part.columns for part in providers)]
    evidence = [[_evidence(one, outcomes, missing_values) for one in group] for group in groups]
    intercept, slopes = _log_odds([one for group in evidence for one in group], outcomes)
    weights = [[next(slopes) * one.per_bin for one in group] for group in evidence]
    factor = _factor(weights[1:], max_part)
    own, *parts = [[_whole(factor, bins) for bins in group] for group in weights]
    return Scorecard(
        name,
        round(POINTS_AT_EVEN_ODDS + factor * intercept),
        tuple(missing_values),
        tuple(OwnColumn(one.column, points) for one, points in zip(bank, own, strict=True)),
        tuple(_provider_part(part, points) for part, points in zip(providers, parts, strict=True)),
    )


def auc(bad: Sequence[bool], scores: Sequence[int]) -> float:
    """Return the area under the ROC curve: how often good scores above bad, ties counting half."""
    try:
        from sklearn.metrics import roc_auc_score  # noqa: PLC0415 - heavy, and for the example alone
    except ImportError:
        raise _not_installed() from None
    return float(roc_auc_score(~np.array(bad, dtype=np.bool_), np.array(scores)))


def ks(bad: Sequence[bool], scores: Sequence[int]) -> float:
    """Return the Kolmogorov-Smirnov distance of the scores of good and bad rows: 0 to 1."""
    outcomes, points = np.array(bad, dtype=np.bool_), np.array(scores)
    steps = np.unique(points)
    below = [
        np.searchsorted(np.sort(points[outcomes == which]), steps, side="right") / (outcomes == which).sum()
        for which in (True, False)
    ]
    return float(np.abs(below[0] - below[1]).max())


@dataclass(frozen=True)
class _Evidence:
    """Weights of evidence of one column: for each bin, and for each training row that of its bin."""

    per_bin: NDArray[np.float64]
    per_row: NDArray[np.float64]


def _evidence(
    training: TrainingColumn, outcomes: NDArray[np.bool_], missing_values: Collection[str]
) -> _Evidence:
    """ln(odds of good in the bin / odds of good overall), every bin joined by the prior rows."""
    find = bin_finder(training.column, missing_values)
    index = np.array([find(cell) for cell in training.cells], dtype=np.intp)
    bins = len(training.column.bins)
    prior_bad = PRIOR_ROWS * outcomes.mean()
    bad = np.bincount(index, outcomes, bins) + prior_bad
    good = np.bincount(index, ~outcomes, bins) + PRIOR_ROWS - prior_bad
    per_bin = np.log(good / bad) - math.log((PRIOR_ROWS - prior_bad) / prior_bad)
    return _Evidence(per_bin, per_bin[index])


def _log_odds(evidence: Sequence[_Evidence], outcomes: NDArray[np.bool_]) -> tuple[float, Iterator[float]]:
    try:
        from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - as above
    except ImportError:
        raise _not_installed() from None
    fitted = LogisticRegression(max_iter=10_000).fit(
        np.column_stack([one.per_row for one in evidence]), ~outcomes
    )
    return float(fitted.intercept_[0]), iter(fitted.coef_[0].tolist())


def _factor(parts: Sequence[Sequence[NDArray[np.float64]]], max_part: int) -> float:
    """Return the points per unit of log-odds: the usual, or fewer where a provider's part would not fit."""
    factor = POINTS_TO_DOUBLE_THE_ODDS / math.log(2)
    while any(_largest(factor, part) > max_part for part in parts):
        factor *= 0.9
    return factor


def _largest(factor: float, part: Sequence[NDArray[np.float64]]) -> int:
    points = [_whole(factor, bins) for bins in part]
    return max(sum(map(max, points)), -sum(map(min, points)))


def _whole(factor: float, bins: NDArray[np.float64]) -> tuple[int, ...]:
    return tuple(round(factor * weight) for weight in bins.tolist())


def _provider_part(part: TrainingPart, points: Sequence[Sequence[int]]) -> ProviderPart:
    return ProviderPart(
        part.dataset,
        part.revision_digest,
        tuple(
            ProviderColumn(
                one.column.name,
                dict(zip((each.label for each in one.column.bins), given, strict=True)),
            )
            for one, given in zip(part.columns, points, strict=True)
        ),
    )


def _not_installed() -> InputError:
    return InputError(
        "scikit-learn is not installed; the example alone needs it.",
        way_out="Install the extra: pip install 'bourse-exchange[demo]'.",
    )

"""The terms of a license. A term that nothing in this version enforces is refused, whoever asks for it.

Bounds, and why:

- `query_kinds`: named alone; `profile`: `score-v1` alone. Nothing evaluates others yet.
- `drop`: 7 to 12. At 7 a score errs with a chance below 2^-70, the weakest that docs/spec/release.md
  promises; above 12 fewer than 8 bits are left, and scores beyond ±63 no longer fit.
- caps: at least 1, or the license allows nothing, and small enough to be counted exactly by every party.
- `columns`: those of the revision, each once: at most 256, with at most 2,048 bins together. Each bin is a
  sealed column of 128 KiB, which a node keeps for every model, and hashes and evaluates as a whole.
- validity: whole microseconds, ends in the future and after it begins.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from exchange.domain.errors import TermNotEnforcedError, refuse_invalid


class QueryKind(StrEnum):
    """What a sealed query evaluates and what it opens."""

    NAMED = "named"


PROFILE: Final = "score-v1"
SCORE_BITS: Final = 20
MIN_DROP, MAX_DROP = 7, 12
MAX_COLUMNS: Final = 256
MAX_BINS_LICENSED: Final = 2048
MAX_ROWS: Final = 10**12
MAX_BITS: Final = SCORE_BITS * MAX_ROWS
MAX_MODELS: Final = 10**6
MAX_OPENINGS_PER_ENTITY: Final = 10**6


@dataclass(frozen=True)
class Terms:
    """What a license allows. `query_kinds` holds None for a kind that this version does not know.

    `drop` counts low bits kept back per row; `max_rows`, `max_bits`, `max_models` cap what is charged in
    all; `valid_from` <= t < `valid_until`.
    """

    columns: tuple[str, ...]
    query_kinds: tuple[QueryKind | None, ...]
    profile: str
    drop: int
    max_rows: int
    max_openings_per_entity: int
    max_models: int
    max_bits: int
    valid_from: datetime
    valid_until: datetime

    @property
    def bits_per_row(self) -> int:
        """Bits that a release opens of one row."""
        return SCORE_BITS - self.drop


def check_terms(field: str, terms: Terms, published: Mapping[str, int], now: datetime) -> None:
    """Raise TermNotEnforcedError or FieldInvalidError unless the terms can be licensed and enforced.

    `published` are the revision's columns with their numbers of bins; `field` is where the terms stand.
    """
    if terms.query_kinds and terms.query_kinds != (QueryKind.NAMED,):
        raise TermNotEnforcedError(
            f"{field}.query_kinds: this version enforces QUERY_KIND_NAMED, once, alone"
        )
    if terms.profile and terms.profile != PROFILE:
        raise TermNotEnforcedError(f"{field}.profile: this version enforces {PROFILE} alone")
    if terms.drop and not MIN_DROP <= terms.drop <= MAX_DROP:
        raise TermNotEnforcedError(
            f"{field}.drop: this version keeps its promise of exact scores from {MIN_DROP} to {MAX_DROP}"
        )
    refuse_invalid((f"{field}.{path}", what) for path, what in _violations(terms, published, now))


def _violations(terms: Terms, published: Mapping[str, int], now: datetime) -> Iterator[tuple[str, str]]:
    if not 1 <= len(terms.columns) <= MAX_COLUMNS:
        yield "columns", f"name 1 to {MAX_COLUMNS} of the revision's columns"
    if len(set(terms.columns)) != len(terms.columns):
        yield "columns", "name each column once"
    for place, column in enumerate(terms.columns):
        if column not in published:
            yield f"columns[{place}]", "the revision has no such column; see its description"
    bins = sum(published.get(column, 0) for column in set(terms.columns))
    if bins > MAX_BINS_LICENSED:
        yield "columns", f"have {bins} bins together, at most {MAX_BINS_LICENSED} are licensed; name fewer"
    if not terms.query_kinds:
        yield "query_kinds", "must be QUERY_KIND_NAMED"
    if not terms.profile:
        yield "profile", f"must be {PROFILE}"
    if not terms.drop:
        yield "drop", f"must be {MIN_DROP} to {MAX_DROP}"
    for path, value, largest in (
        ("max_rows", terms.max_rows, MAX_ROWS),
        ("max_openings_per_entity", terms.max_openings_per_entity, MAX_OPENINGS_PER_ENTITY),
        ("max_models", terms.max_models, MAX_MODELS),
        ("max_bits", terms.max_bits, MAX_BITS),
    ):
        if not 1 <= value <= largest:
            yield path, f"must be 1 to {largest}"
    if terms.drop and 1 <= terms.max_bits < terms.bits_per_row:
        yield "max_bits", f"opens no row: one takes {terms.bits_per_row} bits at this drop"
    if terms.valid_from >= terms.valid_until:
        yield "valid_until", "must be after valid_from"
    if terms.valid_until <= now:
        yield "valid_until", "must be in the future"

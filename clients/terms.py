"""Terms of a license: from a file or from defaults, and as people read them.

    columns = ["job", "housing"]        # default: all that the dataset publishes
    profile = "score-v1"
    drop = 9                            # 20 - drop bits open per row: scores within ±1,023
    max_rows = 1000
    max_openings_per_entity = 3
    max_models = 1
    max_bits = 11000                    # default: max_rows times the bits per row
    valid_from = 2026-01-01T00:00:00Z   # default: now
    valid_until = 2027-01-01T00:00:00Z  # default: one year later

Every key is optional. `bourse bank license show --json` prints the same keys under `terms`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bourse.type.v1 import agreement_pb2, query_pb2

from clients.errors import InputError
from clients.tomlfile import load_document

SCORE_BITS = 20
KIND_PREFIX = "QUERY_KIND_"
MAX_COUNT = 2**63 - 1


@dataclass(frozen=True)
class WantedTerms:
    """Terms as a user gives them; what is None takes its default."""

    columns: Sequence[str] | None = None
    profile: str = "score-v1"
    drop: int = 9
    max_rows: int = 1000
    max_openings_per_entity: int = 3
    max_models: int = 1
    max_bits: int | None = None
    valid_from: datetime | None = None
    valid_until: datetime | None = None

    def resolved(self, published: Sequence[str], now: datetime) -> agreement_pb2.Terms:
        """Return the terms, for named queries, with defaults filled in. Raises InputError naming the term."""
        for name, value in (
            ("drop", self.drop),
            ("max_rows", self.max_rows),
            ("max_openings_per_entity", self.max_openings_per_entity),
            ("max_models", self.max_models),
        ):
            if not 0 <= value < 2**32:
                raise InputError(f"{name}: must be 0 to 4294967295.")
        columns = list(self.columns) if self.columns is not None else list(published)
        for column in columns:
            if column not in published:
                raise InputError(
                    f'columns: the dataset publishes no column "{column}".',
                    way_out=f"It publishes: {', '.join(published)}.",
                )
        begin = self.valid_from or now
        terms = agreement_pb2.Terms(
            columns=columns,
            query_kinds=[query_pb2.QUERY_KIND_NAMED],
            profile=self.profile,
            drop=self.drop,
            max_rows=self.max_rows,
            max_openings_per_entity=self.max_openings_per_entity,
            max_models=self.max_models,
            max_bits=self.max_rows * max(SCORE_BITS - self.drop, 0)
            if self.max_bits is None
            else self.max_bits,
        )
        terms.valid_from.FromDatetime(begin)
        terms.valid_until.FromDatetime(self.valid_until or begin + timedelta(days=365))
        return terms


def load_terms(path: Path) -> WantedTerms:
    """Return the terms in a `.toml` or `.json` file. Raises InputError that names the place."""
    document = load_document(path)
    defaults = WantedTerms()
    kinds = document.texts("query_kinds", ["named"])
    if kinds != ["named"]:
        raise document.error("query_kinds", 'must be ["named"]; this release asks no other queries')
    wanted = WantedTerms(
        columns=document.texts("columns") if document.has("columns") else None,
        profile=document.text("profile", defaults.profile),
        drop=document.whole("drop", defaults.drop),
        max_rows=document.whole("max_rows", defaults.max_rows),
        max_openings_per_entity=document.whole("max_openings_per_entity", defaults.max_openings_per_entity),
        max_models=document.whole("max_models", defaults.max_models),
        max_bits=document.whole("max_bits") if document.has("max_bits") else None,
        valid_from=document.moment("valid_from") if document.has("valid_from") else None,
        valid_until=document.moment("valid_until") if document.has("valid_until") else None,
    )
    document.finish()
    if wanted.max_bits is not None and not 0 <= wanted.max_bits <= MAX_COUNT:
        raise document.error("max_bits", f"must be 0 to {MAX_COUNT}")
    return wanted


def terms_json(terms: agreement_pb2.Terms) -> dict[str, object]:
    """Return terms as a user would write them in a file."""
    return {
        "columns": list(terms.columns),
        "query_kinds": [
            query_pb2.QueryKind.Name(kind).removeprefix(KIND_PREFIX).lower() for kind in terms.query_kinds
        ],
        "profile": terms.profile,
        "drop": terms.drop,
        "max_rows": terms.max_rows,
        "max_openings_per_entity": terms.max_openings_per_entity,
        "max_models": terms.max_models,
        "max_bits": terms.max_bits,
        "valid_from": terms.valid_from.ToDatetime(tzinfo=UTC).isoformat(),
        "valid_until": terms.valid_until.ToDatetime(tzinfo=UTC).isoformat(),
    }

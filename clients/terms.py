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

Every key is optional: what is left out is taken from the terms on the table, if there are any, else its
default. `bourse bank license show --json` prints the same keys under `terms`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
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
    """Terms as a user gives them; what is None is left to other terms, and at last to its default."""

    columns: Sequence[str] | None = None
    profile: str | None = None
    drop: int | None = None
    max_rows: int | None = None
    max_openings_per_entity: int | None = None
    max_models: int | None = None
    max_bits: int | None = None
    valid_from: datetime | None = None
    valid_until: datetime | None = None

    def over(self, others: "WantedTerms") -> "WantedTerms":
        """Return these terms, completed by `others`.

        Other rows, or other bits per row, than `others` have take no `max_bits` from them.
        """
        taken = {
            one.name: getattr(others, one.name) for one in fields(self) if getattr(self, one.name) is None
        }
        if self.max_rows is not None or self.drop is not None:
            taken.pop("max_bits", None)
        return replace(self, **taken)

    def resolved(self, published: Sequence[str], now: datetime) -> agreement_pb2.Terms:
        """Return the terms, for named queries, with defaults filled in. Raises InputError naming the term."""
        wanted = self.over(DEFAULT_TERMS)
        counts: dict[str, int] = {}
        for name in ("drop", "max_rows", "max_openings_per_entity", "max_models"):
            counts[name] = getattr(wanted, name)
            if not 0 <= counts[name] < 2**32:
                raise InputError(f"{name}: must be 0 to 4294967295.")
        columns = list(published) if wanted.columns is None else list(wanted.columns)
        for column in columns:
            if column not in published:
                raise InputError(
                    f'columns: the dataset publishes no column "{column}".',
                    way_out=f"It publishes: {', '.join(published)}.",
                )
        max_bits = wanted.max_bits
        if max_bits is None:
            max_bits = counts["max_rows"] * max(SCORE_BITS - counts["drop"], 0)
        begin = wanted.valid_from or now
        terms = agreement_pb2.Terms(
            columns=columns,
            query_kinds=[query_pb2.QUERY_KIND_NAMED],
            profile=wanted.profile or "",
            drop=counts["drop"],
            max_rows=counts["max_rows"],
            max_openings_per_entity=counts["max_openings_per_entity"],
            max_models=counts["max_models"],
            max_bits=max_bits,
        )
        terms.valid_from.FromDatetime(begin)
        terms.valid_until.FromDatetime(wanted.valid_until or begin + timedelta(days=365))
        return terms


DEFAULT_TERMS = WantedTerms(
    profile="score-v1", drop=9, max_rows=1000, max_openings_per_entity=3, max_models=1
)


def wanted_of(terms: agreement_pb2.Terms) -> WantedTerms:
    """Return the terms of a license as somebody would want them again."""
    return WantedTerms(
        columns=list(terms.columns),
        profile=terms.profile,
        drop=terms.drop,
        max_rows=terms.max_rows,
        max_openings_per_entity=terms.max_openings_per_entity,
        max_models=terms.max_models,
        max_bits=terms.max_bits,
        valid_from=terms.valid_from.ToDatetime(tzinfo=UTC),
        valid_until=terms.valid_until.ToDatetime(tzinfo=UTC),
    )


def covers(terms: agreement_pb2.Terms, now: datetime) -> bool:
    """Return whether `now` is within the time that the terms name."""
    begin, end = terms.valid_from.ToDatetime(tzinfo=UTC), terms.valid_until.ToDatetime(tzinfo=UTC)
    return begin <= now < end


def load_terms(path: Path) -> WantedTerms:
    """Return the terms in a `.toml` or `.json` file. Raises InputError that names the place."""
    document = load_document(path)

    def whole(name: str) -> int | None:
        return document.whole(name) if document.has(name) else None

    kinds = document.texts("query_kinds", ["named"])
    if kinds != ["named"]:
        raise document.error("query_kinds", 'must be ["named"]; this release asks no other queries')
    wanted = WantedTerms(
        columns=document.texts("columns") if document.has("columns") else None,
        profile=document.text("profile") if document.has("profile") else None,
        drop=whole("drop"),
        max_rows=whole("max_rows"),
        max_openings_per_entity=whole("max_openings_per_entity"),
        max_models=whole("max_models"),
        max_bits=whole("max_bits"),
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

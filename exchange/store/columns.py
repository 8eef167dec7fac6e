"""Values in columns: times as microseconds, tuples and terms as JSON."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from exchange.domain.records import Receipt
from exchange.domain.signed import Signature, SignedBytes
from exchange.domain.terms import QueryKind, Terms

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
MAX_MICROS: Final = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND


def to_micros(time: datetime) -> int:
    return (time - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    return _EPOCH + micros * _MICROSECOND


def to_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def receipt_of(row: Any) -> Receipt | None:
    """Return the receipt in a row that was joined with `record`, if it has one."""
    if row.receipt is None:
        return None
    return Receipt(SignedBytes(row.receipt, (Signature(row.receipt_key_id, row.receipt_signature),)))


def terms_to_json(terms: Terms) -> str:
    return to_json(
        {
            "columns": terms.columns,
            "query_kinds": [kind.value for kind in terms.query_kinds if kind is not None],
            "profile": terms.profile,
            "drop": terms.drop,
            "max_rows": terms.max_rows,
            "max_openings_per_entity": terms.max_openings_per_entity,
            "max_models": terms.max_models,
            "max_bits": terms.max_bits,
            "valid_from": to_micros(terms.valid_from),
            "valid_until": to_micros(terms.valid_until),
        }
    )


def terms_from_json(text: str) -> Terms:
    value = json.loads(text)
    return Terms(
        columns=tuple(value["columns"]),
        query_kinds=tuple(QueryKind(kind) for kind in value["query_kinds"]),
        profile=value["profile"],
        drop=value["drop"],
        max_rows=value["max_rows"],
        max_openings_per_entity=value["max_openings_per_entity"],
        max_models=value["max_models"],
        max_bits=value["max_bits"],
        valid_from=from_micros(value["valid_from"]),
        valid_until=from_micros(value["valid_until"]),
    )

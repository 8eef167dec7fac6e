"""Terms at the border. A field of another version is a term that this one does not enforce."""

from typing import Final

from bourse.type.v1 import agreement_pb2, query_pb2

from exchange.domain.errors import FieldInvalidError, TermNotEnforcedError
from exchange.domain.terms import QueryKind, Terms
from exchange.formats.enums import enum_from_pb, enum_to_pb
from exchange.formats.times import time_from_pb, time_to_pb
from wire.strict import StrictParseError, parse_strict

MAX_TERMS_BYTES: Final = 64 * 1024


def terms_to_pb(terms: Terms) -> agreement_pb2.Terms:
    """Return the message of the terms."""
    return agreement_pb2.Terms(
        columns=terms.columns,
        query_kinds=[
            query_pb2.QUERY_KIND_UNSPECIFIED if kind is None else enum_to_pb(query_pb2.QueryKind, kind)
            for kind in terms.query_kinds
        ],
        profile=terms.profile,
        drop=terms.drop,
        max_rows=terms.max_rows,
        max_openings_per_entity=terms.max_openings_per_entity,
        max_models=terms.max_models,
        max_bits=terms.max_bits,
        valid_from=time_to_pb(terms.valid_from),
        valid_until=time_to_pb(terms.valid_until),
    )


def terms_from_pb(field: str, message: agreement_pb2.Terms) -> Terms:
    """Return the terms; whether they can be licensed is `check_terms`' to say.

    Raises FieldInvalidError when they are too long or lack their times, TermNotEnforcedError when they
    hold a field that this version does not know.
    """
    if message.ByteSize() > MAX_TERMS_BYTES:
        raise FieldInvalidError((field, f"at most {MAX_TERMS_BYTES} bytes are accepted"))
    try:
        parse_strict(agreement_pb2.Terms, message.SerializeToString(deterministic=True), MAX_TERMS_BYTES)
    except StrictParseError:
        raise TermNotEnforcedError(f"{field}: holds a term of another version; leave it out") from None
    for name in ("valid_from", "valid_until"):
        if not message.HasField(name):
            raise FieldInvalidError((f"{field}.{name}", "is missing"))
    return Terms(
        columns=tuple(message.columns),
        query_kinds=tuple(enum_from_pb(query_pb2.QueryKind, QueryKind, kind) for kind in message.query_kinds),
        profile=message.profile,
        drop=message.drop,
        max_rows=message.max_rows,
        max_openings_per_entity=message.max_openings_per_entity,
        max_models=message.max_models,
        max_bits=message.max_bits,
        valid_from=time_from_pb(f"{field}.valid_from", message.valid_from),
        valid_until=time_from_pb(f"{field}.valid_until", message.valid_until),
    )

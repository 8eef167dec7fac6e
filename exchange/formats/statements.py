"""What banks and nodes sign and have recorded, read from the exact bytes.

Source: docs/spec/sealing.md, docs/spec/release.md.
"""

from typing import Final

from bourse.type.v1 import query_pb2, statement_pb2

from exchange.domain.errors import FieldInvalidError
from exchange.domain.names import check_block_name, check_sealing_name, license_of
from exchange.domain.statements import ModelStatement, ReleaseRequest, ReleaseStatement, SealingStatement
from exchange.domain.terms import QueryKind
from exchange.formats.enums import enum_from_pb
from exchange.formats.reading import check_shape, read_canonical

# Every field of the longest is bounded; the sum stays far below.
MAX_STATEMENT_BYTES: Final = 2048


def sealing_statement(field: str, payload: bytes) -> SealingStatement:
    """Return a bank's statement on a sealed model, or raise FieldInvalidError."""
    message = read_canonical(field, statement_pb2.SealingStatement, payload, MAX_STATEMENT_BYTES)
    check_shape(
        field, message, context=message.context, c0_digest=message.c0_digest, commitment=message.commitment
    )
    return SealingStatement(
        sealing=check_sealing_name(f"{field}.sealing", message.sealing),
        context=message.context,
        c0_digest=message.c0_digest,
        commitment=message.commitment,
    )


def model_statement(field: str, payload: bytes) -> ModelStatement:
    """Return a node's statement on an accepted model, or raise FieldInvalidError."""
    message = read_canonical(field, statement_pb2.ModelStatement, payload, MAX_STATEMENT_BYTES)
    check_shape(
        field,
        message,
        license_digest=message.license_digest,
        sealing_statement_sha256=message.sealing_statement_sha256,
    )
    return ModelStatement(
        license=license_of(f"{field}.license", message.license),
        license_digest=message.license_digest,
        sealing=check_sealing_name(f"{field}.sealing", message.sealing),
        sealing_statement_sha256=message.sealing_statement_sha256,
        columns=message.columns,
    )


def release_request(field: str, payload: bytes) -> ReleaseRequest:
    """Return a bank's release request, or raise FieldInvalidError."""
    message = read_canonical(field, statement_pb2.ReleaseRequest, payload, MAX_STATEMENT_BYTES)
    check_shape(
        field,
        message,
        nonce=message.nonce,
        c0_digest=message.c0_digest,
        block_digest=message.block_digest,
        rows_digest=message.rows_digest,
    )
    return ReleaseRequest(
        block=check_block_name(f"{field}.block", message.block),
        nonce=message.nonce,
        c0_digest=message.c0_digest,
        block_digest=message.block_digest,
        rows_digest=message.rows_digest,
        rows=message.rows,
        query_kind=_query_kind(field, message.query_kind),
        drop=message.drop,
    )


def release_statement(field: str, payload: bytes) -> ReleaseStatement:
    """Return a node's statement on a release, or raise FieldInvalidError."""
    message = read_canonical(field, statement_pb2.ReleaseStatement, payload, MAX_STATEMENT_BYTES)
    check_shape(
        field,
        message,
        license_digest=message.license_digest,
        request_sha256=message.request_sha256,
        place=message.place,
        consent_digest=message.consent_digest,
    )
    return ReleaseStatement(
        license=license_of(f"{field}.license", message.license),
        license_digest=message.license_digest,
        sealing=check_sealing_name(f"{field}.sealing", message.sealing),
        block=check_block_name(f"{field}.block", message.block),
        request_sha256=message.request_sha256,
        place=message.place,
        rows_gathered=message.rows_gathered,
        rows_opened=message.rows_opened,
        rows_charged=message.rows_charged,
        bits_charged=message.bits_charged,
        consent_digest=message.consent_digest,
        query_kind=_query_kind(field, message.query_kind),
    )


def _query_kind(field: str, value: int) -> QueryKind:
    kind = enum_from_pb(query_pb2.QueryKind, QueryKind, value)
    if kind is None:
        raise FieldInvalidError((f"{field}.query_kind", "must be QUERY_KIND_NAMED"))
    return kind

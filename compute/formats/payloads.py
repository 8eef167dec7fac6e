"""Signed bytes as values: what others signed is read strictly, what the node signs is written once.

The one place where agreement, statements, requests and receipts meet their messages. Whoever reads has
verified the signature over these very bytes, or verifies it before anything is done.

Source: docs/spec/agreement.md, docs/spec/sealing.md, docs/spec/release.md, docs/spec/record.md.
"""

from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from bourse.compute.v1 import publication_pb2
from bourse.type.v1 import agreement_pb2, query_pb2, record_pb2, signature_pb2, statement_pb2
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from compute.domain.caps import Charge
from compute.domain.errors import FieldError, LicenseRefusedError, ReceiptError, SealedModelError
from compute.domain.license import Agreement, LicensedColumn, QueryKind, Terms
from compute.domain.model import SealingStatement
from compute.domain.signed import Signature, Signed
from compute.records.convert import specification_from_pb
from compute.records.specification import ColumnSpecification
from compute.release.policy import ReleaseRequest
from compute.release.receipt import MAX_ENTRY_BYTES, Entry, ReceiptStatement, RecordKind
from compute.release.statement import ModelStatement, ReleaseStatement
from wire.strict import StrictParseError, parse_strict

# 256 columns with names of 128 bytes stay well below.
MAX_AGREEMENT_BYTES: Final = 65_536
# Digests, names and small numbers only.
MAX_STATEMENT_BYTES: Final = 4096

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# The seconds of google.protobuf.Timestamp: years 1 to 9999.
_MIN_SECONDS, _MAX_SECONDS = -62_135_596_800, 253_402_300_799

_KINDS: dict[int, QueryKind] = {query_pb2.QUERY_KIND_NAMED: QueryKind.NAMED}
_KIND_NUMBERS = {QueryKind.NAMED: query_pb2.QUERY_KIND_NAMED}
_RECORD_KINDS: dict[int, RecordKind] = {
    record_pb2.RECORD_KIND_MODEL_DEPLOYED: RecordKind.MODEL_DEPLOYED,
    record_pb2.RECORD_KIND_RESULT_RELEASED: RecordKind.RESULT_RELEASED,
}

_MessageT = TypeVar("_MessageT", bound=Message)


def signed_from_pb(message: signature_pb2.SignedPayload) -> Signed:
    """Return payload and signatures as they came; nothing is verified."""
    return Signed(message.payload, tuple(Signature(one.key_id, one.value) for one in message.signatures))


def signed_to_pb(signed: Signed) -> signature_pb2.SignedPayload:
    """Return payload and signatures as they travel."""
    return signature_pb2.SignedPayload(
        payload=signed.payload,
        signatures=[signature_pb2.Signature(key_id=one.key_id, value=one.value) for one in signed.signatures],
    )


def kind_from_pb(field: str, number: int) -> QueryKind:
    """Return the kind of query, or raise FieldError for one that this version does not know."""
    kind = _KINDS.get(number)
    if kind is None:
        raise FieldError(field, f"must be one of {', '.join(one.name for one in QueryKind)}")
    return kind


def kind_to_pb(kind: QueryKind) -> "query_pb2.QueryKind.ValueType":
    """Return the message's number of a kind of query."""
    return _KIND_NUMBERS[kind]


def time_from_pb(field: str, message: Timestamp) -> datetime:
    """Return the time, or raise FieldError unless it is whole microseconds of the years 1 to 9999."""
    if not _MIN_SECONDS <= message.seconds <= _MAX_SECONDS or not 0 <= message.nanos < 10**9:
        raise FieldError(field, "must be a time of the years 1 to 9999")
    if message.nanos % 1000:
        raise FieldError(field, "must be whole microseconds")
    return _EPOCH + timedelta(seconds=message.seconds, microseconds=message.nanos // 1000)


def time_to_pb(time: datetime) -> Timestamp:
    """Return the time as it travels."""
    seconds, rest = divmod(time - _EPOCH, timedelta(seconds=1))
    return Timestamp(seconds=seconds, nanos=rest.microseconds * 1000)


def specification_from_bytes(data: bytes) -> ColumnSpecification:
    """Return a column specification that was kept as bytes. Raises SpecificationError when unusable."""
    return specification_from_pb(publication_pb2.ColumnSpecification.FromString(data))


def agreement_from_payload(payload: bytes) -> Agreement:
    """Return the agreement that `payload` spells, or raise LicenseRefusedError."""
    try:
        message = parse_strict(agreement_pb2.Agreement, payload, MAX_AGREEMENT_BYTES)
        terms = _terms_from_pb(message.terms)
    except (StrictParseError, FieldError) as error:
        raise LicenseRefusedError(f"agreement: {error}") from error
    return Agreement(
        message.version,
        message.license,
        message.dataset,
        message.revision,
        message.revision_digest,
        message.provider,
        message.bank,
        message.exchange,
        message.scenario,
        terms,
        tuple(LicensedColumn(column.name, column.bins) for column in message.columns),
        tuple(message.participants),
        message.steward_key,
        message.node_key,
        message.bank_key,
        message.exchange_key,
    )


def sealing_statement_from_payload(payload: bytes) -> SealingStatement:
    """Return what a bank says of its sealed model, or raise SealedModelError."""
    try:
        message = parse_strict(statement_pb2.SealingStatement, payload, MAX_STATEMENT_BYTES)
    except StrictParseError as error:
        raise SealedModelError(f"statement: {error}") from error
    return SealingStatement(
        message.version, message.sealing, message.context, message.c0_digest, message.commitment
    )


def release_request_from_payload(payload: bytes) -> ReleaseRequest:
    """Return what a bank wants opened, or raise FieldError."""
    try:
        message = parse_strict(statement_pb2.ReleaseRequest, payload, MAX_STATEMENT_BYTES)
    except StrictParseError as error:
        raise FieldError("request.payload", str(error)) from error
    return ReleaseRequest(
        message.version,
        message.block,
        message.nonce,
        message.c0_digest,
        message.block_digest,
        message.rows_digest,
        message.rows,
        kind_from_pb("request.query_kind", message.query_kind),
        message.drop,
    )


def model_statement_payload(statement: ModelStatement) -> bytes:
    """Return the bytes that the node signs when it accepts a sealed model."""
    return _written(
        statement_pb2.ModelStatement(
            version=statement.version,
            license=statement.license,
            license_digest=statement.license_digest,
            sealing=statement.sealing,
            sealing_statement_sha256=statement.sealing_statement_sha256,
            columns=statement.columns,
        )
    )


def release_statement_payload(statement: ReleaseStatement) -> bytes:
    """Return the bytes that the node signs before it releases."""
    return _written(
        statement_pb2.ReleaseStatement(
            version=statement.version,
            license=statement.license,
            license_digest=statement.license_digest,
            sealing=statement.sealing,
            block=statement.block,
            request_sha256=statement.request_sha256,
            place=statement.place,
            rows_gathered=statement.rows_gathered,
            rows_opened=statement.rows_opened,
            rows_charged=statement.charge.rows,
            bits_charged=statement.charge.bits,
            consent_digest=statement.consent_digest,
            query_kind=kind_to_pb(statement.kind),
        )
    )


def receipt_statement_from_payload(payload: bytes) -> ReceiptStatement:
    """Return what the exchange promises, or raise ReceiptError."""
    message = _of_exchange(record_pb2.ReceiptStatement, payload, MAX_STATEMENT_BYTES)
    return ReceiptStatement(message.version, message.origin, message.leaf_hash)


def entry_from_bytes(data: bytes) -> Entry:
    """Return what a node looks for in a trade record, or raise ReceiptError."""
    message = _of_exchange(record_pb2.TradeRecordEntry, data, MAX_ENTRY_BYTES)
    return Entry(
        message.version,
        _RECORD_KINDS.get(message.kind),
        message.license,
        Charge(message.usage.rows_charged, message.usage.bits_charged),
        tuple(signed_from_pb(one) for one in message.statements),
    )


def _terms_from_pb(message: agreement_pb2.Terms) -> Terms:
    return Terms(
        tuple(message.columns),
        frozenset(_KINDS[number] for number in message.query_kinds if number in _KINDS),
        message.profile,
        message.drop,
        message.max_rows,
        message.max_openings_per_entity,
        message.max_models,
        message.max_bits,
        time_from_pb("terms.valid_from", message.valid_from),
        time_from_pb("terms.valid_until", message.valid_until),
    )


def _of_exchange(kind: type[_MessageT], data: bytes, max_bytes: int) -> _MessageT:
    try:
        return parse_strict(kind, data, max_bytes)
    except StrictParseError as error:
        raise ReceiptError(f"the exchange's answer: {error}") from error


def _written(message: Message) -> bytes:
    return message.SerializeToString(deterministic=True)

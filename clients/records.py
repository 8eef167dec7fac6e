"""Trade records, decoded for people and checked from their own bytes.

A record proves itself: its receipt is the exchange's promise, its statements carry the parties' signatures
over the exact bytes they signed. Checking needs the exchange's pinned key and the parties' public keys.

Source: docs/spec/record.md, docs/spec/signing.md.
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from bourse.exchange.v1 import party_pb2, trade_record_pb2
from bourse.type.v1 import agreement_pb2, record_pb2, signature_pb2, statement_pb2
from google.protobuf import json_format
from google.protobuf.message import Message

from clients.agreement import MAX_AGREEMENT_BYTES
from clients.errors import EvidenceError
from clients.evidence import (
    MAX_STATEMENT_BYTES,
    check_receipt,
    check_signature,
    leaf_hash,
    read_entry,
    read_payload,
)
from clients.home import PinnedExchange
from clients.keyproof import possession_payload
from wire.signing import Purpose, SignatureError, key_id

Kind: TypeAlias = record_pb2.RecordKind.ValueType


@dataclass(frozen=True)
class HeldKey:
    """A key in the registry, in use or retired: whose it is and what it signs."""

    party: str
    purpose: party_pb2.KeyPurpose.ValueType
    public_key: bytes


@dataclass(frozen=True)
class _Form:
    """What one statement of a record is: its message, its signatures' purpose, and whose keys they are by."""

    message: type[Message]
    purpose: Purpose
    signers: tuple[party_pb2.KeyPurpose.ValueType | None, ...]
    max_bytes: int = MAX_STATEMENT_BYTES


_STEWARD, _NODE, _BANK = (
    party_pb2.KEY_PURPOSE_STEWARD,
    party_pb2.KEY_PURPOSE_NODE,
    party_pb2.KEY_PURPOSE_BANK,
)
_EXCHANGE = None


def _agreement(*signers: party_pb2.KeyPurpose.ValueType | None) -> tuple[_Form, ...]:
    return (_Form(agreement_pb2.Agreement, Purpose.AGREEMENT, signers, MAX_AGREEMENT_BYTES),)


# Kinds that are not here carry no statements.
_FORMS: Mapping[Kind, tuple[_Form, ...]] = {
    record_pb2.RECORD_KIND_LICENSE_ACCEPTED: _agreement(),
    record_pb2.RECORD_KIND_LICENSE_AGREED: _agreement(_STEWARD),
    record_pb2.RECORD_KIND_LICENSE_FINALIZED: _agreement(_STEWARD, _BANK, _EXCHANGE),
    record_pb2.RECORD_KIND_MODEL_DEPLOYED: (
        _Form(statement_pb2.ModelStatement, Purpose.MODEL_STATEMENT, (_NODE,)),
        _Form(statement_pb2.SealingStatement, Purpose.SEALING, (_BANK,)),
    ),
    record_pb2.RECORD_KIND_RESULT_RELEASED: (
        _Form(statement_pb2.ReleaseStatement, Purpose.RELEASE_STATEMENT, (_NODE,)),
        _Form(statement_pb2.ReleaseRequest, Purpose.RELEASE_REQUEST, (_BANK,)),
    ),
}
_KEY_KINDS = frozenset(
    {record_pb2.RECORD_KIND_SIGNING_KEY_REGISTERED, record_pb2.RECORD_KIND_SIGNING_KEY_RETIRED}
)


@dataclass(frozen=True)
class CheckedRecord:
    """A record proven to be promised by the exchange and signed by the parties it names."""

    index: int
    entry: record_pb2.TradeRecordEntry
    signatures: int


def keys_of(parties: Iterable[party_pb2.Party]) -> dict[bytes, HeldKey]:
    """Return all keys of these parties, in use and retired, by key id."""
    return {
        key_id(key.public_key): HeldKey(party.name, key.purpose, key.public_key)
        for party in parties
        for key in party.signing_keys
    }


def check_record(
    record: trade_record_pb2.TradeRecord, exchange: PinnedExchange, keys: Mapping[bytes, HeldKey]
) -> CheckedRecord:
    """Return a record once (1) the exchange is proven to have promised it, (2) every statement is signed by a
    registered key of a party that the record names, (3) the statements name each other and the record, and
    agreements and proofs of possession the keys that signed them.

    Raises EvidenceError that says which record and what failed.
    """
    where = f"record {record.index}"
    try:
        entry = check_receipt(
            record.receipt, record.entry, origin=exchange.origin, exchange_key=exchange.public_key
        )  # (1)
        signatures = _check_statements(entry, exchange, keys)  # (2)
        _check_links(entry)  # (3)
    except EvidenceError as error:
        raise EvidenceError(f"{where}: {error.message}", fields=error.fields) from None
    return CheckedRecord(record.index, entry, signatures)


def record_json(record: trade_record_pb2.TradeRecord) -> dict[str, Any]:
    """Return a record decoded for people, with the bytes that prove it."""
    entry = read_entry(record.entry)
    decoded = _plain(entry)
    decoded["kind"] = kind_name(entry.kind)
    decoded["statements"] = [
        _statement_json(entry.kind, place, signed) for place, signed in enumerate(entry.statements)
    ]
    return {
        "name": record.name,
        "index": record.index,
        **decoded,
        "leaf_hash": leaf_hash(record.entry).hex(),
        "entry": base64.b64encode(record.entry).decode(),
        "receipt": base64.b64encode(record.receipt.SerializeToString(deterministic=True)).decode(),
    }


def kind_name(kind: Kind) -> str:
    """Return a kind's name, such as `RESULT_RELEASED`."""
    return record_pb2.RecordKind.Name(kind).removeprefix("RECORD_KIND_")


def _check_statements(
    entry: record_pb2.TradeRecordEntry, exchange: PinnedExchange, keys: Mapping[bytes, HeldKey]
) -> int:
    if entry.kind in _KEY_KINDS:
        return _check_possession(entry, keys)
    forms = _FORMS.get(entry.kind, ())
    if len(entry.statements) not in {0, len(forms)} or (
        not entry.statements and any(form.signers for form in forms)
    ):
        raise EvidenceError("carries another number of statements than its kind calls for.")
    count = 0
    for signed, form in zip(entry.statements, forms, strict=False):
        what = form.message.DESCRIPTOR.name
        if len(signed.signatures) != len(form.signers):
            raise EvidenceError(f"{what}: must carry {len(form.signers)} signatures.")
        for position, purpose in enumerate(form.signers):
            public_key = (
                exchange.public_key
                if purpose is None
                else _key_of(what, signed.signatures[position], purpose, entry.parties, keys)
            )
            check_signature(what, signed, position, public_key, form.purpose)
            count += 1
        read_payload(what, form.message, signed.payload, form.max_bytes)
    return count


def _check_possession(entry: record_pb2.TradeRecordEntry, keys: Mapping[bytes, HeldKey]) -> int:
    if len(entry.statements) != 1 or len(entry.statements[0].signatures) != 1:
        raise EvidenceError("must carry one proof of possession.")
    (signed,) = entry.statements
    held = keys.get(signed.signatures[0].key_id)
    if held is None or held.party not in entry.parties:
        raise EvidenceError("proof of possession: by a key that the registry holds for none of its parties.")
    payload = check_signature("proof of possession", signed, 0, held.public_key, Purpose.KEY_POSSESSION)
    _require(
        payload == possession_payload(held.party, held.purpose),
        "the proof of possession is for another party or purpose than the registry holds the key for",
    )
    return 1


def _key_of(
    what: str,
    signature: signature_pb2.Signature,
    purpose: party_pb2.KeyPurpose.ValueType,
    parties: Sequence[str],
    keys: Mapping[bytes, HeldKey],
) -> bytes:
    held = keys.get(signature.key_id)
    if held is None or held.purpose != purpose or held.party not in parties:
        raise EvidenceError(f"{what}: signed by a key that the registry holds for none of its parties.")
    return held.public_key


def _check_links(entry: record_pb2.TradeRecordEntry) -> None:
    payloads = [signed.payload for signed in entry.statements]
    if entry.kind == record_pb2.RECORD_KIND_MODEL_DEPLOYED:
        model = statement_pb2.ModelStatement.FromString(payloads[0])
        _require(model.license == entry.license, "the node's statement names another license")
        _require(
            model.sealing_statement_sha256 == hashlib.sha256(payloads[1]).digest(),
            "the node's statement names another statement of the bank",
        )
    elif entry.kind == record_pb2.RECORD_KIND_RESULT_RELEASED:
        release = statement_pb2.ReleaseStatement.FromString(payloads[0])
        request = statement_pb2.ReleaseRequest.FromString(payloads[1])
        _require(release.license == entry.license, "the node's statement names another license")
        _require(
            release.request_sha256 == hashlib.sha256(payloads[1]).digest() and release.block == request.block,
            "the node's statement names another request",
        )
        _require(
            (release.rows_opened, release.query_kind) == (request.rows, request.query_kind),
            "the node states another number of rows, or kind of query, than the bank asked for",
        )
        charged = (release.rows_gathered, release.rows_opened, release.rows_charged, release.bits_charged)
        usage = entry.usage
        _require(
            charged == (usage.rows_gathered, usage.rows_opened, usage.rows_charged, usage.bits_charged),
            "the charge is not the one that the node states",
        )
    elif payloads and entry.kind in _FORMS:
        agreement = agreement_pb2.Agreement.FromString(payloads[0])
        _require(
            (agreement.license, agreement.dataset, agreement.scenario)
            == (entry.license, entry.dataset, entry.scenario),
            "the agreement is another license's",
        )
        _require(
            [signature.key_id for signature in entry.statements[0].signatures]
            == _pinned_key_ids(agreement)[: len(entry.statements[0].signatures)],
            "the agreement is signed by other keys than it pins",
        )


def _pinned_key_ids(agreement: agreement_pb2.Agreement) -> list[bytes]:
    """Return the ids of the keys that must sign, in the order in which they do."""
    try:
        return [key_id(key) for key in (agreement.steward_key, agreement.bank_key, agreement.exchange_key)]
    except SignatureError as error:
        raise EvidenceError(f"the agreement pins what is no key: {error}.") from None


def _require(holds: bool, otherwise: str) -> None:  # noqa: FBT001 - reads as a sentence
    if not holds:
        raise EvidenceError(f"{otherwise}.")


def _statement_json(kind: Kind, place: int, signed: signature_pb2.SignedPayload) -> dict[str, Any]:
    forms = _FORMS.get(kind, ())
    shown: dict[str, Any] = {
        "payload": base64.b64encode(signed.payload).decode(),
        "signatures": [
            {"key_id": signature.key_id.hex(), "value": signature.value.hex()}
            for signature in signed.signatures
        ],
    }
    if place < len(forms):
        form = forms[place]
        message = read_payload("statement", form.message, signed.payload, form.max_bytes)
        shown["type"] = message.DESCRIPTOR.name
        shown["says"] = _plain(message)
    return shown


def _plain(message: Message) -> dict[str, Any]:
    """Return a message in protobuf's JSON, except that every whole number is a number."""
    decoded: dict[str, Any] = json_format.MessageToDict(message, preserving_proto_field_name=True)
    for field, value in message.ListFields():
        if field.is_repeated or field.name not in decoded:
            continue
        if field.cpp_type in {field.CPPTYPE_INT64, field.CPPTYPE_UINT64}:
            decoded[field.name] = value
        elif isinstance(decoded[field.name], dict):
            decoded[field.name] = _plain(value)
    return decoded

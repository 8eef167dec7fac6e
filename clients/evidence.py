"""Evidence: what other parties signed, read only after its signature, digest and place have been checked.

Every function returns what it proved and raises EvidenceError otherwise; there is no other way to the
contents.

Source: docs/spec/signing.md, docs/spec/record.md, docs/spec/revision.md.
"""

import hashlib
from typing import TypeVar

from bourse.exchange.v1 import dataset_pb2
from bourse.type.v1 import description_pb2, record_pb2, signature_pb2
from google.protobuf.message import Message

from clients.errors import EvidenceError
from wire.bins import ColumnError
from wire.columns import column_from_pb
from wire.framing import tagged_hash
from wire.signing import Purpose, SignatureError, key_id, verify
from wire.strict import StrictParseError, parse_strict

_Message = TypeVar("_Message", bound=Message)

MAX_ENTRY_BYTES = 60_000
MAX_STATEMENT_BYTES = 4096
MAX_DESCRIPTION_BYTES = 2**20
REVISION_TAG = "bourse/dataset/v1/revision"


def read_payload(what: str, kind: type[_Message], payload: bytes, max_bytes: int) -> _Message:
    """Return the message in `payload`, canonical and of at most `max_bytes`; `what` names it in an
    EvidenceError.
    """
    try:
        return parse_strict(kind, payload, max_bytes)
    except StrictParseError as error:
        raise EvidenceError(f"{what}: {error}.") from None


def check_signature(
    what: str, signed: signature_pb2.SignedPayload, position: int, public_key: bytes, purpose: Purpose
) -> bytes:
    """Return the payload once signature `position` is proven to be `public_key`'s for `purpose`."""
    if position >= len(signed.signatures):
        raise EvidenceError(f"{what}: lacks signature {position + 1}.")
    signature = signed.signatures[position]
    try:
        if signature.key_id != key_id(public_key):
            raise EvidenceError(f"{what}: signature {position + 1} is by another key than the one expected.")
        return verify(public_key, purpose, signed.payload, signature.value)
    except SignatureError as error:
        raise EvidenceError(f"{what}: {error}.") from None


def check_sole_signature(
    what: str, signed: signature_pb2.SignedPayload, public_key: bytes, purpose: Purpose
) -> bytes:
    """Return the payload once it is proven to carry exactly one signature, `public_key`'s for `purpose`."""
    if len(signed.signatures) != 1:
        raise EvidenceError(f"{what}: must carry exactly one signature.")
    return check_signature(what, signed, 0, public_key, purpose)


def leaf_hash(entry: bytes) -> bytes:
    """Return SHA-256(00 ‖ entry), 32 bytes (RFC 6962, section 2.1)."""
    return hashlib.sha256(b"\0" + entry).digest()


def read_entry(entry: bytes) -> record_pb2.TradeRecordEntry:
    """Return the record that an entry's bytes spell. Proves nothing about who wrote them: see
    `check_receipt`.
    """
    record = read_payload("entry", record_pb2.TradeRecordEntry, entry, MAX_ENTRY_BYTES)
    if record.version != 1:
        raise EvidenceError("entry: of a version that this release does not know.")
    return record


def check_receipt(
    receipt: record_pb2.Receipt, entry: bytes, *, origin: str, exchange_key: bytes
) -> record_pb2.TradeRecordEntry:
    """Return the record in `entry` once the exchange is proven to have promised it a place in its log.

    (1) the receipt is signed by the pinned key, (2) of the pinned origin, (3) over this entry's leaf hash,
    (4) at the time that the entry says.
    """
    payload = check_sole_signature("receipt", receipt.statement, exchange_key, Purpose.RECEIPT)  # (1)
    statement = read_payload("receipt", record_pb2.ReceiptStatement, payload, MAX_STATEMENT_BYTES)
    if statement.version != 1:
        raise EvidenceError("receipt: of a version that this release does not know.")
    if statement.origin != origin:  # (2)
        raise EvidenceError("receipt: is of another log than the exchange's.")
    if statement.leaf_hash != leaf_hash(entry):  # (3)
        raise EvidenceError("receipt: is for another entry.")
    record = read_entry(entry)
    if statement.time != record.time:  # (4)
        raise EvidenceError("receipt: names another time than its entry.")
    return record


def revision_digest(description: bytes) -> bytes:
    """Return the digest of a revision, 32 bytes, from its description's bytes."""
    return tagged_hash(REVISION_TAG, description)


def check_description(
    revision: dataset_pb2.DatasetRevision, *, dataset: str, provider: str, number: int, node_key: bytes
) -> description_pb2.DatasetDescription:
    """Return what the provider's node says of a revision.

    (1) signed by `node_key`, (2) of this dataset, provider and number, (3) with the digest that the exchange
    shows, (4) every value in exactly one bin of its column.
    """
    what = f"description of {dataset}"
    payload = check_sole_signature(what, revision.description, node_key, Purpose.DATASET_DESCRIPTION)  # (1)
    description = read_description(payload)
    if (description.dataset, description.provider, description.revision) != (
        dataset,
        provider,
        number,
    ):  # (2)
        raise EvidenceError(f"{what}: is of another dataset, provider or revision.")
    if revision.revision_digest != revision_digest(payload):  # (3)
        raise EvidenceError(f"{what}: has another digest than the exchange shows.")
    return description


def read_description(payload: bytes) -> description_pb2.DatasetDescription:
    """Return the description in `payload`, its shape checked; proves nothing about who wrote it."""
    description = read_payload(
        "description", description_pb2.DatasetDescription, payload, MAX_DESCRIPTION_BYTES
    )
    if description.version != 1:
        raise EvidenceError("description: of a version that this release does not know.")
    for index, column in enumerate(description.columns):
        try:
            column_from_pb(column)
        except ColumnError as error:
            raise EvidenceError(f"description: columns[{index}].{error}.") from None
    if len({column.name for column in description.columns}) != len(description.columns):
        raise EvidenceError("description: two columns have one name.")
    return description

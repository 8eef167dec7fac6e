"""What parties of a small market sign and send: descriptions, listings, terms, statements."""

import hashlib
import os
import uuid
from datetime import UTC, datetime, timedelta

from bourse.exchange.v1 import dataset_pb2
from bourse.type.v1 import agreement_pb2, description_pb2, query_pb2, signature_pb2, statement_pb2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from wire.bins import category_column, interval_column
from wire.columns import column_to_pb
from wire.signing import Purpose, key_id, public_key_of, sign

SCENARIO = "consumer-credit-scoring"
COLUMNS = (
    column_to_pb(interval_column("duration", "Duration of the loan", "month", [12, 24, 48])),
    column_to_pb(category_column("housing", "Kind of housing", [("owner", ["own"]), ("rent", ["rent"])])),
)
# The missing bin, four intervals; the missing bin, two groups, the other bin.
SEALED_COLUMNS = 5 + 4


def timestamp(time: datetime) -> Timestamp:
    """A time cut to whole microseconds."""
    message = Timestamp()
    message.FromDatetime(time)
    return message


def request_id() -> str:
    return str(uuid.uuid4())


def canonical(message: Message) -> bytes:
    return message.SerializeToString(deterministic=True)


def signed(key: Ed25519PrivateKey, purpose: Purpose, payload: bytes) -> signature_pb2.SignedPayload:
    """A payload with one signature."""
    return signature_pb2.SignedPayload(
        payload=payload,
        signatures=[
            signature_pb2.Signature(key_id=key_id(public_key_of(key)), value=sign(key, purpose, payload))
        ],
    )


def description(
    dataset: str, provider: str, *, revision: int = 1, columns=COLUMNS
) -> description_pb2.DatasetDescription:
    """What a node says of a revision of `datasets/{dataset}`."""
    return description_pb2.DatasetDescription(
        version=1,
        dataset=f"datasets/{dataset}",
        revision=revision,
        provider=f"parties/{provider}",
        columns=columns,
        rows_at_least=900,
        bins_commitment=os.urandom(32),
        quality=[
            description_pb2.ColumnQuality(column=column.name, complete_permille=990, valid_permille=970)
            for column in columns
        ],
        prepare_time=timestamp(datetime.now(UTC)),
        change_note="first" if revision == 1 else "more rows",
    )


def listing(**changes) -> dataset_pb2.Dataset:
    """A listing that lacks nothing but its revision."""
    values = {
        "title": "Loans of a town",
        "description": "Loans granted between 1990 and 1994.",
        "subject_kind": dataset_pb2.SUBJECT_KIND_NATURAL_PERSON,
        "identifier_scheme": "national-id",
        "classification_grade": 3,
        "scenarios": [SCENARIO],
        "tags": ["loans"],
        "evidence": dataset_pb2.ComplianceEvidence(
            legality_undertaking=True,
            assessment_sha256=hashlib.sha256(b"assessment").digest(),
            assessor="Examiner & Sons",
        ),
    }
    return dataset_pb2.Dataset(**(values | changes))


def terms(**changes) -> agreement_pb2.Terms:
    """Terms that the exchange accepts for COLUMNS, in force from now for a day."""
    now = datetime.now(UTC)
    values = {
        "columns": [column.name for column in COLUMNS],
        "query_kinds": [query_pb2.QUERY_KIND_NAMED],
        "profile": "score-v1",
        "drop": 9,
        "max_rows": 600,
        "max_openings_per_entity": 2,
        "max_models": 2,
        "max_bits": 600 * 11,
        "valid_from": timestamp(now - timedelta(minutes=1)),
        "valid_until": timestamp(now + timedelta(days=1)),
    }
    return agreement_pb2.Terms(**(values | changes))


def sealing_statement(sealing: str, **changes) -> statement_pb2.SealingStatement:
    """What a bank says of a sealed model."""
    values = {
        "version": 1,
        "sealing": sealing,
        "context": bytes(32),
        "c0_digest": hashlib.sha256(sealing.encode()).digest(),
        "commitment": bytes(32),
    }
    return statement_pb2.SealingStatement(**(values | changes))


def model_statement(
    license_name: str, agreement: bytes, sealing: bytes, **changes
) -> statement_pb2.ModelStatement:
    """What a node says of an accepted model; `sealing` are the bank's statement's bytes."""
    values = {
        "version": 1,
        "license": license_name,
        "license_digest": hashlib.sha256(agreement).digest(),
        "sealing": statement_pb2.SealingStatement.FromString(sealing).sealing,
        "sealing_statement_sha256": hashlib.sha256(sealing).digest(),
        "columns": SEALED_COLUMNS,
    }
    return statement_pb2.ModelStatement(**(values | changes))


def release_request(block: str, sealing: str, **changes) -> statement_pb2.ReleaseRequest:
    """What a bank asks to open: ten rows of a block."""
    values = {
        "version": 1,
        "block": block,
        "nonce": os.urandom(32),
        "c0_digest": hashlib.sha256(sealing.encode()).digest(),
        "block_digest": hashlib.sha256(block.encode()).digest(),
        "rows_digest": os.urandom(32),
        "rows": 10,
        "query_kind": query_pb2.QUERY_KIND_NAMED,
        "drop": 9,
    }
    return statement_pb2.ReleaseRequest(**(values | changes))


def release_statement(
    license_name: str, agreement: bytes, sealing: str, request: bytes, **changes
) -> statement_pb2.ReleaseStatement:
    """What a node says of the first release of a block of 100 rows; `request` are the bank's bytes."""
    asked = statement_pb2.ReleaseRequest.FromString(request)
    values = {
        "version": 1,
        "license": license_name,
        "license_digest": hashlib.sha256(agreement).digest(),
        "sealing": sealing,
        "block": asked.block,
        "request_sha256": hashlib.sha256(request).digest(),
        "place": hashlib.sha256(b"place" + asked.block.encode()).digest(),
        "rows_gathered": 100,
        "rows_opened": asked.rows,
        "rows_charged": 100,
        "bits_charged": 1100,
        "consent_digest": os.urandom(32),
        "query_kind": asked.query_kind,
    }
    return statement_pb2.ReleaseStatement(**(values | changes))

"""What a node says before it acts, and under which id the exchange records it.

The request id is derived from the statement's bytes: the same statement is always the same request, so
however often an attempt is repeated, by whichever process, the exchange records it once.
"""

import hashlib
import uuid
from dataclasses import dataclass
from typing import Final

from compute.domain.caps import Charge
from compute.domain.license import QueryKind
from wire.framing import tagged_hash

STATEMENT_VERSION: Final = 1


@dataclass(frozen=True)
class ModelStatement:
    """What a node says when it accepts a sealed model; `columns` leaves out the encryptions of zero."""

    license: str
    license_digest: bytes
    sealing: str
    sealing_statement_sha256: bytes
    columns: int
    version: int = STATEMENT_VERSION


@dataclass(frozen=True)
class ReleaseStatement:
    """What a node says before it releases: counts and digests, no identifier, row number or score."""

    license: str
    license_digest: bytes
    sealing: str
    block: str
    request_sha256: bytes
    place: bytes
    rows_gathered: int
    rows_opened: int
    charge: Charge
    consent_digest: bytes
    kind: QueryKind
    version: int = STATEMENT_VERSION


def sha256(data: bytes) -> bytes:
    """Return SHA-256 of exact bytes: how licenses and statements name one another."""
    return hashlib.sha256(data).digest()


def request_id_of(statement_payload: bytes) -> str:
    """Return the request id under which the exchange records a statement: a UUID made of its digest."""
    return str(
        uuid.UUID(bytes=tagged_hash("bourse/node/v1/record-request", statement_payload)[:16], version=5)
    )

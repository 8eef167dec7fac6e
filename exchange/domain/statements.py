"""What banks and nodes sign and the exchange records, as it was read from their exact bytes.

Source: docs/spec/release.md, docs/spec/sealing.md.
"""

from dataclasses import dataclass

from exchange.domain.terms import QueryKind


@dataclass(frozen=True)
class SealingStatement:
    """A bank's word on a sealed model. Digests are 32 bytes."""

    sealing: str
    context: bytes
    c0_digest: bytes
    commitment: bytes


@dataclass(frozen=True)
class ModelStatement:
    """A node's word that it accepted a sealed model of `columns` sealed columns, blinds not counted."""

    license: str
    license_digest: bytes
    sealing: str
    sealing_statement_sha256: bytes
    columns: int


@dataclass(frozen=True)
class ReleaseRequest:
    """A bank's demand to open `rows` rows of a block. Digests and nonce are 32 bytes."""

    block: str
    nonce: bytes
    c0_digest: bytes
    block_digest: bytes
    rows_digest: bytes
    rows: int
    query_kind: QueryKind
    drop: int


@dataclass(frozen=True)
class ReleaseStatement:
    """A node's word on a release, before it releases. Digests are 32 bytes; rows and bits are counts."""

    license: str
    license_digest: bytes
    sealing: str
    block: str
    request_sha256: bytes
    place: bytes
    rows_gathered: int
    rows_opened: int
    rows_charged: int
    bits_charged: int
    consent_digest: bytes
    query_kind: QueryKind

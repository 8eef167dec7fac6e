"""What may leave a node, and when: the checks a release request passes before anything is charged.

The numbers are those of docs/spec/release.md:

(1) the request is signed by the license's bank, over its exact bytes
(2) it names this block: digest of the sealed columns, digest of the block, kind of query, drop
(3) the rows are what the request's salted digest covers, as many as it says
(4) they are strictly rising and lie inside the rows gathered
(5) the license is in force and its caps suffice for all rows gathered
(6) the exchange has recorded exactly our statement: `compute.release.receipt`

Only after (6) does anything leave. Every check is one function that raises.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np

from compute.domain import caps
from compute.domain import license as licenses
from compute.domain.caps import Charge, Usage
from compute.domain.errors import UNRECORDED, FieldError, ReleaseRefusedError, UnrecordedError
from compute.domain.license import Agreement, QueryKind
from compute.domain.signed import Signed, require_signatures
from compute.release.receipt import Recorded
from wire.framing import tagged_hash
from wire.signing import Purpose

REQUEST_VERSION: Final = 1
NONCE_BYTES: Final = 32
SALT_BYTES: Final = 32
# Every release adds a trade record for good, and a block is charged once: without an end, a bank could fill
# the ledger for nothing. Enough to open row by row, and some more.
MORE_RELEASES_THAN_ROWS: Final = 64


@dataclass(frozen=True)
class ReleaseRequest:
    """What a bank signs to have rows of a block opened; digests and nonce are bytes as they came."""

    version: int
    block: str
    nonce: bytes
    c0_digest: bytes
    block_digest: bytes
    rows_digest: bytes
    rows: int
    kind: QueryKind
    drop: int


@dataclass(frozen=True)
class Target:
    """The block that a request is held against: what it was made from and how many rows it gathered."""

    name: str
    c0_digest: bytes
    block_digest: bytes
    kind: QueryKind
    drop: int
    rows_gathered: int


def require_bank_signature(signed: Signed, bank_key: bytes) -> bytes:
    """(1) Return the request's bytes once the license's bank is proven to have signed them."""
    return require_signatures(signed, Purpose.RELEASE_REQUEST, {"bank": bank_key})


def require_request_form(request: ReleaseRequest) -> None:
    """(2) Raise FieldError for another version of the format or a nonce of another length."""
    if request.version != REQUEST_VERSION:
        raise FieldError("request.version", f"must be {REQUEST_VERSION}")
    if len(request.nonce) != NONCE_BYTES:
        raise FieldError("request.nonce", f"must be {NONCE_BYTES} random bytes")


def require_same_sealing(request: ReleaseRequest, target: Target) -> None:
    """(2) Raise ReleaseRefusedError unless the request names the sealed columns of the block."""
    if request.c0_digest != target.c0_digest:
        raise ReleaseRefusedError("request.c0_digest: the block was evaluated with another sealed model")


def require_same_block(request: ReleaseRequest, target: Target) -> None:
    """(2) Raise ReleaseRefusedError unless the request names this block, byte for byte."""
    if request.block != target.name or request.block_digest != target.block_digest:
        raise ReleaseRefusedError("request.block_digest: not the digest of this block; get the block again")


def require_same_kind(request: ReleaseRequest, target: Target) -> None:
    """(2) Raise ReleaseRefusedError unless the model was sealed for the kind of query asked."""
    if request.kind is not target.kind:
        raise ReleaseRefusedError("request.query_kind: the model was sealed for another kind of query")


def require_same_drop(request: ReleaseRequest, target: Target) -> None:
    """(2) Raise ReleaseRefusedError unless as many bits are dropped as the license says."""
    if request.drop != target.drop:
        raise ReleaseRefusedError(f"request.drop: must be {target.drop}, the license's drop")


def require_rows_digest(request: ReleaseRequest, rows: Sequence[int], salt: bytes) -> None:
    """(3) Raise FieldError or ReleaseRefusedError unless the signed digest covers exactly these rows."""
    if len(salt) != SALT_BYTES:
        raise FieldError("rows_salt", f"must be {SALT_BYTES} bytes")
    if tagged_hash("bourse/release/v1/rows", salt, packed_rows(rows)) != request.rows_digest:
        raise ReleaseRefusedError("rows: not the rows that the signed request's digest covers")


def require_row_count(request: ReleaseRequest, rows: Sequence[int]) -> None:
    """(3) Raise ReleaseRefusedError unless as many rows are named as the request says, and at least one."""
    if not rows or len(rows) != request.rows:
        raise ReleaseRefusedError("rows: must be as many as the signed request says, and at least one")


def require_rows_rising(rows: Sequence[int]) -> None:
    """(4) Raise ReleaseRefusedError unless every row is named once, in rising order."""
    if (np.diff(np.asarray(rows, dtype=np.int64)) <= 0).any():
        raise ReleaseRefusedError("rows: must be strictly rising, each named once")


def require_rows_inside_block(rows: Sequence[int], target: Target) -> None:
    """(4) Raise ReleaseRefusedError unless every row is one of those gathered in the block."""
    if min(rows) < 0 or max(rows) >= target.rows_gathered:
        raise ReleaseRefusedError(f"rows: must lie below {target.rows_gathered}, the rows gathered")


def require_fits_block(request: ReleaseRequest, target: Target, rows: Sequence[int], salt: bytes) -> None:
    """(2) to (4): raise unless the request fits the block, whatever the time and the charges so far."""
    require_request_form(request)
    require_same_sealing(request, target)
    require_same_block(request, target)
    require_same_kind(request, target)
    require_same_drop(request, target)
    require_row_count(request, rows)
    require_rows_digest(request, rows, salt)
    require_rows_rising(rows)
    require_rows_inside_block(rows, target)


def require_license_pays(
    agreement: Agreement, now: datetime, usage: Usage, charge: Charge, openings: Sequence[int]
) -> None:
    """(5) Raise ClauseRefusedError unless the license is in force and its caps suffice for the charge.

    `openings` counts, for each person gathered, how often they were charged; empty when nothing is charged.
    """
    licenses.require_in_force(agreement.terms, now)
    caps.require_caps_suffice(agreement, usage, charge, openings)


def require_releases_left(releases: int, target: Target) -> None:
    """(5) Raise ReleaseRefusedError when a block was released once for each of its rows and 64 times more."""
    if releases >= target.rows_gathered + MORE_RELEASES_THAN_ROWS:
        raise ReleaseRefusedError(
            f"request.block: was released {releases} times, the most for its rows; repeat an earlier "
            "request, which gets the same bytes again"
        )


def require_settled(settled: bool) -> None:  # noqa: FBT001 - the check's one fact
    """(5) Raise UnrecordedError while the release that is charged for the block is in doubt."""
    if not settled:
        raise UnrecordedError(UNRECORDED)


def require_receipt(recorded: Recorded | None) -> Recorded:
    """(6) Return the exchange's record of the release, or raise UnrecordedError: else nothing leaves."""
    if recorded is None:
        raise UnrecordedError(UNRECORDED)
    return recorded


def packed_rows(rows: Sequence[int]) -> bytes:
    """Return row numbers as u32le, one after another."""
    return np.asarray(rows, dtype="<u4").tobytes()

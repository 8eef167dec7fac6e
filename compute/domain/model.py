"""Sealed models at a node: what a sealing is bound to, and when its columns may be accepted."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from compute.domain.errors import FieldError, SealedModelError, SealingStateError
from compute.domain.license import Agreement, QueryKind
from compute.domain.signed import Signed, require_signatures
from sealed.errors import ColumnFormatError
from sealed.packing import parse_column
from sealed.profiles import Profile
from sealed.sealing import column_label, context
from wire.signing import Purpose

NONCE_BYTES: Final = 32
SEALING_STATEMENT_VERSION: Final = 1

MAX_BLOCKS_PER_SEALING: Final = 2**20
"""What the argument of docs/security.md allows: n blocks that share a's cost n·2^-128."""


class SealingState(StrEnum):
    """OPEN waits for columns and statement; RECORDING waits for the exchange; ACCEPTED may be evaluated."""

    OPEN = "open"
    RECORDING = "recording"
    ACCEPTED = "accepted"


@dataclass(frozen=True)
class Sealing:
    """One sealed model at this node under one license. `columns` counts the encryptions of zero too."""

    name: str
    license: str
    kind: QueryKind
    owner_nonce: bytes
    sealing_nonce: bytes
    context: bytes
    columns: int
    state: SealingState
    create_time: datetime


@dataclass(frozen=True)
class SealingStatement:
    """What a bank signs of a sealed model; digests are 32 bytes."""

    version: int
    sealing: str
    context: bytes
    c0_digest: bytes
    commitment: bytes


def bins_of(agreement: Agreement) -> list[tuple[int, int]]:
    """Return (attribute's place in the license, bin) of every sealed column with a weight, in order."""
    return [(place, bin_) for place, column in enumerate(agreement.columns) for bin_ in range(column.bins)]


def columns_of(agreement: Agreement) -> int:
    """Return how many sealed columns a model has under this license, the encryptions of zero included."""
    return len(bins_of(agreement)) + agreement.profile.blinds


def context_of(
    agreement: Agreement, license_digest: bytes, kind: QueryKind, owner_nonce: bytes, sealing_nonce: bytes
) -> bytes:
    """Return the 32 bytes that a sealing is bound to: one owner, so scale = drop (docs/spec/sealing.md)."""
    return context(
        agreement.profile,
        kind=kind.value,
        license_digest=license_digest,
        owner=agreement.provider,
        owner_nonce=owner_nonce,
        sealing=sealing_nonce,
        scale=agreement.terms.drop,
        drop=agreement.terms.drop,
        columns=[column_label(agreement.columns[place].name, bin_) for place, bin_ in bins_of(agreement)],
    )


def require_column_index(sealing: Sealing, index: int) -> None:
    """Raise FieldError unless the sealing has a column of this index."""
    if not 0 <= index < sealing.columns:
        raise FieldError("index", f"must be below {sealing.columns}, the sealing's number of columns")


def require_well_formed_column(profile: Profile, data: bytes) -> None:
    """Raise SealedModelError unless `data` is one sealed column: exact length, every residue in range."""
    try:
        parse_column(profile, data)
    except ColumnFormatError as error:
        raise SealedModelError(f"data: {error}") from error


def require_open(sealing: Sealing) -> None:
    """Raise SealingStateError once a bank's statement fixed the columns."""
    if sealing.state is not SealingState.OPEN:
        raise SealingStateError("the sealing's columns are fixed; open another sealing for another model")


def require_accepted(sealing: Sealing) -> None:
    """Raise SealingStateError unless the sealing was accepted and recorded."""
    if sealing.state is not SealingState.ACCEPTED:
        raise SealingStateError("the sealing is not accepted yet; call AcceptSealing first")


def require_bank_signed_model(signed: Signed, bank_key: bytes) -> bytes:
    """Return the sealing statement's bytes once the license's bank is proven to have signed them."""
    return require_signatures(signed, Purpose.SEALING, {"bank": bank_key})


def require_statement_of(statement: SealingStatement, sealing: Sealing) -> None:
    """Raise SealedModelError unless the statement is about this sealing and its context."""
    if statement.version != SEALING_STATEMENT_VERSION:
        raise SealedModelError(f"statement.version: must be {SEALING_STATEMENT_VERSION}")
    if statement.sealing != sealing.name or statement.context != sealing.context:
        raise SealedModelError("statement: made for another sealing, or for another license's context")
    if len(statement.commitment) != NONCE_BYTES:
        raise SealedModelError(f"statement.commitment: must be {NONCE_BYTES} bytes")


def require_all_columns(sealing: Sealing, present: Sequence[int]) -> None:
    """Raise SealedModelError unless every column of the sealing is there."""
    missing = sealing.columns - len(set(present))
    if missing:
        raise SealedModelError(f"{missing} of {sealing.columns} sealed columns are missing; put them first")


def require_c0_digest(statement: SealingStatement, digest: bytes) -> None:
    """Raise SealedModelError unless the columns received are those that the bank signed."""
    if statement.c0_digest != digest:
        raise SealedModelError("statement.c0_digest: not the digest of the columns received; put them again")


def require_same_statement(recorded: bytes, statement: bytes) -> None:
    """Raise SealingStateError when another statement was taken for the sealing before."""
    if recorded != statement:
        raise SealingStateError(
            "another statement was taken for this sealing; open another sealing for another model"
        )


def require_blocks_left(blocks_so_far: int, more: int) -> None:
    """Raise SealingStateError when a sealing would be evaluated in more blocks than its argument covers."""
    if blocks_so_far + more > MAX_BLOCKS_PER_SEALING:
        raise SealingStateError(
            f"a sealing serves at most {MAX_BLOCKS_PER_SEALING} blocks; open another sealing"
        )

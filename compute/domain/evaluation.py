"""Evaluations: who may be asked for at once, how they fill blocks, and what a block is made of.

Identifiers become keyed digests at once and are kept nowhere. A block's place binds everything that decides
its rows, so a block whose inputs changed is another block, under another mask.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

import numpy as np

from compute.domain.errors import BlocksWaitingError, EvaluationStateError, FieldError
from compute.domain.names import check_text
from sealed.block import place
from wire.bins import has_control_characters, trimmed
from wire.framing import tagged_hash

MAX_ENTITIES: Final = 65_536
MAX_ENTITY_ID_BYTES: Final = 64
MAX_BLOCKS_WAITING: Final = 1024
"""256 MiB of sealed blocks, 8 million rows, of each license."""
MAX_CONSENT_CHARACTERS: Final = 200
ENTITY_KEY_BYTES: Final = 16
SALT_BYTES: Final = 32
SEED_BYTES: Final = 32
ABSENT: Final = -1
"""The row of a person whom the revision does not know, or who withdrew."""


class EvaluationState(StrEnum):
    """RUNNING until all blocks are there or it cannot be done."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of a sealed model on named rows."""

    name: str
    sealing: str
    license: str
    rows: int
    blocks: int
    blocks_done: int
    state: EvaluationState
    error: str
    consent_digest: bytes
    create_time: datetime


@dataclass(frozen=True)
class Preparation:
    """What one block is made of: rows (-1 is absent), withdrawals applied by then, the seed of its mask."""

    rows: tuple[int, ...] = field(repr=False)
    withdrawals: int
    place: bytes
    seed: bytes = field(repr=False)


@dataclass(frozen=True)
class SealedBlock:
    """One block that may be released from: `rows` were gathered; `charged_by` names its first release."""

    evaluation: str
    number: int
    rows: int
    place: bytes
    sha256: bytes
    charged_by: str | None


def check_entity_id(name: str, entity_id: str) -> bytes:
    """Return the identifier in UTF-8 if a row could have it, else raise FieldError.

    Published identifiers are trimmed, 1 to 64 bytes, without control characters. Another spelling stands for
    nobody, and a withdrawal under it would be taken and protect nobody.
    """
    encoded = entity_id.encode("utf-8", "surrogatepass")
    if not 1 <= len(encoded) <= MAX_ENTITY_ID_BYTES:
        raise FieldError(name, f"must have 1 to {MAX_ENTITY_ID_BYTES} bytes of UTF-8")
    if trimmed(entity_id) != entity_id:
        raise FieldError(name, "must not begin or end with white space; trim it, as published ones are")
    if has_control_characters(entity_id):
        raise FieldError(name, "must hold no control characters; remove them")
    return encoded


def check_entity_ids(name: str, entity_ids: Sequence[str]) -> tuple[bytes, ...]:
    """Return 1 to 65,536 identifiers, each once, in UTF-8; else raise FieldError."""
    if not 1 <= len(entity_ids) <= MAX_ENTITIES:
        raise FieldError(name, f"must name 1 to {MAX_ENTITIES} persons; divide larger lists")
    encoded = tuple(check_entity_id(f"{name}[{n}]", entity_id) for n, entity_id in enumerate(entity_ids))
    if len(set(encoded)) != len(encoded):
        seen: set[bytes] = set()
        again = next(n for n, one in enumerate(encoded) if one in seen or seen.add(one))  # type: ignore[func-returns-value]  # add's None is the point: false after remembering
        raise FieldError(f"{name}[{again}]", "names a person who is named before; name each person once")
    return encoded


def check_consent_reference(name: str, reference: str) -> str:
    """Return a consent reference of 1 to 200 printable characters, else raise FieldError."""
    return check_text(name, reference, least=1, most=MAX_CONSENT_CHARACTERS)


def entity_key(secret: bytes, dataset: str, entity_id: bytes) -> bytes:
    """Return the 16 bytes that stand for a person of a dataset: HMAC-SHA-256 under the node's secret, cut."""
    message = tagged_hash("bourse/node/v1/entity", dataset.encode("ascii"), entity_id)
    return hmac.digest(secret, message, "sha256")[:ENTITY_KEY_BYTES]


def consent_digest(salt: bytes, reference: str) -> bytes:
    """Return what a trade record shows of a consent reference; the 32-byte salt stays at the node."""
    return tagged_hash("bourse/node/v1/consent", salt, reference.encode())


def gathered_digest(salt: bytes, rows: Sequence[int]) -> bytes:
    """Return the salted digest of a block's row list, i32le; the 32-byte salt stays at the node."""
    return tagged_hash("bourse/node/v1/gathered", salt, np.asarray(rows, dtype="<i4").tobytes())


def prepare(
    job: str,
    number: int,
    revision_digest: bytes,
    withdrawals: int,
    rows: Sequence[int],
    salt: bytes,
    seed: bytes,
) -> Preparation:
    """Return what block `number` of evaluation `job` is made of; `salt` and `seed` are 32 fresh bytes."""
    where = place(job, number, revision_digest, withdrawals, gathered_digest(salt, rows))
    return Preparation(tuple(rows), withdrawals, where, seed)


def still_stands(prepared: Preparation, withdrawals: int) -> bool:
    """Return whether a block that was prepared before an interruption may be evaluated as it was prepared.

    A withdrawal since then means other rows: the block is prepared anew, under a new seed and place.
    """
    return prepared.withdrawals == withdrawals


def require_evaluated(data: bytes | None, state: EvaluationState) -> bytes:
    """Return a block's bytes, or raise EvaluationStateError while they are not there."""
    if data is None:
        raise EvaluationStateError(
            "the evaluation failed; create another one"
            if state is EvaluationState.FAILED
            else "the block is not evaluated yet; poll GetEvaluation and ask again"
        )
    return data


def require_room(waiting: int, more: int) -> None:
    """Raise BlocksWaitingError when a license would have too many blocks that were never released.

    Evaluation is free: without this, a license for one row could fill the node's disk.
    """
    if waiting + more > MAX_BLOCKS_WAITING:
        raise BlocksWaitingError(
            f"at most {MAX_BLOCKS_WAITING} blocks of a license may wait for their release, of which "
            f"{waiting} do; asked for {more} more: release blocks that were evaluated before"
        )

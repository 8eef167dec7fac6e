"""Prepared revisions: the bins of every row, and the digests that pin them.

Source: docs/spec/revision.md.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from compute.records.quality import ColumnQuality
from wire.bins import Column
from wire.framing import tagged_hash

SALT_BYTES = 32
ABSENT_ROW = -1
MISSING_INDEX = 0
_BINS_TAG = "bourse/dataset/v1/bins"
_REVISION_TAG = "bourse/dataset/v1/revision"
_IDS_HASHED_AT_ONCE = 65_536


@dataclass(frozen=True)
class PreparedRevision:
    """A file of records, binned. All but `columns`, `quality` and `remarks` stays at the node.

    `bins` are uint8 arrays, one per column, with a bin's index for every row; `ids` are the rows' identifiers
    (1 to 64 bytes of UTF-8, unique); both in the order of the file. `remarks` are for the steward's eyes.
    """

    columns: tuple[Column, ...]
    bins: tuple[NDArray[np.uint8], ...] = field(repr=False)
    ids: Sequence[bytes] = field(repr=False)
    quality: tuple[ColumnQuality, ...]
    remarks: tuple[str, ...]

    @property
    def rows(self) -> int:
        """The number of rows: stays between node and steward."""
        return len(self.ids)


def bins_commitment(salt: bytes, prepared: PreparedRevision) -> bytes:
    """Return the digest, 32 bytes, that commits to every identifier and bin without telling any.

    `salt` is 32 random bytes that stay at the node: small tables are guessable. Raises ValueError on another
    length.
    """
    if len(salt) != SALT_BYTES:
        raise ValueError(f"salt: must be {SALT_BYTES} bytes")
    fields = [salt, prepared.rows.to_bytes(8, "big"), _ids_digest(prepared.ids)]
    for column, bins in zip(prepared.columns, prepared.bins, strict=True):
        fields += [column.name.encode(), bins.tobytes()]
    return tagged_hash(_BINS_TAG, *fields)


def revision_digest(description: bytes) -> bytes:
    """Return the digest, 32 bytes, that identifies a revision.

    `description` is a serialized bourse.type.v1.DatasetDescription.
    """
    return tagged_hash(_REVISION_TAG, description)


def rows_at_least(rows: int) -> int:
    """Return `rows` (0 or more) rounded down to one significant digit, so that a description tells no exact
    number.
    """
    unit = int(10 ** (len(str(rows)) - 1))
    return rows // unit * unit


def gather(bins: Sequence[NDArray[np.uint8]], rows: Sequence[int] | NDArray[np.integer]) -> NDArray[np.uint8]:
    """Return the bins of the rows asked for, uint8 of shape (len(rows), len(bins)), in this order.

    `bins` holds one uint8 array per attribute; -1 in `rows` stands for a person absent or withdrawn, who gets
    the missing bin of every attribute. Raises ValueError for a row number that the arrays do not have.
    """
    places = np.asarray(rows, dtype=np.int64)
    length = len(bins[0]) if bins else 0
    if places.size and not (places.min() >= ABSENT_ROW and places.max() < length):
        raise ValueError(f"rows: must be -1 (absent) or below {length}, the revision's rows")
    present = places != ABSENT_ROW
    gathered = np.full((len(places), len(bins)), MISSING_INDEX, dtype=np.uint8)
    for attribute, column in enumerate(bins):
        gathered[present, attribute] = column[places[present]]
    return gathered


def _ids_digest(ids: Sequence[bytes]) -> bytes:
    digest = hashlib.sha256()
    for start in range(0, len(ids), _IDS_HASHED_AT_ONCE):
        part = ids[start : start + _IDS_HASHED_AT_ONCE]
        digest.update(b"".join(len(one).to_bytes(1, "big") + one for one in part))
    return digest.digest()

"""Identifiers of rows: each row has one, no two have the same.

An error names rows, never an identifier.

Source: docs/spec/column-specification.md, "Identifiers".
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from compute.records.errors import RecordsUnreadableError

MAX_ID_BYTES = 64
_ROWS_NAMED = 5
_CONTROL_CHARACTERS = r"[\x00-\x1f\x{7f}-\x{9f}]"


def checked_ids(ids: pa.StringArray, column: str, first_row: int) -> list[bytes]:
    """Return one batch's trimmed identifiers as UTF-8. `first_row` counts from 0.

    Raises RecordsUnreadableError, naming rows, for empty and too long ones and for control characters.
    """
    for wrong, rule in (
        (pc.equal(ids, ""), "no identifier; give each row one, or remove the row"),
        (
            pc.greater(pc.binary_length(ids), MAX_ID_BYTES),
            f"an identifier of more than {MAX_ID_BYTES} bytes; use shorter ones",
        ),
        (
            pc.match_substring_regex(ids, _CONTROL_CHARACTERS),
            "an identifier with control characters; remove them",
        ),
    ):
        rows = np.flatnonzero(wrong.to_numpy(zero_copy_only=False)) + first_row + 1
        if rows.size:
            raise RecordsUnreadableError(f"column `{column}`: {_rows(rows.tolist())}: {rule}")
    encoded: list[bytes] = ids.cast(pa.binary()).to_pylist()
    return encoded


def check_unique(ids: Sequence[bytes], column: str) -> None:
    """Raise RecordsUnreadableError, naming rows, when two rows have the same identifier."""
    hashes = np.fromiter(map(hash, ids), dtype=np.int64, count=len(ids))
    order = np.argsort(hashes, kind="stable")
    ranked = hashes[order]
    same_as_next = ranked[1:] == ranked[:-1]
    candidates = order[
        np.flatnonzero(np.concatenate(([False], same_as_next)) | np.concatenate((same_as_next, [False])))
    ]
    first_row: dict[bytes, int] = {}
    repeated: list[tuple[int, int]] = []
    for row in sorted(candidates.tolist()):
        earlier = first_row.setdefault(ids[row], row)
        if earlier != row:
            repeated.append((earlier + 1, row + 1))
    if repeated:
        shown = ", ".join(f"{first} and {second}" for first, second in repeated[:_ROWS_NAMED])
        more = f" and {len(repeated) - _ROWS_NAMED} more pairs" if len(repeated) > _ROWS_NAMED else ""
        raise RecordsUnreadableError(
            f"column `{column}`: rows {shown}{more}: the same identifier; keep one row for each"
        )


def _rows(rows: Sequence[int]) -> str:
    shown = ", ".join(str(row) for row in rows[:_ROWS_NAMED])
    more = f" and {len(rows) - _ROWS_NAMED} more near them" if len(rows) > _ROWS_NAMED else ""
    return f"{'row' if len(rows) == 1 else 'rows'} {shown}{more}"

"""The text that a typed Parquet value stands for: what a CSV file would hold in its place.

Source: docs/spec/column-specification.md, "Files of records".
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from compute.records.errors import RecordsUnreadableError

# Whole numbers below this are spelled without point or exponent; all of them are exact in a double.
_WHOLE_BELOW = 1e15


def check_type(kind: pa.DataType, name: str, *, number: bool, identifier: bool) -> None:
    """Raise RecordsUnreadableError unless a column of the Arrow type `kind` can be read for this use."""
    types = pa.types
    if types.is_dictionary(kind):
        kind = kind.value_type
    text = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    numeric = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
    other = types.is_boolean(kind) or (types.is_temporal(kind) and not types.is_duration(kind))
    if identifier:
        if not text and not types.is_integer(kind):
            raise RecordsUnreadableError(
                f"column `{name}`: identifiers must be text or integers in Parquet; convert the column"
            )
    elif types.is_interval(kind) or not (text or numeric or other or types.is_null(kind)):
        raise RecordsUnreadableError(
            f"column `{name}`: has a nested, binary or other type that is not read; convert it to text or "
            "numbers"
        )
    elif number and other:
        raise RecordsUnreadableError(
            f"column `{name}`: holds dates, times or booleans, which `quantiles` and `edges` cannot part; "
            "use `categories` or `groups`, or store numbers"
        )


def texts_of(values: pa.Array, name: str, first_row: int) -> pa.StringArray:
    """Return `values`, of a type that passed `check_type`, as texts; null stays null.

    Raises RecordsUnreadableError when a Parquet file's text is not UTF-8; `first_row` (from 0) begins the
    batch.
    """
    types, kind = pa.types, values.type
    if types.is_floating(kind):
        return _texts_of_floats(values)
    if types.is_timestamp(kind) and kind.tz is not None:
        values = values.cast(pa.timestamp(kind.unit, "UTC"))
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        try:
            values.validate(full=True)
        except pa.ArrowInvalid:
            raise RecordsUnreadableError(
                f"column `{name}`: in the rows from {first_row + 1} on, a text is not UTF-8; write the file "
                "again"
            ) from None
    texts = values.cast(pa.string())
    if types.is_temporal(kind):
        texts = pc.replace_substring_regex(texts, r"\.0+(Z?)$", r"\1")
    return texts


def _texts_of_floats(values: pa.FloatingPointArray) -> pa.StringArray:
    if pa.types.is_float16(values.type):
        values = values.cast(pa.float32())
    numbers = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
    whole = (np.abs(numbers) < _WHOLE_BELOW) & (np.trunc(numbers) == numbers)
    as_integers = pa.array(np.where(whole, numbers, 0).astype(np.int64)).cast(pa.string())
    texts = pc.if_else(pa.array(whole), as_integers, values.cast(pa.string()))
    return pc.if_else(pa.array(np.isnan(numbers)), pa.scalar(None, pa.string()), texts)

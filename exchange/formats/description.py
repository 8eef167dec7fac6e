"""A node's description of a dataset revision, checked before it is shown to the market.

The rules are those of docs/spec/revision.md. The exchange keeps the bytes as they came, and of their
content only what licenses need: the columns and their numbers of bins.
"""

from collections.abc import Iterator
from typing import Final

from bourse.type.v1 import column_pb2, description_pb2

from exchange.domain.datasets import Description
from exchange.domain.errors import refuse_invalid
from exchange.domain.terms import MAX_COLUMNS
from exchange.formats.reading import check_shape, read_canonical
from exchange.formats.times import time_from_pb
from wire.bins import ColumnError
from wire.columns import column_from_pb
from wire.framing import tagged_hash

MAX_DESCRIPTION_BYTES: Final = 1 << 20
MAX_NOTE: Final = 500

_TAG: Final = "bourse/dataset/v1/revision"


def revision_digest(payload: bytes) -> bytes:
    """Return the digest that names a revision, 32 bytes."""
    return tagged_hash(_TAG, payload)


def description(field: str, payload: bytes) -> Description:
    """Return what the exchange needs of a description, or raise FieldInvalidError naming what is wrong."""
    message = read_canonical(field, description_pb2.DatasetDescription, payload, MAX_DESCRIPTION_BYTES)
    check_shape(field, message, bins_commitment=message.bins_commitment)
    refuse_invalid((f"{field}.{path}", what) for path, what in _violations(message))
    time_from_pb(f"{field}.prepare_time", message.prepare_time)
    return Description(
        dataset=message.dataset,
        revision=message.revision,
        provider=message.provider,
        columns=tuple((column.name, len(column.bins)) for column in message.columns),
    )


def _violations(message: description_pb2.DatasetDescription) -> Iterator[tuple[str, str]]:
    if not 1 <= len(message.columns) <= MAX_COLUMNS:
        yield "columns", f"must be 1 to {MAX_COLUMNS}"
    if len({column.name for column in message.columns}) != len(message.columns):
        yield "columns", "their names must be unique"
    for place, column in enumerate(message.columns):
        yield from _column_violations(f"columns[{place}]", column)
    if message.rows_at_least >= 10 and str(message.rows_at_least).rstrip("0")[1:]:
        yield "rows_at_least", "must be rounded down to one significant digit"
    if [one.column for one in message.quality] != [column.name for column in message.columns]:
        yield "quality", "must name the columns, in their order"
    for place, one in enumerate(message.quality):
        if not one.valid_permille <= one.complete_permille <= 1000:
            yield f"quality[{place}]", "must be valid_permille <= complete_permille <= 1000"
    if len(message.change_note) > MAX_NOTE:
        yield "change_note", f"must have at most {MAX_NOTE} characters"
    if not message.HasField("prepare_time"):
        yield "prepare_time", "is missing"


def _column_violations(path: str, column: column_pb2.Column) -> Iterator[tuple[str, str]]:
    try:
        column_from_pb(column)
    except ColumnError as error:
        yield f"{path}.{error.field}", error.rule

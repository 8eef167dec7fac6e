"""Published columns between their message, bourse.type.v1.Column, and their value, `wire.bins.Column`.

The one border for it: what passes `column_from_pb` obeys every rule of docs/spec/revision.md, whoever
signed it.
"""

from typing import assert_never

from bourse.type.v1 import column_pb2

from wire.bins import Bin, CategoryBin, Column, ColumnError, IntervalBin, MissingBin, OtherBin


def column_to_pb(column: Column) -> column_pb2.Column:
    """Return the message of `column`."""
    return column_pb2.Column(
        name=column.name,
        meaning=column.meaning,
        unit=column.unit,
        bins=[_bin_to_pb(one) for one in column.bins],
    )


def column_from_pb(message: column_pb2.Column) -> Column:
    """Return the column that `message` publishes.

    Raises ColumnError, naming the field, when a rule of published columns is broken.
    """
    bins = tuple(_bin_from_pb(index, one) for index, one in enumerate(message.bins))
    return Column(message.name, message.meaning, message.unit, bins)


def _bin_to_pb(one: Bin) -> column_pb2.Bin:
    match one:
        case MissingBin():
            return column_pb2.Bin(label=one.label, missing=column_pb2.MissingBin())
        case CategoryBin():
            return column_pb2.Bin(label=one.label, categories=column_pb2.CategoryBin(values=one.values))
        case OtherBin():
            return column_pb2.Bin(label=one.label, other=column_pb2.OtherBin())
        case IntervalBin():
            interval = column_pb2.IntervalBin(lower=one.lower, upper=one.upper)
            return column_pb2.Bin(label=one.label, interval=interval)
        case _:
            assert_never(one)


def _bin_from_pb(index: int, message: column_pb2.Bin) -> Bin:
    match message.WhichOneof("content"):
        case "missing":
            return MissingBin(message.label)
        case "categories":
            return CategoryBin(message.label, tuple(message.categories.values))
        case "other":
            return OtherBin(message.label)
        case "interval":
            interval = message.interval
            return IntervalBin(
                message.label,
                interval.lower if interval.HasField("lower") else None,
                interval.upper if interval.HasField("upper") else None,
            )
        case _:
            raise ColumnError(f"bins[{index}].content", "must say what falls into the bin")

"""Records' messages: column specifications come in, dataset descriptions go out.

The one place of this package that knows the stubs.
"""

from datetime import datetime

from bourse.compute.v1 import publication_pb2
from bourse.type.v1 import description_pb2

from compute.records.errors import RecordsUnreadableError, SpecificationError
from compute.records.revision import PreparedRevision, rows_at_least
from compute.records.specification import (
    CategoryGroup,
    CategoryRule,
    ColumnRule,
    ColumnSpecification,
    EdgeRule,
    QuantileRule,
    Rule,
)
from wire.columns import column_to_pb

DESCRIPTION_VERSION = 1
MAX_DESCRIPTION_BYTES = 1 << 20


def specification_from_pb(message: publication_pb2.ColumnSpecification) -> ColumnSpecification:
    """Return the specification that `message` holds. Raises SpecificationError, naming every field, if
    unusable.
    """
    return ColumnSpecification(
        id_column=message.id_column,
        columns=tuple(
            ColumnRule(column.name, _rule_from_pb(index, column), column.meaning, column.unit)
            for index, column in enumerate(message.columns)
        ),
        min_valid_permille=message.min_valid_permille,
        missing_values=tuple(message.missing_values),
    )


def describe(
    prepared: PreparedRevision,
    *,
    dataset: str,
    revision: int,
    provider: str,
    bins_commitment: bytes,
    prepare_time: datetime,
    change_note: str,
) -> bytes:
    """Return the serialized bourse.type.v1.DatasetDescription of a revision: the payload that the node signs.

    The same arguments give the same bytes. `prepare_time` is aware. Raises RecordsUnreadableError above 1
    MiB.
    """
    description = description_pb2.DatasetDescription(
        version=DESCRIPTION_VERSION,
        dataset=dataset,
        revision=revision,
        provider=provider,
        columns=[column_to_pb(column) for column in prepared.columns],
        rows_at_least=rows_at_least(prepared.rows),
        bins_commitment=bins_commitment,
        quality=[
            description_pb2.ColumnQuality(
                column=one.column, complete_permille=one.complete_permille, valid_permille=one.valid_permille
            )
            for one in prepared.quality
        ],
        change_note=change_note,
    )
    description.prepare_time.FromDatetime(prepare_time)
    payload = description.SerializeToString(deterministic=True)
    if len(payload) > MAX_DESCRIPTION_BYTES:
        raise RecordsUnreadableError(
            f"columns: their description has {len(payload)} bytes, at most {MAX_DESCRIPTION_BYTES} can be "
            "published; publish fewer columns or categories, or shorter labels"
        )
    return payload


def _rule_from_pb(index: int, message: publication_pb2.ColumnRule) -> Rule:
    match message.WhichOneof("rule"):
        case "categories":
            groups = tuple(CategoryGroup(one.label, tuple(one.values)) for one in message.categories.groups)
            return CategoryRule(groups, message.categories.min_share_permille)
        case "edges":
            return EdgeRule(tuple(message.edges.edges))
        case "quantiles":
            return QuantileRule(message.quantiles.bins)
        case _:
            raise SpecificationError(
                [(f"columns[{index}].rule", "must be one of categories, edges and quantiles; give one")]
            )

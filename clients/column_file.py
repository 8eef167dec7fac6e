"""The column specification file: what a steward tells the node to read and to publish.

Here its shape is checked, and what can only be meant one way; the node checks every value again.

Source: docs/spec/column-specification.md.
"""

from pathlib import Path

from bourse.compute.v1 import publication_pb2

from clients.tomlfile import Reader, load_document

RULES = ("quantiles", "edges", "categories", "groups")


def load_specification(path: Path) -> publication_pb2.ColumnSpecification:
    """Return the specification in a `.toml` or `.json` file. Raises InputError that names the place."""
    document = load_document(path)
    specification = publication_pb2.ColumnSpecification(
        id_column=document.text("id_column"),
        min_valid_permille=_permille(document, "min_valid_permille"),
        missing_values=document.texts("missing_values", []),
        columns=[_column(column) for column in document.tables("column")],
    )
    document.finish()
    return specification


def _column(column: Reader) -> publication_pb2.ColumnRule:
    rule = publication_pb2.ColumnRule(
        name=column.text("name"), meaning=column.text("meaning", ""), unit=column.text("unit", "")
    )
    given = [key for key in RULES if column.has(key)]
    if len(given) != 1:
        raise column.error("", f"must hold exactly one of {', '.join(RULES)}")
    match given[0]:
        case "quantiles":
            bins = column.whole("quantiles")
            if not 2 <= bins <= 64:
                raise column.error("quantiles", "must be 2 to 64")
            rule.quantiles.bins = bins
        case "edges":
            rule.edges.edges.extend(column.numbers("edges"))
        case "categories":
            categories = column.table("categories")
            rule.categories.min_share_permille = _permille(categories, "min_share_permille")
            rule.categories.SetInParent()
            categories.finish()
        case _:
            groups = column.tables("groups")
            if not groups:
                raise column.error("groups", "must name 1 to 253 groups")
            for group in groups:
                rule.categories.groups.add(label=group.text("label", ""), values=group.texts("values"))
                group.finish()
    column.finish()
    return rule


def _permille(reader: Reader, key: str) -> int:
    share = reader.whole(key, 0)
    if not 0 <= share <= 1000:
        raise reader.error(key, "must be 0 to 1000")
    return share

"""Listings as people read them: their facts, then a table of what the newest revision publishes."""

from collections.abc import Mapping
from typing import Any

from clients.cli.output import show_facts, show_json, show_rows

COLUMNS = ("column", "bins", "meaning", "unit", "complete", "valid")


def show_listing(view: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a dataset, as `views.dataset_view` gives it."""
    if as_json:
        show_json(view)
        return
    revision = view.get("revision", {})
    facts = {key: value for key, value in view.items() if key != "revision"}
    about = ("revision", "digest", "rows_at_least", "change_note")
    show_facts("Dataset", facts | {key: revision.get(key) for key in about}, as_json=False)
    if revision:
        show_columns(revision["columns"])


def show_columns(columns: list[dict[str, Any]]) -> None:
    """Print published columns, their bins apart from each other, and the share of good cells."""
    rows = [
        {
            "column": one["name"],
            "bins": "; ".join(one["bins"]),
            "meaning": one["meaning"],
            "unit": one["unit"],
            "complete": f"{one['complete_permille'] / 10:g} %",
            "valid": f"{one['valid_permille'] / 10:g} %",
        }
        for one in columns
    ]
    shown = [name for name in COLUMNS if any(row[name] for row in rows)]
    show_rows("Columns", rows, shown, as_json=False)

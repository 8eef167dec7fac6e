"""The scorecard file: read strictly, with errors that name the place, and written.

Source: docs/spec/scorecard.md.
"""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any, TypeVar

from clients.errors import InputError, ScorecardError
from clients.files import SECRET_MODE, read_bounded, write_atomically
from clients.jsontext import JSONTextError, parse_json
from clients.scorecard import OwnColumn, ProviderColumn, ProviderPart, Scorecard
from wire.bins import (
    Bin,
    CategoryBin,
    Column,
    ColumnError,
    IntervalBin,
    MissingBin,
    OtherBin,
    category_problem,
    has_control_characters,
    label_problem,
    name_problem,
)

_Item = TypeVar("_Item")

FORMAT = "bourse-scorecard/1"
MAX_FILE_BYTES = 4 * 2**20
MAX_POINTS = 1_000_000
MAX_NAME_CHARACTERS = 200
MAX_MISSING_VALUES = 100

_DATASET = re.compile(r"datasets/[a-z][a-z0-9-]{1,62}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_CONTENT_KEYS = ("missing", "lower", "upper", "categories", "other")


def load_scorecard(path: Path) -> Scorecard:
    """Return the scorecard in a file. Raises ScorecardError that names the place."""
    return parse_scorecard(read_bounded(path, MAX_FILE_BYTES, InputError))


def save_scorecard(scorecard: Scorecard, path: Path) -> None:
    """Write the scorecard's file, readable by its owner alone, whole or not at all."""
    write_atomically(path, dump_scorecard(scorecard), mode=SECRET_MODE)


def parse_scorecard(data: bytes) -> Scorecard:
    """Return the scorecard that the bytes of a file spell. Raises ScorecardError that names the place."""
    if len(data) > MAX_FILE_BYTES:
        raise ScorecardError(f"The file has more than {MAX_FILE_BYTES} bytes.")
    try:
        document = parse_json(data)
    except JSONTextError as error:
        raise ScorecardError(f"The scorecard is not JSON as it must be: {error}.") from None
    top = _object("", document, {"format", "name", "base_points", "bank", "providers"})
    if top["format"] != FORMAT:
        raise ScorecardError("format: not one that this release reads.", way_out=f'It reads "{FORMAT}".')
    bank = _object("bank", top["bank"], {"columns"}, optional={"missing_values"})
    own_columns = _each("bank.columns", bank["columns"], _own_column)
    _unique("bank.columns", "name", [own.column.name for own in own_columns])
    providers = _each("providers", top["providers"], _provider)
    _unique("providers", "dataset", [part.dataset for part in providers])
    missing_values = _each("bank.missing_values", bank.get("missing_values", []), _category)
    if len(missing_values) > MAX_MISSING_VALUES:
        raise ScorecardError(f"bank.missing_values: at most {MAX_MISSING_VALUES} texts.")
    return Scorecard(
        _name(top["name"]),
        _integer("base_points", top["base_points"]),
        missing_values,
        own_columns,
        providers,
    )


def dump_scorecard(scorecard: Scorecard) -> bytes:
    """Return the file's bytes, laid out to be read."""
    document = {
        "format": FORMAT,
        "name": scorecard.name,
        "base_points": scorecard.base_points,
        "bank": {
            **({"missing_values": list(scorecard.missing_values)} if scorecard.missing_values else {}),
            "columns": [
                {
                    "name": own.column.name,
                    "bins": [
                        _bin_json(one, points)
                        for one, points in zip(own.column.bins, own.points, strict=True)
                    ],
                }
                for own in scorecard.own_columns
            ],
        },
        "providers": [
            {
                "dataset": part.dataset,
                **({"revision_digest": part.revision_digest.hex()} if part.revision_digest else {}),
                "columns": [{"name": column.name, "points": dict(column.points)} for column in part.columns],
            }
            for part in scorecard.providers
        ],
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _own_column(place: str, value: object) -> OwnColumn:
    column = _object(place, value, {"name", "bins"})
    bins = _each(f"{place}.bins", column["bins"], _own_bin)
    name = _checked_text(f"{place}.name", column["name"], name_problem)
    try:
        made = Column(name, "", "", tuple(one for one, _ in bins))
    except ColumnError as error:
        field = error.field.replace(".values", ".categories")
        raise ScorecardError(f"{place}.{field}: {error.rule}.") from None
    return OwnColumn(made, tuple(points for _, points in bins))


def _own_bin(place: str, value: object) -> tuple[Bin, int]:
    own = _object(place, value, {"label", "points"}, optional=frozenset(_CONTENT_KEYS))
    kinds = [key for key in _CONTENT_KEYS if key in own]
    label = _checked_text(f"{place}.label", own["label"], label_problem)
    points = _integer(f"{place}.points", own["points"])
    if kinds == ["missing"] and own["missing"] is True:
        return MissingBin(label), points
    if kinds == ["other"] and own["other"] is True:
        return OtherBin(label), points
    if kinds == ["lower", "upper"]:
        lower, upper = _edge(f"{place}.lower", own["lower"]), _edge(f"{place}.upper", own["upper"])
        return IntervalBin(label, lower, upper), points
    if kinds == ["categories"]:
        return CategoryBin(label, _each(f"{place}.categories", own["categories"], _category)), points
    raise ScorecardError(
        f"{place}: must say what falls into the bin.",
        way_out='Give exactly one of "missing": true, "lower" and "upper", "categories", "other": true.',
    )


def _provider(place: str, value: object) -> ProviderPart:
    part = _object(place, value, {"dataset", "columns"}, optional={"revision_digest"})
    dataset = part["dataset"]
    if not isinstance(dataset, str) or not _DATASET.fullmatch(dataset):
        raise ScorecardError(f"{place}.dataset: must have the form datasets/name.")
    digest = part.get("revision_digest")
    if digest is not None and (not isinstance(digest, str) or not _DIGEST.fullmatch(digest)):
        raise ScorecardError(f"{place}.revision_digest: must be 64 lower-case hexadecimal digits.")
    if "revision_digest" in part and digest is None:
        raise ScorecardError(f"{place}.revision_digest: must be text; leave it out when there is none.")
    columns = _each(f"{place}.columns", part["columns"], _provider_column)
    if not columns:
        raise ScorecardError(f"{place}.columns: must name at least one column.")
    _unique(f"{place}.columns", "name", [column.name for column in columns])
    return ProviderPart(dataset, bytes.fromhex(digest) if digest is not None else None, columns)


def _provider_column(place: str, value: object) -> ProviderColumn:
    column = _object(place, value, {"name", "points"})
    points = column["points"]
    if not isinstance(points, dict) or not points:
        raise ScorecardError(f"{place}.points: must be an object from bin label to points.")
    return ProviderColumn(
        _checked_text(f"{place}.name", column["name"], name_problem),
        {
            _checked_text(f"{place}.points", label, label_problem): _integer(
                f'{place}.points["{label}"]', number
            )
            for label, number in points.items()
        },
    )


def _category(place: str, value: object) -> str:
    return _checked_text(place, value, category_problem)


def _checked_text(place: str, value: object, problem_of: Callable[[str], str | None]) -> str:
    if not isinstance(value, str):
        raise ScorecardError(f"{place}: must be text.")
    problem = problem_of(value)
    if problem:
        raise ScorecardError(f"{place}: {problem}.")
    return value


def _name(value: object) -> str:
    if (
        not isinstance(value, str)
        or not 1 <= len(value) <= MAX_NAME_CHARACTERS
        or has_control_characters(value)
    ):
        raise ScorecardError(
            f"name: must be 1 to {MAX_NAME_CHARACTERS} characters without control characters."
        )
    return value


def _integer(place: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not -MAX_POINTS <= value <= MAX_POINTS:
        raise ScorecardError(
            f"{place}: must be a whole number, spelled without fraction or exponent, of at most {MAX_POINTS}."
        )
    return value


def _edge(place: str, value: object) -> float | None:
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ScorecardError(f"{place}: must be a number or null.")
    edge = float(value)
    if not math.isfinite(edge):
        raise ScorecardError(f"{place}: must be a finite number, or null for no bound.")
    return edge + 0.0


def _object(
    place: str, value: object, required: AbstractSet[str], *, optional: AbstractSet[str] = frozenset()
) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ScorecardError(f"{place or 'The file'}: must be an object.")
    prefix = f"{place}." if place else ""
    for key in value:
        if key not in required | optional:
            raise ScorecardError(
                f"{prefix}{key}: no such key.",
                way_out=f"Known here: {', '.join(sorted(required | optional))}.",
            )
    for key in sorted(required):
        if key not in value:
            raise ScorecardError(f"{prefix}{key}: is missing.")
    return value


def _each(place: str, value: object, read: Callable[[str, object], _Item]) -> tuple[_Item, ...]:
    if not isinstance(value, list):
        raise ScorecardError(f"{place}: must be an array.")
    return tuple(read(f"{place}[{index}]", item) for index, item in enumerate(value))


def _unique(place: str, key: str, values: Sequence[str]) -> None:
    seen: dict[str, int] = {}
    for index, value in enumerate(values):
        if value in seen:
            raise ScorecardError(f"{place}[{index}].{key}: is given before, in {place}[{seen[value]}].")
        seen[value] = index


def _bin_json(one: Bin, points: int) -> dict[str, object]:
    content: dict[str, object]
    match one:
        case MissingBin():
            content = {"missing": True}
        case OtherBin():
            content = {"other": True}
        case CategoryBin():
            content = {"categories": list(one.values)}
        case IntervalBin():
            content = {"lower": _edge_json(one.lower), "upper": _edge_json(one.upper)}
    return {"label": one.label, **content, "points": points}


def _edge_json(edge: float | None) -> float | int | None:
    return int(edge) if edge is not None and edge.is_integer() and abs(edge) < 1e15 else edge

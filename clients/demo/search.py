"""Looking for persons where none should be: identifiers in the bytes of files that parties keep."""

from collections.abc import Mapping
from pathlib import Path

from clients.rows import read_rows


def traces_of_persons(rows: Path, id_column: str, places: Mapping[str, Path]) -> dict[str, int]:
    """Return for each place, a file or a folder, how many of the rows' identifiers its bytes hold."""
    ids = [one.encode() for one in read_rows(rows, id_column=id_column, columns=[]).ids]
    return {name: _found(ids, _bytes_of(place)) for name, place in places.items()}


def _found(needles: list[bytes], hay: bytes) -> int:
    return sum(needle in hay for needle in needles)


def _bytes_of(place: Path) -> bytes:
    files = [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.is_file())
    return b"\n".join(path.read_bytes() for path in files)

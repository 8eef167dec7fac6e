"""Files of records: names inside one directory, opened once and held.

A remote caller gives names, never paths. The name is checked, then the file is opened relative to the opened
directory, without following symbolic links, and everything else is asked of the open file: nothing can be
swapped in between.
"""

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from compute.records.errors import RecordsUnreadableError, SpecificationError

MAX_FILE_NAME_BYTES = 128
_FILE_NAME = re.compile(r"[A-Za-z0-9_ -][A-Za-z0-9._ -]*")
_ENDINGS: dict[str, Literal["csv", "parquet"]] = {".csv": "csv", ".parquet": "parquet"}


def check_file_name(name: str) -> Literal["csv", "parquet"]:
    """Return the format that a file's name says. Raises SpecificationError, naming `file`, for what is no
    name inside a directory: separators, a leading dot, unusual characters, an ending other than `.csv` and
    `.parquet`.
    """
    problem = None
    if not name or len(name) > MAX_FILE_NAME_BYTES:
        problem = f"must have 1 to {MAX_FILE_NAME_BYTES} bytes"
    elif not _FILE_NAME.fullmatch(name):
        problem = (
            "must be a name inside the node's records directory, not a path: ASCII letters, digits, `.`, "
            "`_`, `-` and space, not beginning with a dot; rename the file"
        )
    elif Path(name).suffix not in _ENDINGS:
        problem = "must end in .csv or .parquet; convert or rename the file"
    if problem:
        raise SpecificationError([("file", problem)])
    return _ENDINGS[Path(name).suffix]


@dataclass(frozen=True)
class RecordsFile:
    """An open file of records, `size` bytes long; `records_file` closes the `descriptor`."""

    descriptor: int
    format: Literal["csv", "parquet"]
    size: int
    modified_ns: int

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """Give the file's bytes from the start; one reader at a time."""
        with os.fdopen(os.dup(self.descriptor), "rb") as stream:
            stream.seek(0)
            yield stream

    def check_unchanged(self) -> None:
        """Raise RecordsUnreadableError when the file was written to since it was opened."""
        if _identity(os.fstat(self.descriptor)) != (self.size, self.modified_ns):
            raise RecordsUnreadableError(
                "file: changed while it was read; publish again when nothing writes to it (write beside "
                "it, then rename)"
            )


@contextmanager
def records_file(directory: Path, name: str) -> Iterator[RecordsFile]:
    """Open the file `name` of `directory` and hold it open.

    Raises SpecificationError for what is no name, RecordsUnreadableError for a file that is not there, not
    regular, not readable, or a symbolic link, wherever it leads.
    """
    file_format = check_file_name(name)
    try:
        parent = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        raise RecordsUnreadableError(
            "file: the node's records directory cannot be opened; the node's operator must look at its "
            "configuration"
        ) from None
    try:
        # O_NONBLOCK: opening a pipe must not wait for its writer.
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
    except FileNotFoundError:
        raise RecordsUnreadableError(
            "file: no file of this name is in the node's records directory; put it there, or check the name"
        ) from None
    except OSError:
        raise RecordsUnreadableError(
            "file: cannot be opened; it must be a regular file, no symbolic link, that the node may read"
        ) from None
    finally:
        os.close(parent)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise RecordsUnreadableError("file: is not a regular file; copy the records into one")
        size, modified_ns = _identity(status)
        yield RecordsFile(descriptor, file_format, size, modified_ns)
    finally:
        os.close(descriptor)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns

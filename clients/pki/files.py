"""Files that hold secrets: written whole or not at all, readable by their owner alone, never overwritten
unasked.
"""

import contextlib
import os
import secrets
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path

DIRECTORY_MODE = 0o700
FILE_MODE = 0o600


class FileError(ValueError):
    """A file or directory is not as it must be. The message names it and the way out."""


def create_directory(directory: Path, files: Mapping[str, bytes], *, replaced_to: Path | None = None) -> None:
    """Make `directory` with these files at once: nobody ever sees half of it.

    What is there already is refused with FileError, or moved to `replaced_to` when that is given.
    """
    occupied = directory.exists() and any(directory.iterdir())
    if occupied and replaced_to is None:
        raise FileError(f"{directory}: is there already; choose another place, or add --replace")
    parent = directory.absolute().parent
    parent.mkdir(parents=True, exist_ok=True)
    draft = parent / f".{directory.name}.{secrets.token_hex(8)}"
    try:
        draft.mkdir(mode=DIRECTORY_MODE)
        for name, content in files.items():
            _write_new(draft / name, content)
        _sync_directory(draft)
        if occupied and replaced_to is not None:
            directory.rename(replaced_to)
        draft.rename(directory)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    _sync_directory(parent)


def write_file(path: Path, content: bytes) -> None:
    """Put `content` in place of what `path` held, in one step."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        _write_new(draft, content)
        draft.replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()
        raise
    _sync_directory(path.parent)


def keep_file(path: Path, content: bytes) -> None:
    """Put `content` at `path` for good: a file that is there must hold the same, else FileError."""
    path.parent.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
    if not path.exists():
        write_file(path, content)
    elif path.read_bytes() != content:
        raise FileError(f"{path}: holds something else; move it away and repeat the command")


def read_secret(path: Path) -> bytes:
    """Return the content of a file that only its owner can read. Raises FileError when others can, or it is
    missing.
    """
    try:
        with path.open("rb") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise FileError(f"{path}: others can read it; run `chmod 600 {path}`")
            return file.read()
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror})") from None


def _write_new(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

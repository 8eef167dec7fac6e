"""Files that are written whole or not at all, and read only up to a bound.

A file appears under its name when its bytes are on disk and never before: temporary file, fsync, rename,
fsync of the directory. What it held before stays until then.
"""

import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from clients.errors import BourseError

SECRET_MODE = 0o600
SECRET_DIRECTORY_MODE = 0o700


def write_atomically(path: Path, data: bytes, *, mode: int = 0o644, replace: bool = True) -> None:
    """Write `data` to `path`, whole or not at all, durable on return.

    With `replace` false, raises FileExistsError when `path` is there already, also when it appeared
    meanwhile.
    """
    with _temporary_for(path) as temporary:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        if replace:
            temporary.replace(path)
        else:
            os.link(temporary, path)
            temporary.unlink()
    sync_directory(path.parent)


def make_secret_directory(path: Path) -> None:
    """Make `path`, readable by its owner alone, and what is missing above it; durable on return."""
    if not path.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=SECRET_DIRECTORY_MODE, exist_ok=True)
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in `path` durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_bounded(path: Path, max_bytes: int, error: Callable[[str], BourseError]) -> bytes:
    """Return the bytes of `path`, at most `max_bytes`. Raises what `error` makes of a message that names the
    path.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(max_bytes + 1)
    except OSError as reason:
        raise error(f"{path}: cannot be read: {reason.strerror}.") from None
    if len(data) > max_bytes:
        raise error(f"{path}: has more than {max_bytes} bytes.")
    return data


def write_lines(path: Path, lines: Iterable[str]) -> int:
    """Write `lines` to `path` as they come, whole or not at all; returns how many. Durable on return."""
    count = 0
    with _temporary_for(path) as temporary:
        with temporary.open("x", encoding="utf-8", newline="\n") as stream:
            for line in lines:
                stream.write(f"{line}\n")
                count += 1
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    sync_directory(path.parent)
    return count


@contextmanager
def _temporary_for(path: Path) -> Iterator[Path]:
    """Yield a fresh name beside `path` that is gone when the block fails; the error then names `path`."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        yield temporary
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise OSError(error.errno, error.strerror, str(path)) from None
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise

"""Sealed models as the engine reads them: a file each in the state directory, made again when it is lost.

The database is the truth; a file is its copy. Its name is the digest of what must be in it, and the engine
checks that digest each time it reads.
"""

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from compute.store import sealings
from compute.store.database import AsyncDatabase


class ModelFiles:
    """The files below `directory`, which is made when it is not there."""

    def __init__(self, directory: Path, database: AsyncDatabase) -> None:
        self._directory = directory
        self._database = database

    async def path_of(self, sealing: str, c0_digest: bytes) -> Path:
        """Return the file of an accepted sealing's columns, writing it when it is not there."""
        path = self._directory / f"{c0_digest.hex()}.c0"
        if not path.exists():
            await self._database.read(
                lambda connection: _write_whole(path, sealings.columns(connection, sealing))
            )
        return path

    async def write_again(self, sealing: str, c0_digest: bytes) -> None:
        """Write the file anew: what stood there was damaged."""
        path = self._directory / f"{c0_digest.hex()}.c0"
        await self._database.read(
            lambda connection: _write_whole(path, sealings.columns(connection, sealing))
        )


def _write_whole(path: Path, columns: Iterable[bytes]) -> None:
    """Write beside `path`, then rename: a reader sees nothing or everything."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, scratch = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(columns)
        Path(scratch).replace(path)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise

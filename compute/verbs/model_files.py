"""Sealed models as the engine reads them: a file each in the state directory, made again when it is lost.

The database is the truth; a file is its copy. Its name is the digest of what must be in it, and the engine
checks that digest each time it reads.
"""

from pathlib import Path

from compute.files import write_whole
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
            await self.write_again(sealing, c0_digest)
        return path

    async def write_again(self, sealing: str, c0_digest: bytes) -> None:
        """Write the file anew, whatever stands there."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._directory / f"{c0_digest.hex()}.c0"
        await self._database.read(lambda connection: write_whole(path, sealings.columns(connection, sealing)))

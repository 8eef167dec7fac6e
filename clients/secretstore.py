"""A directory of encrypted files: each one secret, bound to what it is and to where it belongs.

Keys come from the identity's passphrase. Files are written whole or not at all, durable on return; nothing is
ever in clear on disk, and no error quotes what a file holds.

Source: docs/spec/keystore.md, docs/spec/envelope.md.
"""

import fcntl
import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from clients.errors import KeystoreError
from clients.files import SECRET_MODE, make_secret_directory, read_bounded, write_atomically
from wire.envelope import (
    MAX_PLAINTEXT_BYTES,
    OVERHEAD_BYTES,
    SALT_BYTES,
    DataKey,
    EnvelopeError,
    decrypt,
    encrypt,
    salt_of,
)

SUFFIX = ".sealed"
LOCK_NAME = "lock"

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,100}")


class SecretStore:
    """The encrypted files of one directory. `place` is bound into every envelope beside the file's name, so
    that files cannot be exchanged for one another, nor moved to another directory of the same kind.
    """

    def __init__(
        self, directory: Path, *, purpose: str, place: str, data_key: Callable[[bytes], DataKey]
    ) -> None:
        self.directory = directory
        self._purpose = purpose
        self._place = place
        self._derive = data_key
        self._keys: dict[bytes, DataKey] = {}

    def names(self) -> list[str]:
        """Return the names of the secrets here, sorted."""
        if not self.directory.is_dir():
            return []
        return sorted(
            path.name.removesuffix(SUFFIX)
            for path in self.directory.iterdir()
            if path.name.endswith(SUFFIX) and _NAME.fullmatch(path.name.removesuffix(SUFFIX))
        )

    def holds(self, name: str) -> bool:
        """Return whether there is a secret of this name."""
        return self._path(name).is_file()

    def put(self, name: str, secret: bytes) -> None:
        """Write a secret, whole or not at all, in place of one of the same name."""
        make_secret_directory(self.directory)
        try:
            envelope = encrypt(self._writing_key(), self._purpose, secret, context=self._context(name))
            write_atomically(self._path(name), envelope, mode=SECRET_MODE)
        except (EnvelopeError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise KeystoreError(f"{self._path(name)}: cannot be written: {reason}.") from None

    def get(self, name: str) -> bytes:
        """Return a secret. Raises KeystoreError when it is missing or does not open."""
        path = self._path(name)
        envelope = read_bounded(path, MAX_PLAINTEXT_BYTES + OVERHEAD_BYTES, KeystoreError)
        try:
            return decrypt(self._key(salt_of(envelope)), self._purpose, envelope, context=self._context(name))
        except EnvelopeError as error:
            raise KeystoreError(f"{path}: {error}.") from None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out of this directory. Raises KeystoreError when one is in it."""
        make_secret_directory(self.directory)
        descriptor = os.open(self.directory / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, SECRET_MODE)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise KeystoreError(
                    f"{self.directory}: another process is at work here.", way_out="Wait for it, or stop it."
                ) from None
            yield
        finally:
            os.close(descriptor)

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise KeystoreError("The name of a secret is 1 to 101 of a-z, 0-9 and hyphen.")
        return self.directory / f"{name}{SUFFIX}"

    def _context(self, name: str) -> bytes:
        return f"{self._place}\0{name}".encode()

    def _writing_key(self) -> DataKey:
        """Return the key of the files that are there, so that one stretching serves all; else a new one."""
        if not self._keys:
            for name in self.names():
                try:
                    return self._key(salt_of(self._path(name).read_bytes()))
                except (OSError, EnvelopeError):
                    continue
            return self._key(secrets.token_bytes(SALT_BYTES))
        return next(iter(self._keys.values()))

    def _key(self, salt: bytes) -> DataKey:
        if salt not in self._keys:
            self._keys[salt] = self._derive(salt)
        return self._keys[salt]

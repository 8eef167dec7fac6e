"""A client's identity directory, opened: certificate and keys in memory, ready for a channel.

Source: docs/spec/identity.md, "An identity directory".
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from clients.pki.files import FileError, read_secret
from wire.credentials import (
    PASSPHRASE_FILE,
    Credentials,
    CredentialsError,
    load_credentials,
    parse_passphrase,
)


@dataclass(frozen=True)
class IdentityFiles:
    """An identity directory and what it holds, decrypted in memory only."""

    directory: Path
    credentials: Credentials

    @classmethod
    def load(
        cls, directory: Path, passphrase_file: Path | None = None, *, now: datetime | None = None
    ) -> "IdentityFiles":
        """Open `directory`; the passphrase is in its `passphrase` file unless `passphrase_file` says where.

        Raises CredentialsError when something is missing, readable by others, expired, or does not fit
        together; the message names the file and the way out.
        """
        try:
            passphrase = parse_passphrase(read_secret(passphrase_file or directory / PASSPHRASE_FILE))
        except FileError as error:
            raise CredentialsError(str(error)) from None
        moment = now or datetime.now(UTC)
        return cls(
            directory,
            load_credentials(lambda name: (directory / name).read_bytes(), passphrase, now=moment),
        )

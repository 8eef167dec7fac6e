"""The member that acts: one identity directory, opened, with what it can sign and decrypt.

Keys and passphrase live in memory only. A license pins the signing key it was agreed with, so a key that was
rotated away since still signs under it.

Source: docs/spec/identity.md, "An identity directory".
"""

from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path

import grpc
from bourse.type.v1 import signature_pb2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from clients.errors import HomeError
from clients.identity import IdentityFiles
from clients.pki.files import FileError, read_secret
from wire.credentials import (
    PASSPHRASE_FILE,
    Credentials,
    CredentialsError,
    load_signing_key,
    parse_passphrase,
)
from wire.envelope import DataKey
from wire.identity import Identity
from wire.rpc import channel_credentials
from wire.signing import Purpose, key_id, public_key_of, sign


@dataclass(frozen=True)
class Member:
    """An identity that can connect, sign and keep secrets."""

    directory: Path
    credentials: Credentials
    passphrase: bytes = field(repr=False)

    @classmethod
    def open(
        cls, directory: Path, passphrase_file: Path | None = None, *, now: datetime | None = None
    ) -> "Member":
        """Open an identity directory; the passphrase is its `passphrase` file unless `passphrase_file` says
        where.

        Raises HomeError when something is missing, readable by others, expired, or does not fit together.
        """
        try:
            files = IdentityFiles.load(directory, passphrase_file, now=now)
            passphrase = parse_passphrase(read_secret(passphrase_file or directory / PASSPHRASE_FILE))
        except (FileError, CredentialsError) as error:
            raise HomeError(f"{directory}: {error}.") from None
        return cls(directory, files.credentials, passphrase)

    @property
    def identity(self) -> Identity:
        return self.credentials.identity

    @property
    def party_name(self) -> str:
        """The member's party, `parties/{party}`."""
        return self.identity.party_name

    @cached_property
    def channel_credentials(self) -> grpc.ChannelCredentials:
        """Credentials for channels, which show this member's certificate and trust its authority alone."""
        held = self.credentials
        return channel_credentials(held.key_pem, held.certificate_pem, held.ca_pem)

    @property
    def public_key(self) -> bytes:
        """The 32 bytes of the signing key in use. Raises HomeError when the identity has none."""
        return public_key_of(self._current_key)

    def sign(
        self, purpose: Purpose, payload: bytes, *, public_key: bytes | None = None
    ) -> tuple[bytes, bytes]:
        """Return (key id, signature) over `payload`, by the key in use, or by the one with `public_key`.

        Raises HomeError when this identity does not hold that key.
        """
        key = self._current_key
        if public_key is not None and public_key != public_key_of(key):
            try:
                key = load_signing_key(
                    lambda name: (self.directory / name).read_bytes(), self.passphrase, key_id(public_key)
                )
            except CredentialsError:
                raise HomeError(
                    "The license pins a signing key that this identity does not hold.",
                    way_out="Use the identity that agreed to the license, or agree on a new license.",
                ) from None
        return key_id(public_key_of(key)), sign(key, purpose, payload)

    def signed(
        self, purpose: Purpose, payload: bytes, *, public_key: bytes | None = None
    ) -> signature_pb2.SignedPayload:
        """Return `payload` with this member's signature, by the key that `sign` says."""
        key, value = self.sign(purpose, payload, public_key=public_key)
        return signature_pb2.SignedPayload(
            payload=payload, signatures=[signature_pb2.Signature(key_id=key, value=value)]
        )

    def data_key(self, salt: bytes) -> DataKey:
        """Return the key that encrypts this member's secrets at rest; takes a tenth of a second."""
        return DataKey.derive(self.passphrase, salt)

    @property
    def _current_key(self) -> Ed25519PrivateKey:
        key = self.credentials.signing_key
        if key is None:
            raise HomeError(
                f"{self.directory}: holds no signing key.",
                way_out="Make one with `bourse pki signing-key --rotate`, and have it registered.",
            )
        return key

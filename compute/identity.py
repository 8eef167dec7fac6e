"""Who this node is: its certificate and signing keys, held against its configuration."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from compute.config import Config
from wire.credentials import (
    Credentials,
    CredentialsError,
    load_credentials,
    load_signing_key,
    parse_passphrase,
)
from wire.signing import public_key_of

_RETIRED = re.compile(r"signing-([0-9a-f]{32})\.key")


@dataclass(frozen=True)
class NodeIdentity:
    """The node's certificate, its present signing key, and all its signing keys by their public keys."""

    credentials: Credentials
    signing_key: Ed25519PrivateKey = field(repr=False)
    signing_keys: Mapping[bytes, Ed25519PrivateKey] = field(repr=False)


def read_passphrase(path: Path) -> bytes:
    """Return the node's passphrase from the file that its configuration names. Raises CredentialsError."""
    try:
        return parse_passphrase(path.read_bytes())
    except OSError as error:
        raise CredentialsError(f"passphrase_file: {path} cannot be read ({error.strerror})") from None


def unlock_identity(config: Config, passphrase: bytes, *, now: datetime) -> NodeIdentity:
    """Return the node's identity, retired signing keys included: licenses keep the key that they pin.

    Raises CredentialsError when a file is missing or damaged, or names another party than the configuration.
    """

    def read(name: str) -> bytes:
        return (config.identity / name).read_bytes()

    credentials = load_credentials(read, passphrase, now=now)
    identity = credentials.identity
    if (identity.trust_domain, identity.kind, identity.party) != (
        config.trust_domain,
        "provider",
        config.provider,
    ):
        raise CredentialsError(
            f"tls.crt: must name a member of the provider {config.provider} in {config.trust_domain}; "
            "issue it with `bourse pki issue`"
        )
    if credentials.signing_key is None:
        raise CredentialsError("signing.key: missing; make one with `bourse pki signing-key`")
    keys = [
        credentials.signing_key,
        *(load_signing_key(read, passphrase, key_id) for key_id in _retired(config.identity / "history")),
    ]
    return NodeIdentity(
        credentials, credentials.signing_key, {public_key_of(private): private for private in keys}
    )


def _retired(history: Path) -> list[bytes]:
    if not history.is_dir():
        return []
    found = (_RETIRED.fullmatch(path.name) for path in sorted(history.iterdir()))
    return [bytes.fromhex(match[1]) for match in found if match]

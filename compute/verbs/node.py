"""What every verb of a node works with: its store, secrets, keys, clock and randomness."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from compute.domain.errors import LicenseRefusedError
from compute.domain.license import Agreement, Pins
from compute.store import secrets
from compute.store.database import AsyncDatabase
from compute.vault import Entropy, Secret, Vault, new_vault, vault_of

ENTITY_KEY_SECRET_BYTES: Final = 32
_ENTITY_KEY_ROW: Final = "1"


@dataclass(frozen=True)
class Node:
    """One running node. `signing_keys` maps public keys to private ones; `signing_key` is the present one."""

    database: AsyncDatabase
    vault: Vault
    entity_secret: bytes = field(repr=False)
    pins: Pins
    signing_key: Ed25519PrivateKey = field(repr=False)
    signing_keys: Mapping[bytes, Ed25519PrivateKey] = field(repr=False)
    now: Callable[[], datetime]
    entropy: Entropy
    log: logging.Logger

    def key_pinned_by(self, agreement: Agreement) -> Ed25519PrivateKey:
        """Return the signing key that a license pins. Raises LicenseRefusedError when the node lost it."""
        key = self.signing_keys.get(agreement.node_key)
        if key is None:
            raise LicenseRefusedError(
                "agreement.node_key: this node no longer has it; restore the identity's history folder"
            )
        return key


async def unlock(database: AsyncDatabase, passphrase: bytes, entropy: Entropy) -> tuple[Vault, bytes]:
    """Return the node's vault and entity-key secret, drawn and stored at the first start.

    Raises EnvelopeError when the passphrase is not the one that the node was first started with.
    """
    envelope = await database.read(secrets.find)
    if envelope is None:
        vault = new_vault(passphrase, entropy)
        fresh = vault.close(Secret.ENTITY_KEY, _ENTITY_KEY_ROW, entropy(ENTITY_KEY_SECRET_BYTES))
        envelope = await database.write(lambda connection: secrets.keep_first(connection, fresh))
    vault = vault_of(passphrase, envelope)
    return vault, vault.open(Secret.ENTITY_KEY, _ENTITY_KEY_ROW, envelope)

"""The node's secrets at rest: which there are, and that each opens only where it belongs.

An envelope is bound to the secret's purpose and to the row that it stands in, so a seed copied into another
block's row, or a salt into a seed's column, does not open.

Source: docs/spec/envelope.md.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from wire.envelope import SALT_BYTES, DataKey, decrypt, encrypt, salt_of

Entropy = Callable[[int], bytes]
"""Returns that many fresh random bytes."""


class Secret(StrEnum):
    """What a node keeps secret; the value binds the envelope."""

    ENTITY_KEY = "bourse/node/entity-key"
    BINS_SALT = "bourse/node/bins-salt"
    CONSENT_SALT = "bourse/node/consent-salt"
    GATHERED_SALT = "bourse/node/gathered-salt"
    BLOCK_SEED = "bourse/node/block-seed"


@dataclass(frozen=True)
class Vault:
    """The stretched passphrase, with which every secret of the node is closed and opened."""

    key: DataKey = field(repr=False)

    def close(self, what: Secret, where: str, secret: bytes) -> bytes:
        """Return the envelope of `secret`, bound to what it is and to the row `where` it will stand."""
        return encrypt(self.key, what.value, secret, context=where.encode())

    def open(self, what: Secret, where: str, envelope: bytes) -> bytes:
        """Return the secret. Raises EnvelopeError when it is another, stands elsewhere, or was changed."""
        return decrypt(self.key, what.value, envelope, context=where.encode())


def new_vault(passphrase: bytes, entropy: Entropy) -> Vault:
    """Return the vault of a node that starts for the first time."""
    return Vault(DataKey.derive(passphrase, entropy(SALT_BYTES)))


def vault_of(passphrase: bytes, envelope: bytes) -> Vault:
    """Return the vault that `envelope` was closed in; whether the passphrase is right shows on opening."""
    return Vault(DataKey.derive(passphrase, salt_of(envelope)))

"""Exact bytes and the signatures over them, and who has to have signed."""

import hashlib
from dataclasses import dataclass

from exchange.domain.errors import SignatureRefusedError
from wire.signing import Purpose, SignatureError, key_id, verify


@dataclass(frozen=True)
class Signature:
    """One Ed25519 signature: 16 bytes that name the key, and the 64 of the signature."""

    key_id: bytes
    value: bytes


@dataclass(frozen=True)
class SignedBytes:
    """A payload, as it was signed, and its signatures in the order that its use says."""

    payload: bytes
    signatures: tuple[Signature, ...]

    def and_signed(self, signature: Signature) -> "SignedBytes":
        return SignedBytes(self.payload, (*self.signatures, signature))

    @property
    def sha256(self) -> bytes:
        """SHA-256 of the payload, 32 bytes."""
        return hashlib.sha256(self.payload).digest()


def verify_one(field: str, signed: SignedBytes, purpose: Purpose, public_key: bytes) -> bytes:
    """Return the payload once it is proven to bear one signature, by `public_key` for `purpose`.

    Raises SignatureRefusedError otherwise.
    """
    if len(signed.signatures) != 1:
        raise SignatureRefusedError(f"{field}: must bear exactly one signature")
    (signature,) = signed.signatures
    if signature.key_id != key_id(public_key):
        raise SignatureRefusedError(
            f"{field}: signed by another key than the one expected; sign with the key that is registered, "
            "or that the license pins"
        )
    try:
        return verify(public_key, purpose, signed.payload, signature.value)
    except SignatureError as error:
        raise SignatureRefusedError(f"{field}: {error}") from None

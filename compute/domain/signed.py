"""Exact bytes and the signatures over them, as this node received or made them."""

from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from compute.domain.errors import SignatureRefusedError
from wire.signing import Purpose, SignatureError, key_id, public_key_of, sign, verify


@dataclass(frozen=True)
class Signature:
    """One Ed25519 signature: 16 bytes that name the key, 64 bytes that verify under it."""

    key_id: bytes
    value: bytes


@dataclass(frozen=True)
class Signed:
    """A payload and its signatures, in the order that its carrier names."""

    payload: bytes = field(repr=False)
    signatures: tuple[Signature, ...]


def sign_alone(key: Ed25519PrivateKey, purpose: Purpose, payload: bytes) -> Signed:
    """Return `payload` with the one signature of `key`: the same bytes every time (RFC 8032)."""
    return Signed(payload, (Signature(key_id(public_key_of(key)), sign(key, purpose, payload)),))


def require_signatures(signed: Signed, purpose: Purpose, keys: dict[str, bytes]) -> bytes:
    """Return the payload once it carries exactly the signatures of `keys`, in order.

    `keys` maps each signer's role to its 32-byte public key. Raises SignatureRefusedError naming the first
    signer whose signature is missing or wrong.
    """
    if len(signed.signatures) != len(keys):
        raise SignatureRefusedError(
            f"signatures: {len(signed.signatures)} given, needed in this order: {', '.join(keys)}"
        )
    for (role, public_key), signature in zip(keys.items(), signed.signatures, strict=True):
        require_signature(signed.payload, purpose, role, public_key, signature)
    return signed.payload


def require_signature(
    payload: bytes, purpose: Purpose, role: str, public_key: bytes, signature: Signature
) -> bytes:
    """Return the payload once `signature` is proven `role`'s; raise SignatureRefusedError otherwise."""
    try:
        if signature.key_id != key_id(public_key):
            raise SignatureRefusedError(f"signature of the {role}: made with another key than the one pinned")
        return verify(public_key, purpose, payload, signature.value)
    except SignatureError as error:
        raise SignatureRefusedError(f"signature of the {role}: {error}") from error

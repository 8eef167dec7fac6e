"""Signatures between parties: Ed25519 over a tagged hash, so a signature made for one purpose serves no
other.

The tag is part of what is signed. An agreement's signature can therefore never be shown as a release
request's, whatever the bytes. Keys that belong to nobody (points of small order) are refused: under such a
key one signature can fit several messages, and "who signed this" would have no answer.

Source: docs/spec/signing.md; RFC 8032; Chalkias, Garillot and Nikolaenko, "Taming the many EdDSAs", 2020.
"""

from enum import StrEnum

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from wire.framing import tagged_hash

PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64
KEY_ID_BYTES = 16

_FIELD_PRIME = 2**255 - 19
_ORDER_8_Y = 2707385501144840649318225287225658788936804267575313519463743609750303402022
# y coordinates of the eight points of small order: the neutral element, order 2, the two of order 4 (y = 0)
# and the four of order 8. tests/unit/test_wire_signing.py multiplies each by eight.
_SMALL_ORDER_Y = frozenset({1, _FIELD_PRIME - 1, 0, _ORDER_8_Y, _FIELD_PRIME - _ORDER_8_Y})


class Purpose(StrEnum):
    """What a signature says; the value is the tag of the hash that is signed."""

    AGREEMENT = "bourse/wire/v1/agreement"
    SEALING = "bourse/wire/v1/sealing"
    RELEASE_REQUEST = "bourse/wire/v1/release-request"
    RELEASE_STATEMENT = "bourse/wire/v1/release-statement"
    MODEL_STATEMENT = "bourse/wire/v1/model-statement"
    DATASET_DESCRIPTION = "bourse/wire/v1/dataset-description"
    KEY_POSSESSION = "bourse/wire/v1/key-possession"
    RECEIPT = "bourse/wire/v1/receipt"


class SignatureError(ValueError):
    """A key or a signature is malformed, or the signature is not this key's over this payload for this
    purpose.
    """


def sign(private_key: Ed25519PrivateKey, purpose: Purpose, payload: bytes) -> bytes:
    """Return the 64-byte Ed25519 signature over tagged_hash(purpose, payload)."""
    return private_key.sign(tagged_hash(purpose.value, payload))


def verify(public_key: bytes, purpose: Purpose, payload: bytes, signature: bytes) -> bytes:
    """Return `payload` once it is proven signed; the bytes to parse are the bytes returned.

    Raises SignatureError for a wrong length, a key that is no canonical point or has small order, a signature
    scalar that is not reduced (RFC 8032, section 5.1.7) and any mismatch.
    """
    check_public_key(public_key)
    if len(signature) != SIGNATURE_BYTES:
        raise SignatureError(f"signature: must be {SIGNATURE_BYTES} bytes")
    digest = tagged_hash(purpose.value, payload)
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, digest)
    except (InvalidSignature, ValueError):
        raise SignatureError(f"signature: not this key's over this {purpose.name.lower()}") from None
    return payload


def key_id(public_key: bytes) -> bytes:
    """Return the 16 bytes that name a signing key: tagged_hash('bourse/wire/v1/key-id', public_key)[:16].

    Raises SignatureError when `public_key` is not one that `verify` would accept.
    """
    return tagged_hash("bourse/wire/v1/key-id", check_public_key(public_key))[:KEY_ID_BYTES]


def public_key_of(private_key: Ed25519PrivateKey) -> bytes:
    """Return the 32 bytes that verify what `private_key` signs."""
    return private_key.public_key().public_bytes_raw()


def check_public_key(public_key: bytes) -> bytes:
    """Return `public_key` if it may be registered and pinned, else raise SignatureError.

    Refused: a length other than 32, a y coordinate of p or more (a second spelling of the same key), a
    point of small order. Whether y is on the curve at all is decided when a signature is verified.
    """
    if len(public_key) != PUBLIC_KEY_BYTES:
        raise SignatureError(f"public_key: an Ed25519 key is {PUBLIC_KEY_BYTES} bytes")
    y = int.from_bytes(public_key, "little") & ((1 << 255) - 1)
    if y >= _FIELD_PRIME:
        raise SignatureError("public_key: not in its canonical form (RFC 8032, section 5.1.3)")
    if y in _SMALL_ORDER_Y:
        raise SignatureError("public_key: a point of small order is nobody's key")
    return public_key

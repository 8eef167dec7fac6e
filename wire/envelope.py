"""Secrets at rest: AES-256-GCM under a key stretched from a passphrase, and encrypted private keys in PEM.

An envelope is bound to what it holds (`purpose`) and to where it belongs (`context`, such as the primary
key of its row), so envelopes cannot be exchanged for one another. Stretching costs about a tenth of a
second and 32 MiB once; after it, each item costs microseconds. Bytes in, bytes out: files and rows are the
caller's.

Source: docs/spec/envelope.md; RFC 7914 (scrypt), NIST SP 800-38D (GCM), RFC 5958 (PKCS #8).
"""

import os
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from wire.framing import tagged_hash

MAGIC = b"BENV"
VERSION = 1
SALT_BYTES = 16
NONCE_BYTES = 12
TAG_BYTES = 16
HEADER_BYTES = len(MAGIC) + 1 + SALT_BYTES + NONCE_BYTES
OVERHEAD_BYTES = HEADER_BYTES + TAG_BYTES

# RFC 7914, section 2: 128·n·r = 32 MiB for every guess at a passphrase.
SCRYPT_N, SCRYPT_R, SCRYPT_P = 2**15, 8, 1
# One envelope is one secret, a seed or a key file, never a data set.
MAX_PLAINTEXT_BYTES = 64 * 2**20
# OpenSSL stretches a PEM passphrase with 2,048 rounds of PBKDF2 only, so the passphrase must bring its own
# strength.
MIN_PEM_PASSPHRASE_BYTES = 16
MAX_PASSPHRASE_BYTES = 1023  # OpenSSL's limit for PEM
MAX_PEM_BYTES = 16 * 1024

PrivateKey = Ed25519PrivateKey | EllipticCurvePrivateKey

_UNOPENED = (
    "the envelope does not open: wrong passphrase, wrong place or damaged bytes; restore it from a copy"
)
_UNREADABLE_KEY = (
    "the private key does not open: wrong passphrase, damaged bytes, or not encrypted PKCS #8 PEM"
)


class EnvelopeError(ValueError):
    """An envelope or key does not open. Which of passphrase and bytes is at fault is not told, on purpose."""


@dataclass(frozen=True)
class DataKey:
    """A stretched passphrase. Derive once, then seal and open as many items as needed.

    With random nonces one key serves 2^32 envelopes (NIST SP 800-38D, section 8.3); take a new salt before
    that.
    """

    salt: bytes
    key: bytes = field(repr=False)

    @classmethod
    def derive(cls, passphrase: bytes, salt: bytes) -> "DataKey":
        """Stretch `passphrase` (1 to 1023 bytes) with a random 16-byte `salt`. Raises EnvelopeError on
        other sizes.
        """
        if not 1 <= len(passphrase) <= MAX_PASSPHRASE_BYTES:
            raise EnvelopeError(f"passphrase: must have 1 to {MAX_PASSPHRASE_BYTES} bytes")
        if len(salt) != SALT_BYTES:
            raise EnvelopeError(f"salt: must be {SALT_BYTES} bytes")
        return cls(salt, Scrypt(salt, 32, SCRYPT_N, SCRYPT_R, SCRYPT_P).derive(passphrase))


def encrypt(
    data_key: DataKey, purpose: str, plaintext: bytes, *, context: bytes = b"", nonce: bytes | None = None
) -> bytes:
    """Return the envelope of `plaintext`: 49 bytes longer than it.

    `purpose` says what the secret is, in ASCII, such as `bourse/node/block-seed`; `context` says whose. A
    caller that gives the 12-byte `nonce` must never give it twice under one key; otherwise it is random.
    Raises EnvelopeError on a wrong nonce length or more than 64 MiB.
    """
    if nonce is None:
        nonce = os.urandom(NONCE_BYTES)
    if len(nonce) != NONCE_BYTES:
        raise EnvelopeError(f"nonce: must be {NONCE_BYTES} bytes")
    if len(plaintext) > MAX_PLAINTEXT_BYTES:
        raise EnvelopeError(f"plaintext: longer than {MAX_PLAINTEXT_BYTES} bytes; divide it")
    header = MAGIC + bytes([VERSION]) + data_key.salt + nonce
    return header + AESGCM(data_key.key).encrypt(nonce, plaintext, _bound(header, purpose, context))


def decrypt(data_key: DataKey, purpose: str, envelope: bytes, *, context: bytes = b"") -> bytes:
    """Return the plaintext of an envelope made with the same key, purpose and context.

    Raises EnvelopeError, with one sentence for every cause, when it does not open.
    """
    if not OVERHEAD_BYTES <= len(envelope) <= OVERHEAD_BYTES + MAX_PLAINTEXT_BYTES:
        raise EnvelopeError(_UNOPENED)
    header, body = envelope[:HEADER_BYTES], envelope[HEADER_BYTES:]
    if header[:-NONCE_BYTES] != MAGIC + bytes([VERSION]) + data_key.salt:
        raise EnvelopeError(_UNOPENED)
    try:
        return AESGCM(data_key.key).decrypt(header[-NONCE_BYTES:], body, _bound(header, purpose, context))
    except InvalidTag:
        raise EnvelopeError(_UNOPENED) from None


def salt_of(envelope: bytes) -> bytes:
    """Return the salt to derive the key of a lone envelope with. Raises EnvelopeError when it is no
    envelope.
    """
    if len(envelope) < OVERHEAD_BYTES or envelope[: len(MAGIC) + 1] != MAGIC + bytes([VERSION]):
        raise EnvelopeError(_UNOPENED)
    return envelope[len(MAGIC) + 1 : len(MAGIC) + 1 + SALT_BYTES]


def dump_private_key(key: PrivateKey, passphrase: bytes) -> bytes:
    """Return `key` as encrypted PKCS #8 PEM. Raises EnvelopeError for a passphrase outside 16 to 1023
    bytes.
    """
    if not MIN_PEM_PASSPHRASE_BYTES <= len(passphrase) <= MAX_PASSPHRASE_BYTES:
        raise EnvelopeError(
            f"passphrase: must have {MIN_PEM_PASSPHRASE_BYTES} to {MAX_PASSPHRASE_BYTES} bytes"
        )
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase),
    )


def load_private_key(pem: bytes, passphrase: bytes) -> PrivateKey:
    """Return the Ed25519 or elliptic-curve key in encrypted PKCS #8 PEM of at most 16 KiB.

    Raises EnvelopeError, with one sentence for every cause, when it does not open, and when the key is in
    clear.
    """
    if len(pem) > MAX_PEM_BYTES:
        raise EnvelopeError(f"private key: longer than {MAX_PEM_BYTES} bytes")
    try:
        key = serialization.load_pem_private_key(pem, passphrase)
    except Exception:  # noqa: BLE001 - OpenSSL's reasons vary by version and tell passphrase from bytes
        raise EnvelopeError(_UNREADABLE_KEY) from None
    if not isinstance(key, Ed25519PrivateKey | EllipticCurvePrivateKey):
        raise EnvelopeError("private key: must be Ed25519 or elliptic-curve")
    return key


def cleartext_private_key_pem(key: PrivateKey) -> bytes:
    """Return `key` as PKCS #8 PEM **in clear**, for the memory of a TLS library; never write it anywhere."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _bound(header: bytes, purpose: str, context: bytes) -> bytes:
    return tagged_hash("bourse/wire/v1/envelope", header, purpose.encode("ascii"), context)

"""What a process needs to be somebody: its certificate, the key to it, the authority it trusts, its signing
key.

An identity directory holds `tls.crt`, `tls.key`, `ca.crt` and `signing.key`; keys are encrypted PKCS #8.
This module is given a function that reads a file of that directory by name, so it works on bytes and opens
nothing itself:

    read = lambda name: (directory / name).read_bytes()
    credentials = load_credentials(read, parse_passphrase(passphrase_file.read_bytes()), now=now)

Keys are decrypted into memory only. Source: docs/spec/identity.md, "An identity directory".
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from wire.envelope import EnvelopeError, cleartext_private_key_pem, load_private_key
from wire.identity import Identity, IdentityError
from wire.signing import key_id, public_key_of

CERTIFICATE_FILE = "tls.crt"
KEY_FILE = "tls.key"
AUTHORITY_FILE = "ca.crt"
SIGNING_KEY_FILE = "signing.key"
PASSPHRASE_FILE = "passphrase"  # noqa: S105 - the name of a file

MAX_CERTIFICATES_BYTES = 64 * 1024

ReadFile = Callable[[str], bytes]
"""Returns the content of one file of an identity directory, or raises OSError."""


class CredentialsError(ValueError):
    """An identity directory cannot be used. The message names the file, what is wrong and the way out."""


@dataclass(frozen=True)
class Credentials:
    """An identity that can connect and sign. `key_pem` is in clear: keep it in memory."""

    identity: Identity
    certificate_pem: bytes
    ca_pem: bytes
    not_after: datetime
    key_pem: bytes = field(repr=False)
    signing_key: Ed25519PrivateKey | None = field(repr=False)


def load_credentials(read: ReadFile, passphrase: bytes, *, now: datetime) -> Credentials:
    """Return the credentials of an identity directory; `signing.key` may be absent, the other files may not.

    Raises CredentialsError when a file is missing, damaged or does not open, when the certificate is not
    valid at `now`, names no single identity, or does not belong to the key.
    """
    certificate_pem = _read(read, CERTIFICATE_FILE)
    certificate = parse_certificate(CERTIFICATE_FILE, certificate_pem)
    ca_pem = _read(read, AUTHORITY_FILE)
    parse_certificate(AUTHORITY_FILE, ca_pem)
    identity = identity_of_certificate(certificate)
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise CredentialsError(
            f"{CERTIFICATE_FILE}: valid from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} until "
            f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC, not now; renew with `bourse pki rotate`"
        )
    key = _private_key(KEY_FILE, _read(read, KEY_FILE), passphrase)
    if not isinstance(key, EllipticCurvePrivateKey) or _spki(key) != _certified_spki(certificate):
        raise CredentialsError(
            f"{KEY_FILE}: not the key of {CERTIFICATE_FILE}; renew both with `bourse pki rotate`"
        )
    try:
        signing_pem = read(SIGNING_KEY_FILE)
    except FileNotFoundError:
        signing_key = None
    except OSError as error:
        raise _unreadable(SIGNING_KEY_FILE, error) from None
    else:
        signing_key = _ed25519(SIGNING_KEY_FILE, signing_pem, passphrase)
    return Credentials(
        identity,
        certificate_pem,
        ca_pem,
        certificate.not_valid_after_utc,
        cleartext_private_key_pem(key),
        signing_key,
    )


def load_signing_key(read: ReadFile, passphrase: bytes, wanted: bytes) -> Ed25519PrivateKey:
    """Return the signing key whose `wire.signing.key_id` is `wanted`, in use or retired.

    A license pins keys, so a node signs under an old license with the key that it had then. Raises
    CredentialsError when the directory has no such key, or it does not open.
    """
    current = _ed25519(SIGNING_KEY_FILE, _read(read, SIGNING_KEY_FILE), passphrase)
    if key_id(public_key_of(current)) == wanted:
        return current
    name = retired_signing_key_file(wanted)
    retired = _ed25519(name, _read(read, name), passphrase)
    if key_id(public_key_of(retired)) != wanted:
        raise CredentialsError(f"{name}: holds another key than its name says; restore it from a copy")
    return retired


def retired_signing_key_file(key: bytes) -> str:
    """Return where a rotation keeps the old signing key of this key id."""
    return f"history/signing-{key.hex()}.key"


def parse_passphrase(data: bytes) -> bytes:
    """Return the passphrase in a file's content: everything but one closing line break. Raises
    CredentialsError if empty.
    """
    passphrase = data.removesuffix(b"\n").removesuffix(b"\r")
    if not passphrase:
        raise CredentialsError("passphrase: the file is empty; write the passphrase on its first line")
    return passphrase


def parse_certificate(name: str, pem: bytes) -> x509.Certificate:
    """Return the first certificate in `pem`, at most 64 KiB. Raises CredentialsError naming the file
    `name`.
    """
    if len(pem) > MAX_CERTIFICATES_BYTES:
        raise CredentialsError(f"{name}: longer than {MAX_CERTIFICATES_BYTES} bytes")
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError:
        raise CredentialsError(f"{name}: holds no certificate in PEM") from None


def identity_of_certificate(certificate: x509.Certificate) -> Identity:
    """Return the identity that the certificate's one URI name spells. Raises CredentialsError otherwise."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except (x509.ExtensionNotFound, ValueError):
        uris = []
    if len(uris) != 1:
        raise CredentialsError(
            f"{CERTIFICATE_FILE}: must carry exactly one URI name; issue it with `bourse pki issue`"
        )
    try:
        return Identity.parse(uris[0])
    except IdentityError as error:
        raise CredentialsError(f"{CERTIFICATE_FILE}: {error}") from None


def _read(read: ReadFile, name: str) -> bytes:
    try:
        return read(name)
    except OSError as error:
        raise _unreadable(name, error) from None


def _unreadable(name: str, error: OSError) -> CredentialsError:
    return CredentialsError(
        f"{name}: cannot be read ({error.strerror}); make an identity with `bourse pki issue`"
    )


def _private_key(name: str, pem: bytes, passphrase: bytes) -> Ed25519PrivateKey | EllipticCurvePrivateKey:
    try:
        return load_private_key(pem, passphrase)
    except EnvelopeError as error:
        raise CredentialsError(f"{name}: {error}") from None


def _ed25519(name: str, pem: bytes, passphrase: bytes) -> Ed25519PrivateKey:
    key = _private_key(name, pem, passphrase)
    if not isinstance(key, Ed25519PrivateKey):
        raise CredentialsError(
            f"{name}: must be an Ed25519 key; make one with `bourse pki signing-key --rotate`"
        )
    return key


def _spki(key: EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _certified_spki(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

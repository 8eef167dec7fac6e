"""Authority and identity directories: made, rotated and described.

An authority directory holds `ca.crt`, `ca.key` and `passphrase`. An identity directory holds `tls.crt`,
`tls.key`, `ca.crt`, `signing.key`, `signing.pub`, `identity.json`, `passphrase` and, once rotated,
`history/`. Keys are encrypted; the passphrase lies beside them for development, or wherever
`--passphrase-file` says.

Source: docs/spec/identity.md, "An identity directory".
"""

import json
import secrets
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from clients.pki.authority import (
    Authority,
    AuthorityError,
    ServerNames,
    issue_certificate,
    new_authority,
    server_names_of,
    trust_domain_of,
)
from clients.pki.files import FileError, create_directory, keep_file, read_secret, write_file
from wire.credentials import (
    AUTHORITY_FILE,
    CERTIFICATE_FILE,
    KEY_FILE,
    PASSPHRASE_FILE,
    SIGNING_KEY_FILE,
    CredentialsError,
    identity_of_certificate,
    parse_certificate,
    parse_passphrase,
    retired_signing_key_file,
)
from wire.envelope import EnvelopeError, PrivateKey, dump_private_key, load_private_key
from wire.identity import Identity
from wire.signing import key_id, public_key_of

AUTHORITY_KEY_FILE = "ca.key"
SIGNING_PUBLIC_FILE = "signing.pub"
DESCRIPTION_FILE = "identity.json"

PkiError = (AuthorityError, FileError, CredentialsError, EnvelopeError)
"""What the functions below raise, besides IdentityError; each message says the way out."""


@dataclass(frozen=True)
class Description:
    """What may be shown of an identity directory: no key, no passphrase."""

    identity: Identity
    server_names: ServerNames | None
    certificate_sha256: str
    not_before: datetime
    not_after: datetime
    authority_sha256: str
    signing_public_key: bytes
    history: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """Return the content of `identity.json`."""
        names = self.server_names
        return {
            "uri": self.identity.uri,
            "trust_domain": self.identity.trust_domain,
            "kind": self.identity.kind,
            "party": self.identity.party,
            "member": self.identity.member,
            "server": names is not None,
            "dns_names": list(names.dns_names) if names else [],
            "addresses": [str(address) for address in names.addresses] if names else [],
            "certificate_sha256": self.certificate_sha256,
            "not_before": self.not_before.isoformat(),
            "not_after": self.not_after.isoformat(),
            "authority_sha256": self.authority_sha256,
            "signing_public_key": self.signing_public_key.hex(),
            "signing_key_id": key_id(self.signing_public_key).hex(),
            "history": list(self.history),
        }


def init_authority(
    directory: Path, trust_domain: str, *, now: datetime, days: int, passphrase_file: Path | None
) -> Authority:
    """Make an authority directory; one that is there is never replaced, for all it issued would be lost
    with it.
    """
    authority = new_authority(trust_domain, now=now, days=days)
    passphrase, files = _passphrase(passphrase_file)
    files[AUTHORITY_FILE] = authority.certificate.public_bytes(Encoding.PEM)
    files[AUTHORITY_KEY_FILE] = dump_private_key(authority.key, passphrase)
    try:
        create_directory(directory, files)
    except FileError:
        raise FileError(f"{directory}: is there already; choose another --dir, or move it away") from None
    return authority


def open_authority(directory: Path, *, passphrase_file: Path | None) -> Authority:
    """Return the authority in `directory`."""
    certificate = _certificate_of(directory, AUTHORITY_FILE, "make an authority with `bourse pki init`")
    passphrase = parse_passphrase(read_secret(passphrase_file or directory / PASSPHRASE_FILE))
    key = _open_key(directory / AUTHORITY_KEY_FILE, passphrase)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise FileError(
            f"{directory / AUTHORITY_KEY_FILE}: not the key of {AUTHORITY_FILE}; restore both from a copy"
        )
    return Authority(certificate, key)


def create_identity(
    authority: Authority,
    identity: Identity,
    directory: Path,
    *,
    server: ServerNames | None,
    now: datetime,
    days: int,
    passphrase_file: Path | None,
    replace: bool,
) -> Description:
    """Make an identity directory with a fresh certificate, its key and a fresh signing key.

    With `replace`, what is there moves to `<directory>.replaced-<time>` and is never deleted.
    """
    tls_key = ec.generate_private_key(ec.SECP256R1())
    signing_key = Ed25519PrivateKey.generate()
    certificate = issue_certificate(
        authority, identity, tls_key.public_key(), server=server, now=now, days=days
    )
    passphrase, files = _passphrase(passphrase_file)
    public_key = public_key_of(signing_key)
    description = _description(certificate, authority.certificate, public_key, ())
    files |= {
        CERTIFICATE_FILE: certificate.public_bytes(Encoding.PEM),
        KEY_FILE: dump_private_key(tls_key, passphrase),
        AUTHORITY_FILE: authority.certificate.public_bytes(Encoding.PEM),
        SIGNING_KEY_FILE: dump_private_key(signing_key, passphrase),
        SIGNING_PUBLIC_FILE: _public_key_line(public_key),
        DESCRIPTION_FILE: _json_bytes(description),
    }
    aside = directory.with_name(f"{directory.name}.replaced-{now:%Y%m%dT%H%M%S.%fZ}") if replace else None
    create_directory(directory, files, replaced_to=aside)
    return description


def rotate_certificate(
    authority: Authority, directory: Path, *, now: datetime, days: int, passphrase_file: Path | None
) -> Description:
    """Give the identity a new key and certificate with the same names; the old certificate stays in
    `history/`.

    The old key does not: nothing can need it again, and until its certificate ends it could be stolen. A
    rotation that was interrupted is finished by repeating it.
    """
    old = _identity_certificate(directory)
    passphrase = _passphrase_of(directory, passphrase_file)
    _open_key(directory / KEY_FILE, passphrase)  # one passphrase opens every key of the directory
    key = ec.generate_private_key(ec.SECP256R1())
    new = issue_certificate(
        authority,
        identity_of_certificate(old),
        key.public_key(),
        server=server_names_of(old),
        now=now,
        days=days,
    )
    old_pem = old.public_bytes(Encoding.PEM)
    keep_file(directory / "history" / f"tls-{_fingerprint(old)[:32]}.crt", old_pem)
    write_file(directory / KEY_FILE, dump_private_key(key, passphrase))
    write_file(directory / CERTIFICATE_FILE, new.public_bytes(Encoding.PEM))
    write_file(directory / AUTHORITY_FILE, authority.certificate.public_bytes(Encoding.PEM))
    return _described_anew(directory)


def rotate_signing_key(directory: Path, *, passphrase_file: Path | None) -> Description:
    """Give the identity a new signing key; the old one stays in `history/`, for a license pins the key it
    was made with.
    """
    passphrase = _passphrase_of(directory, passphrase_file)
    old_pem = read_secret(directory / SIGNING_KEY_FILE)
    old = _open_key(directory / SIGNING_KEY_FILE, passphrase)
    if not isinstance(old, Ed25519PrivateKey):
        raise FileError(f"{directory / SIGNING_KEY_FILE}: must be an Ed25519 key")
    new = Ed25519PrivateKey.generate()
    retired = directory / retired_signing_key_file(key_id(public_key_of(old)))
    keep_file(retired.with_suffix(".pub"), _public_key_line(public_key_of(old)))
    keep_file(retired, old_pem)
    write_file(directory / SIGNING_KEY_FILE, dump_private_key(new, passphrase))
    write_file(directory / SIGNING_PUBLIC_FILE, _public_key_line(public_key_of(new)))
    return _described_anew(directory)


def describe(directory: Path) -> Description:
    """Return what an identity directory holds, read from its public files."""
    certificate = _identity_certificate(directory)
    try:
        line = (directory / SIGNING_PUBLIC_FILE).read_bytes()
        public_key = bytes.fromhex(line.decode("ascii").strip())
    except (OSError, ValueError):
        raise FileError(
            f"{directory / SIGNING_PUBLIC_FILE}: must hold the signing key's 32 bytes in hexadecimal; "
            "make a new key with `bourse pki signing-key --rotate`"
        ) from None
    history = directory / "history"
    return _description(
        certificate,
        _certificate_of(directory, AUTHORITY_FILE, "renew with `bourse pki rotate`"),
        public_key,
        tuple(sorted(path.name for path in history.iterdir())) if history.is_dir() else (),
    )


def describe_authority(directory: Path) -> dict[str, object]:
    """Return what may be shown of an authority directory."""
    return authority_json(_certificate_of(directory, AUTHORITY_FILE, "make one with `bourse pki init`"))


def authority_json(certificate: x509.Certificate) -> dict[str, object]:
    """Return what may be shown of an authority: its trust domain, fingerprint and validity."""
    return {
        "trust_domain": trust_domain_of(certificate),
        "authority_sha256": _fingerprint(certificate),
        "not_before": certificate.not_valid_before_utc.isoformat(),
        "not_after": certificate.not_valid_after_utc.isoformat(),
    }


def is_authority(directory: Path) -> bool:
    """Whether `directory` is an authority's rather than an identity's."""
    return (directory / AUTHORITY_KEY_FILE).exists()


def _described_anew(directory: Path) -> Description:
    description = describe(directory)
    write_file(directory / DESCRIPTION_FILE, _json_bytes(description))
    return description


def _passphrase(passphrase_file: Path | None) -> tuple[bytes, dict[str, bytes]]:
    """Return the passphrase to encrypt with and the file that keeps it: none when the caller keeps it
    elsewhere.
    """
    if passphrase_file is not None:
        return parse_passphrase(read_secret(passphrase_file)), {}
    passphrase = secrets.token_urlsafe(32).encode("ascii")
    return passphrase, {PASSPHRASE_FILE: passphrase + b"\n"}


def _passphrase_of(directory: Path, passphrase_file: Path | None) -> bytes:
    return parse_passphrase(read_secret(passphrase_file or directory / PASSPHRASE_FILE))


def _open_key(path: Path, passphrase: bytes) -> PrivateKey:
    try:
        return load_private_key(read_secret(path), passphrase)
    except EnvelopeError as error:
        raise FileError(f"{path}: {error}") from None


def _identity_certificate(directory: Path) -> x509.Certificate:
    return _certificate_of(directory, CERTIFICATE_FILE, "make an identity with `bourse pki issue`")


def _certificate_of(directory: Path, name: str, way_out: str) -> x509.Certificate:
    try:
        return parse_certificate(str(directory / name), (directory / name).read_bytes())
    except OSError as error:
        raise FileError(f"{directory / name}: cannot be read ({error.strerror}); {way_out}") from None


def _description(
    certificate: x509.Certificate,
    authority: x509.Certificate,
    signing_public_key: bytes,
    history: tuple[str, ...],
) -> Description:
    return Description(
        identity_of_certificate(certificate),
        server_names_of(certificate),
        _fingerprint(certificate),
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
        _fingerprint(authority),
        signing_public_key,
        history,
    )


def _fingerprint(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex()


def _public_key_line(public_key: bytes) -> bytes:
    return public_key.hex().encode("ascii") + b"\n"


def _json_bytes(description: Description) -> bytes:
    return json.dumps(description.to_json(), indent=2).encode() + b"\n"

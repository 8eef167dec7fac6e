"""Authorities and identities: made whole, never overwritten, rotated with their history, opened in memory
only.
"""

import json
import stat
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from clients.identity import IdentityFiles
from clients.pki import directories, files
from clients.pki.authority import AuthorityError, ServerNames, issue_certificate, new_authority
from clients.pki.files import FileError
from wire.credentials import CredentialsError, load_signing_key, parse_certificate, parse_passphrase
from wire.identity import Identity, IdentityError
from wire.signing import Purpose, key_id, public_key_of, sign, verify

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
ANALYST = Identity("bourse.test", "bank", "harbour-bank", "analyst")
NODE = Identity("bourse.test", "provider", "tax-office", "node")


@pytest.fixture(scope="module")
def authority():
    return new_authority("bourse.test", now=NOW, days=400)


@pytest.fixture
def home(tmp_path):
    return tmp_path / "analyst"


def make(authority, home, identity=ANALYST, **settings):
    defaults = {"server": None, "now": NOW, "days": 30, "passphrase_file": None, "replace": False}
    return directories.create_identity(authority, identity, home, **(defaults | settings))


def content(home):
    return {path.relative_to(home): path.read_bytes() for path in home.rglob("*") if path.is_file()}


def test_an_identity_opens_and_signs(authority, home):
    description = make(authority, home)
    credentials = IdentityFiles.load(home, now=NOW).credentials
    assert credentials.identity == description.identity == ANALYST
    assert public_key_of(credentials.signing_key) == description.signing_public_key
    signature = sign(credentials.signing_key, Purpose.AGREEMENT, b"terms")
    assert verify(description.signing_public_key, Purpose.AGREEMENT, b"terms", signature) == b"terms"
    certificate = x509.load_pem_x509_certificate(credentials.certificate_pem)
    assert load_pem_private_key(credentials.key_pem, None).public_key() == certificate.public_key()
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(credentials.ca_pem))
    assert json.loads((home / "identity.json").read_text()) == description.to_json()
    assert (home / "signing.pub").read_text().strip() == description.signing_public_key.hex()


def test_no_key_lies_in_clear_and_nobody_else_can_read_anything(authority, home):
    make(authority, home)
    credentials = IdentityFiles.load(home, now=NOW).credentials
    secret = credentials.signing_key.private_bytes_raw()
    everything = b"".join(content(home).values())
    assert b"BEGIN PRIVATE KEY" not in everything
    assert secret not in everything
    assert secret.hex().encode() not in everything
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in home.iterdir()} == {0o600}
    assert "PRIVATE" not in repr(credentials)


def test_a_client_s_certificate_names_one_uri_and_may_not_serve(authority, home):
    make(authority, home)
    certificate = parse_certificate("tls.crt", (home / "tls.crt").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert list(names) == [x509.UniformResourceIdentifier(ANALYST.uri)]
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert (constraints.critical, constraints.value.ca) == (True, False)
    assert certificate.not_valid_after_utc == NOW + timedelta(days=30)


def test_a_server_s_certificate_adds_the_names_it_is_asked_for_by(authority, home):
    names = ServerNames(("node.tax.example",), (ip_address("127.0.0.1"),))
    description = make(authority, home, NODE, server=names)
    assert description.server_names.dns_names == ("tax-office.provider.bourse.test", "node.tax.example")
    assert description.server_names.addresses == names.addresses
    assert json.loads((home / "identity.json").read_text())["server"] is True


@pytest.mark.parametrize(
    "name", ["spiffe://bourse.test/bank/harbour-bank/analyst", "*.bourse.test", "Node.test", ""]
)
def test_a_server_gets_no_name_that_is_not_a_dns_name(authority, home, name):
    with pytest.raises(AuthorityError, match="dns"):
        make(authority, home, NODE, server=ServerNames((name,)))
    assert not home.exists()


def test_an_authority_issues_for_its_own_trust_domain_and_lifetime_alone(authority):
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    foreign = Identity("other.test", "bank", "harbour-bank", "analyst")
    with pytest.raises(AuthorityError, match=r"bourse\.test"):
        issue_certificate(authority, foreign, key, server=None, now=NOW, days=30)
    for days in (0, 398):
        with pytest.raises(AuthorityError, match="1 to 397"):
            issue_certificate(authority, ANALYST, key, server=None, now=NOW, days=days)
    with pytest.raises(AuthorityError, match="ends on"):
        issue_certificate(authority, ANALYST, key, server=None, now=NOW + timedelta(days=30), days=390)
    with pytest.raises(IdentityError):
        new_authority("Bourse.test", now=NOW, days=10)


def test_an_authority_directory_opens_again_and_is_never_replaced(tmp_path):
    directories.init_authority(tmp_path / "ca", "bourse.test", now=NOW, days=400, passphrase_file=None)
    before = content(tmp_path / "ca")
    opened = directories.open_authority(tmp_path / "ca", passphrase_file=None)
    assert opened.trust_domain == "bourse.test"
    make(opened, tmp_path / "analyst")
    assert IdentityFiles.load(tmp_path / "analyst", now=NOW).credentials.identity == ANALYST
    with pytest.raises(FileError, match="already"):
        directories.init_authority(tmp_path / "ca", "bourse.test", now=NOW, days=400, passphrase_file=None)
    assert content(tmp_path / "ca") == before
    assert directories.is_authority(tmp_path / "ca")
    assert directories.describe_authority(tmp_path / "ca")["trust_domain"] == "bourse.test"


def test_an_identity_is_not_overwritten_unasked_and_then_moved_aside(authority, home):
    make(authority, home)
    before = content(home)
    with pytest.raises(FileError, match="--replace"):
        make(authority, home)
    assert content(home) == before
    make(authority, home, replace=True)
    assert content(home) != before
    (aside,) = home.parent.glob("analyst.replaced-*")
    assert content(aside) == before


def test_an_identity_that_cannot_be_written_leaves_nothing_behind(authority, home, monkeypatch):
    def full_disk(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        make(authority, home)
    assert list(home.parent.iterdir()) == []


def test_a_file_that_cannot_be_replaced_stays_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "tls.crt"
    files.write_file(path, b"old")

    def full_disk(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        files.write_file(path, b"new")
    assert content(tmp_path) == {path.relative_to(tmp_path): b"old"}


def test_a_rotated_certificate_keeps_its_names_and_its_predecessor(authority, home):
    names = ServerNames((), (ip_address("::1"),))
    old = make(authority, home, NODE, server=names)
    old_pem, old_key = (home / "tls.crt").read_bytes(), (home / "tls.key").read_bytes()
    later = NOW + timedelta(days=60)  # the old one has expired by then
    new = directories.rotate_certificate(authority, home, now=later, days=30, passphrase_file=None)
    assert (new.identity, new.server_names) == (old.identity, old.server_names)
    assert new.signing_public_key == old.signing_public_key
    assert new.certificate_sha256 != old.certificate_sha256
    assert (home / "history" / f"tls-{old.certificate_sha256[:32]}.crt").read_bytes() == old_pem
    assert (home / "tls.key").read_bytes() != old_key
    assert old_key not in content(home).values()
    assert IdentityFiles.load(home, now=later).credentials.identity == NODE
    assert json.loads((home / "identity.json").read_text()) == new.to_json()
    with pytest.raises(CredentialsError, match="rotate"):
        IdentityFiles.load(home, now=later + timedelta(days=31))


def test_an_interrupted_rotation_is_noticed_and_finished_by_repeating_it(authority, home, monkeypatch):
    make(authority, home)

    def crash(path, data):
        if path.name == "tls.crt":
            raise KeyboardInterrupt
        files.write_file(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(directories, "write_file", crash)
        with pytest.raises(KeyboardInterrupt):
            directories.rotate_certificate(authority, home, now=NOW, days=30, passphrase_file=None)
    with pytest.raises(CredentialsError, match=r"tls\.key.*rotate"):
        IdentityFiles.load(home, now=NOW)
    directories.rotate_certificate(authority, home, now=NOW, days=30, passphrase_file=None)
    assert IdentityFiles.load(home, now=NOW).credentials.identity == ANALYST


def test_a_license_s_old_signing_key_still_signs_after_rotations(authority, home):
    first = make(authority, home).signing_public_key
    second = directories.rotate_signing_key(home, passphrase_file=None).signing_public_key
    description = directories.rotate_signing_key(home, passphrase_file=None)
    assert len({first, second, description.signing_public_key}) == 3
    passphrase = parse_passphrase((home / "passphrase").read_bytes())

    def read(name):
        return (home / name).read_bytes()

    for public_key in (first, second, description.signing_public_key):
        key = load_signing_key(read, passphrase, key_id(public_key))
        assert public_key_of(key) == public_key
    with pytest.raises(CredentialsError, match="cannot be read"):
        load_signing_key(read, passphrase, bytes(16))
    assert f"signing-{key_id(first).hex()}.pub" in description.history
    assert (home / "history" / f"signing-{key_id(first).hex()}.pub").read_text().strip() == first.hex()


def test_a_retired_key_under_another_key_s_name_is_refused(authority, home):
    first = make(authority, home).signing_public_key
    second = directories.rotate_signing_key(home, passphrase_file=None).signing_public_key
    directories.rotate_signing_key(home, passphrase_file=None)
    history = home / "history"
    (history / f"signing-{key_id(first).hex()}.key").replace(history / f"signing-{key_id(second).hex()}.key")
    passphrase = parse_passphrase((home / "passphrase").read_bytes())
    with pytest.raises(CredentialsError, match="another key"):
        load_signing_key(lambda name: (home / name).read_bytes(), passphrase, key_id(second))


def test_a_passphrase_may_lie_elsewhere(authority, home, tmp_path):
    passphrase_file = tmp_path / "secret"
    files.write_file(passphrase_file, b"a passphrase of some length\n")
    make(authority, home, passphrase_file=passphrase_file)
    assert not (home / "passphrase").exists()
    assert IdentityFiles.load(home, passphrase_file, now=NOW).credentials.identity == ANALYST
    with pytest.raises(CredentialsError, match="passphrase"):
        IdentityFiles.load(home, now=NOW)
    directories.rotate_signing_key(home, passphrase_file=passphrase_file)
    files.write_file(passphrase_file, b"another one of some length\n")
    with pytest.raises(CredentialsError, match=r"tls\.key"):
        IdentityFiles.load(home, passphrase_file, now=NOW)
    before = content(home)
    with pytest.raises(FileError, match="passphrase"):
        directories.rotate_certificate(authority, home, now=NOW, days=1, passphrase_file=passphrase_file)
    with pytest.raises(FileError, match="passphrase"):
        directories.rotate_signing_key(home, passphrase_file=passphrase_file)
    assert content(home) == before


def test_a_passphrase_that_others_can_read_is_refused_with_the_command_that_helps(authority, home):
    make(authority, home)
    (home / "passphrase").chmod(0o640)
    with pytest.raises(CredentialsError, match="chmod 600"):
        IdentityFiles.load(home, now=NOW)


def damage(home, name, data):
    files.write_file(home / name, data)


@pytest.mark.parametrize("name", ["tls.crt", "tls.key", "ca.crt", "passphrase"])
def test_an_identity_with_a_missing_file_says_which(authority, home, name):
    make(authority, home)
    (home / name).unlink()
    with pytest.raises(CredentialsError, match=name):
        IdentityFiles.load(home, now=NOW)


@pytest.mark.parametrize("name", ["tls.crt", "tls.key", "ca.crt", "signing.key"])
@pytest.mark.parametrize(
    "data", [b"", b"garbage", b"-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n", b"-" * 70_000]
)
def test_an_identity_with_a_damaged_file_says_which(authority, home, name, data):
    make(authority, home)
    damage(home, name, data)
    with pytest.raises(CredentialsError, match=name):
        IdentityFiles.load(home, now=NOW)


def test_an_identity_may_do_without_a_signing_key(authority, home):
    make(authority, home)
    (home / "signing.key").unlink()
    assert IdentityFiles.load(home, now=NOW).credentials.signing_key is None


def test_an_empty_passphrase_is_refused(authority, home):
    make(authority, home)
    damage(home, "passphrase", b"\n")
    with pytest.raises(CredentialsError, match="first line"):
        IdentityFiles.load(home, now=NOW)


def test_a_certificate_that_is_not_valid_yet_or_any_more_is_refused_by_its_holder(authority, home):
    make(authority, home)
    for moment in (NOW - timedelta(hours=1), NOW + timedelta(days=31)):
        with pytest.raises(CredentialsError, match=r"tls\.crt.*2026-12-20"):
            IdentityFiles.load(home, now=moment)


def test_another_identity_s_key_is_refused(authority, home, tmp_path):
    make(authority, home)
    make(authority, tmp_path / "node", NODE)
    for name in ("tls.key", "passphrase"):
        damage(home, name, (tmp_path / "node" / name).read_bytes())
    with pytest.raises(CredentialsError, match=r"tls\.key"):
        IdentityFiles.load(home, now=NOW)


def test_a_root_certificate_is_nobody_s_identity(authority, home):
    make(authority, home)
    damage(home, "tls.crt", authority.certificate.public_bytes(Encoding.PEM))
    with pytest.raises(CredentialsError, match=r"tls\.crt"):
        IdentityFiles.load(home, now=NOW)


def test_a_place_that_may_not_be_written_to_is_an_error_of_the_system(authority, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    with pytest.raises(FileExistsError):
        make(authority, blocked / "analyst")
    assert list(tmp_path.iterdir()) == [blocked]

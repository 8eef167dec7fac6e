"""Secrets at rest: they open for the right passphrase, purpose and place, and for nothing else."""

import hashlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from wire import envelope
from wire.envelope import (
    OVERHEAD_BYTES,
    DataKey,
    EnvelopeError,
    cleartext_private_key_pem,
    decrypt,
    dump_private_key,
    encrypt,
    load_private_key,
    salt_of,
)

PASSPHRASE = b"correct horse battery staple"
SALT = bytes(range(16))
NONCE = bytes(range(100, 112))
PURPOSE = "bourse/node/block-seed"
KEY = DataKey.derive(PASSPHRASE, SALT)
SEED = b"\7" * 32
ENVELOPE = encrypt(KEY, PURPOSE, SEED, context=b"jobs/1/0", nonce=NONCE)


def test_the_data_key_is_scrypt_of_the_passphrase():
    assert KEY.key == hashlib.scrypt(PASSPHRASE, salt=SALT, n=2**15, r=8, p=1, maxmem=2**26, dklen=32)


def test_an_envelope_has_the_bytes_of_the_format():
    """A second reading of docs/spec/envelope.md: GCM taken apart into its cipher and its bound data."""
    assert ENVELOPE[:5] == b"BENV\x01"
    assert (ENVELOPE[5:21], ENVELOPE[21:33]) == (SALT, NONCE)
    framed = b"".join(
        len(part).to_bytes(8, "big") + part for part in (ENVELOPE[:33], PURPOSE.encode(), b"jobs/1/0")
    )
    reader = Cipher(algorithms.AES(KEY.key), modes.GCM(NONCE, ENVELOPE[-16:])).decryptor()
    reader.authenticate_additional_data(hashlib.sha256(b"bourse/wire/v1/envelope\0" + framed).digest())
    assert reader.update(ENVELOPE[33:-16]) + reader.finalize() == SEED


def test_a_known_envelope_stays_known():
    assert ENVELOPE.hex() == (
        "42454e5601000102030405060708090a0b0c0d0e0f6465666768696a6b6c6d6e6f"
        "b632d771f36adfafa22bd504863eb84eadaf8fe351fd20d845f8ab3699b734fc28"
        "45bb3068a1d0894aa20c5595b2960e"
    )


def test_the_page_of_the_format_shows_that_envelope():
    page = (Path(__file__).parents[2] / "docs/spec/envelope.md").read_text()
    assert ENVELOPE.hex() in "".join(page.split())


@given(st.binary(max_size=1000), st.text("abc/-", max_size=20), st.binary(max_size=20))
def test_what_was_sealed_opens(plaintext, purpose, context):
    sealed = encrypt(KEY, purpose, plaintext, context=context)
    assert len(sealed) == len(plaintext) + OVERHEAD_BYTES
    assert decrypt(KEY, purpose, sealed, context=context) == plaintext


def test_two_envelopes_of_one_secret_differ():
    assert encrypt(KEY, PURPOSE, SEED) != encrypt(KEY, PURPOSE, SEED)


def test_a_lone_envelope_says_the_salt_to_open_it_with():
    assert (
        decrypt(DataKey.derive(PASSPHRASE, salt_of(ENVELOPE)), PURPOSE, ENVELOPE, context=b"jobs/1/0") == SEED
    )


@given(st.integers(0, 8 * len(ENVELOPE) - 1))
def test_no_bit_may_change(bit):
    damaged = bytearray(ENVELOPE)
    damaged[bit // 8] ^= 1 << bit % 8
    with pytest.raises(EnvelopeError):
        decrypt(KEY, PURPOSE, bytes(damaged), context=b"jobs/1/0")


@pytest.mark.parametrize("length", [0, 4, 5, 32, 48, len(ENVELOPE) - 1])
def test_a_cut_envelope_does_not_open(length):
    with pytest.raises(EnvelopeError):
        decrypt(KEY, PURPOSE, ENVELOPE[:length], context=b"jobs/1/0")
    with pytest.raises(EnvelopeError):
        decrypt(KEY, PURPOSE, ENVELOPE + b"\0", context=b"jobs/1/0")


def test_an_envelope_opens_for_its_purpose_and_place_alone():
    for purpose, context in [(PURPOSE, b"jobs/1/1"), (PURPOSE, b""), ("bourse/node/block-seedj", b"obs/1/0")]:
        with pytest.raises(EnvelopeError):
            decrypt(KEY, purpose, ENVELOPE, context=context)


def test_a_wrong_passphrase_and_damaged_bytes_are_told_by_the_same_words():
    words = set()
    other = DataKey.derive(b"another passphrase", SALT)
    for key, data in [
        (other, ENVELOPE),
        (KEY, ENVELOPE[:-1] + b"\0"),
        (KEY, b"BENV\x02" + ENVELOPE[5:]),
        (KEY, b""),
        (DataKey(bytes(16), KEY.key), ENVELOPE),
    ]:
        with pytest.raises(EnvelopeError) as refused:
            decrypt(key, PURPOSE, data, context=b"jobs/1/0")
        words.add(str(refused.value))
    with pytest.raises(EnvelopeError) as refused:
        salt_of(b"BENV")
    assert words == {str(refused.value)}


def test_a_data_key_does_not_show_itself():
    assert KEY.key.hex() not in repr(KEY)
    assert repr(KEY.key) not in repr(KEY)


@pytest.mark.parametrize(("passphrase", "salt"), [(b"", SALT), (b"x" * 1024, SALT), (b"x", SALT[:15])])
def test_a_passphrase_or_salt_of_another_size_is_refused(passphrase, salt):
    with pytest.raises(EnvelopeError, match="bytes"):
        DataKey.derive(passphrase, salt)


def test_a_nonce_of_another_size_is_refused():
    with pytest.raises(EnvelopeError, match="12"):
        encrypt(KEY, PURPOSE, SEED, nonce=bytes(11))


def test_a_secret_has_a_bounded_size(monkeypatch):
    monkeypatch.setattr(envelope, "MAX_PLAINTEXT_BYTES", 32)
    sealed = encrypt(KEY, PURPOSE, bytes(32))
    with pytest.raises(EnvelopeError, match="32"):
        encrypt(KEY, PURPOSE, bytes(33))
    monkeypatch.setattr(envelope, "MAX_PLAINTEXT_BYTES", 31)
    with pytest.raises(EnvelopeError):
        decrypt(KEY, PURPOSE, sealed)


@pytest.mark.parametrize(
    "key", [Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256R1())], ids=["signing", "tls"]
)
def test_a_private_key_at_rest_opens_with_its_passphrase_alone(key):
    pem = dump_private_key(key, PASSPHRASE)
    assert pem.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    assert cleartext_private_key_pem(load_private_key(pem, PASSPHRASE)) == cleartext_private_key_pem(key)
    words = set()
    for data, passphrase in [
        (pem, b"another passphrase of some length"),
        (pem.replace(b"A", b"B"), PASSPHRASE),
        (pem[:100], PASSPHRASE),
        (b"", PASSPHRASE),
        (cleartext_private_key_pem(key), PASSPHRASE),
    ]:
        with pytest.raises(EnvelopeError) as refused:
            load_private_key(data, passphrase)
        words.add(str(refused.value))
    assert len(words) == 1


def test_a_short_passphrase_does_not_guard_a_key_file():
    with pytest.raises(EnvelopeError, match="16"):
        dump_private_key(Ed25519PrivateKey.generate(), b"hunter2")


def test_a_key_of_another_kind_is_refused():
    pem = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(PASSPHRASE),
    )
    with pytest.raises(EnvelopeError, match="Ed25519"):
        load_private_key(pem, PASSPHRASE)


def test_an_overlong_key_file_is_refused_unread():
    with pytest.raises(EnvelopeError, match="longer"):
        load_private_key(b"-" * 20_000, PASSPHRASE)

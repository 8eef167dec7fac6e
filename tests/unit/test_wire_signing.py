"""Signatures: RFC 8032's vectors, a second witness in plain integers, and what must be refused."""

import hashlib
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from wire.framing import tagged_hash
from wire.signing import Purpose, SignatureError, check_public_key, key_id, public_key_of, sign, verify

# RFC 8032, section 7.1: secret key, public key, message, signature.
RFC_8032 = {
    "TEST 1": (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
            "d25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    "TEST 2": (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
            "387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ),
    "TEST 3": (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
            "4a7c15e9716ed28dc027beceea1ec40a"
        ),
    ),
}
SEED = bytes.fromhex(RFC_8032["TEST 1"][0])
KEY = Ed25519PrivateKey.from_private_bytes(SEED)
PUBLIC = public_key_of(KEY)
PAYLOAD = b"license terms"

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
NEUTRAL = (0, 1)


def add(a, b):
    (x1, y1), (x2, y2) = a, b
    k = D * x1 * x2 * y1 * y2
    return (x1 * y2 + x2 * y1) * pow(1 + k, -1, P) % P, (y1 * y2 + x1 * x2) * pow(1 - k, -1, P) % P


def multiply(n, point):
    result = NEUTRAL
    while n:
        if n & 1:
            result = add(result, point)
        point, n = add(point, point), n >> 1
    return result


def decode(encoded):
    """RFC 8032, section 5.1.3."""
    number = int.from_bytes(encoded, "little")
    y, sign_bit = number & (2**255 - 1), number >> 255
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    assert (x * x - square) % P == 0
    return (P - x if x % 2 != sign_bit else x), y


BASE = decode((4 * pow(5, -1, P) % P).to_bytes(32, "little"))


def witness_accepts(public_key, message, signature):
    """RFC 8032, section 5.1.7, with plain integers: [S]B = R + [k]A."""
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    k = int.from_bytes(hashlib.sha512(r + public_key + message).digest(), "little")
    return s < L and multiply(s, BASE) == add(decode(r), multiply(k % L, decode(public_key)))


def own_hash(tag, payload):
    return hashlib.sha256(tag.encode() + b"\0" + len(payload).to_bytes(8, "big") + payload).digest()


@pytest.mark.parametrize("name", RFC_8032)
def test_the_library_and_the_witness_agree_with_rfc_8032(name):
    seed, public_key, message, signature = map(bytes.fromhex, RFC_8032[name])
    key = Ed25519PrivateKey.from_private_bytes(seed)
    assert public_key_of(key) == public_key
    assert key.sign(message) == signature
    assert witness_accepts(public_key, message, signature)


@pytest.mark.parametrize("purpose", Purpose)
def test_a_signature_covers_purpose_and_payload_as_the_format_says(purpose):
    signature = sign(KEY, purpose, PAYLOAD)
    assert verify(PUBLIC, purpose, PAYLOAD, signature) == PAYLOAD
    assert witness_accepts(PUBLIC, own_hash(purpose.value, PAYLOAD), signature)


def test_a_known_signature_stays_known():
    assert sign(KEY, Purpose.AGREEMENT, PAYLOAD).hex() == (
        "ecef4f99055448fcdf3d642044e48c4f22721a8cda7ed61f70ca3a52221265fe"
        "e06a6f4b1c9a0e69228791db835ac6b4d384ad8f321bb50277755208b6e58704"
    )
    assert key_id(PUBLIC).hex() == "2a9cadaafd6daf68a860a06e3886ed49"


def test_the_page_of_the_format_shows_that_signature_and_every_purpose():
    page = (Path(__file__).parents[2] / "docs/spec/signing.md").read_text()
    signature = sign(KEY, Purpose.AGREEMENT, PAYLOAD).hex()
    digest = own_hash(Purpose.AGREEMENT.value, PAYLOAD).hex()
    for text in (signature[:64], signature[64:], key_id(PUBLIC).hex(), digest, *Purpose):
        assert text in page


def test_purposes_have_tags_of_their_own():
    assert len({purpose.value for purpose in Purpose}) == len(Purpose)
    assert all(purpose.value.startswith("bourse/wire/v1/") for purpose in Purpose)


@pytest.mark.parametrize("purpose", [purpose for purpose in Purpose if purpose is not Purpose.AGREEMENT])
def test_an_agreement_s_signature_serves_no_other_purpose(purpose):
    signature = sign(KEY, Purpose.AGREEMENT, PAYLOAD)
    with pytest.raises(SignatureError):
        verify(PUBLIC, purpose, PAYLOAD, signature)


@given(st.integers(0, 8 * len(PAYLOAD) - 1))
def test_no_bit_of_the_payload_may_change(bit):
    with pytest.raises(SignatureError):
        verify(PUBLIC, Purpose.AGREEMENT, flipped(PAYLOAD, bit), sign(KEY, Purpose.AGREEMENT, PAYLOAD))


@given(st.integers(0, 511))
def test_no_bit_of_the_signature_may_change(bit):
    signature = flipped(sign(KEY, Purpose.AGREEMENT, PAYLOAD), bit)
    with pytest.raises(SignatureError):
        verify(PUBLIC, Purpose.AGREEMENT, PAYLOAD, signature)


@given(st.integers(0, 255))
def test_no_bit_of_the_key_may_change(bit):
    with pytest.raises(SignatureError):
        verify(flipped(PUBLIC, bit), Purpose.AGREEMENT, PAYLOAD, sign(KEY, Purpose.AGREEMENT, PAYLOAD))


def test_the_same_signature_with_another_scalar_is_refused():
    signature = sign(KEY, Purpose.AGREEMENT, PAYLOAD)
    scalar = int.from_bytes(signature[32:], "little") + L
    malleable = signature[:32] + scalar.to_bytes(32, "little")
    assert multiply(scalar, BASE) == multiply(scalar - L, BASE), "it would satisfy the equation"
    with pytest.raises(SignatureError):
        verify(PUBLIC, Purpose.AGREEMENT, PAYLOAD, malleable)


@pytest.mark.parametrize("length", [0, 63, 65, 128])
def test_a_signature_of_another_length_is_refused(length):
    with pytest.raises(SignatureError, match="64"):
        verify(PUBLIC, Purpose.AGREEMENT, PAYLOAD, bytes(length))


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_key_of_another_length_is_refused(length):
    with pytest.raises(SignatureError, match="32"):
        verify(b"\2" * length, Purpose.AGREEMENT, PAYLOAD, sign(KEY, Purpose.AGREEMENT, PAYLOAD))
    with pytest.raises(SignatureError, match="32"):
        key_id(b"\2" * length)


def small_order_points():
    """Every encoding whose point times eight is neutral: found by multiplying, not taken from a list."""
    order_8 = next(
        point
        for y in range(2, 100)
        if (point := multiply(L, point_with_y(y))) and multiply(4, point) != NEUTRAL
    )
    for n in range(8):
        x, y = multiply(n, order_8)
        for sign_bit in {x & 1, 0 if x else 1}:
            yield (y | sign_bit << 255).to_bytes(32, "little")


def point_with_y(y):
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    return decode(y.to_bytes(32, "little")) if pow(square, (P - 1) // 2, P) == 1 else NEUTRAL


def test_a_point_of_small_order_is_nobody_s_key():
    points = set(small_order_points())
    assert len(points) >= 8
    for encoded in points:
        with pytest.raises(SignatureError, match="small order"):
            check_public_key(encoded)


def test_without_that_check_one_signature_would_fit_any_agreement():
    neutral = (1).to_bytes(32, "little")
    forged = neutral + bytes(32)
    for payload in (b"for 10 rows", b"for 10,000 rows"):
        Ed25519PublicKey.from_public_bytes(neutral).verify(
            forged, tagged_hash(Purpose.AGREEMENT.value, payload)
        )
        with pytest.raises(SignatureError):
            verify(neutral, Purpose.AGREEMENT, payload, forged)


@pytest.mark.parametrize("excess", range(19))
def test_a_second_spelling_of_a_key_is_refused(excess):
    with pytest.raises(SignatureError, match="canonical"):
        check_public_key((P + excess).to_bytes(32, "little"))


def test_bytes_that_are_no_point_verify_nothing():
    no_point = next(y for y in range(2, 100) if point_with_y(y) == NEUTRAL).to_bytes(32, "little")
    with pytest.raises(SignatureError):
        verify(no_point, Purpose.AGREEMENT, PAYLOAD, sign(KEY, Purpose.AGREEMENT, PAYLOAD))


def test_a_signature_over_the_bare_payload_is_not_ours():
    with pytest.raises(SignatureError):
        verify(PUBLIC, Purpose.AGREEMENT, PAYLOAD, KEY.sign(PAYLOAD))
    with pytest.raises(InvalidSignature):
        KEY.public_key().verify(sign(KEY, Purpose.AGREEMENT, PAYLOAD), PAYLOAD)


def flipped(data, bit):
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)

"""Sealing: how a model becomes ciphertexts under the bank's key, bound to one license at one owner.

Everything is derived, so that an auditor who is shown model and salt seals again and compares:

    ctx     what the sealing is bound to, drawn up by the node after all else is fixed
    key     HKDF(salt, H(model digest, weights), ctx): another model, license or nonce is other randomness
    s, e_j  SHAKE256 of the key;  a_j  SHAKE256 of ctx, known to both sides
    c0_j    round(q·w_j·2^scale/t) + e_j − a_j·s  for every licensed column, zeros too, then for the blinds

Only c0 and the commitment leave the bank. Source: docs/spec/sealing.md.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

from sealed import ring
from sealed.encoding import bytes32, text, u32
from sealed.errors import FieldError, ScoreRangeError, WeightError
from sealed.profiles import Profile
from sealed.ring import Residues, Spectrum
from sealed.sampling import binomial, shake_stream, ternary, uniform_q
from wire.framing import tagged_hash

KINDS = frozenset({"named", "hidden", "total", "aggregate", "labels"})
"""Kinds of query that evaluate a sealed model."""

_SEPARATOR = "\x1f"


@dataclass(frozen=True, slots=True, eq=False)
class Secret:
    """A bank's secret key for one sealing: N ternary coefficients, and their spectrum ready for products."""

    coefficients: NDArray[np.int8] = field(repr=False)
    spectrum: Spectrum = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class SealedModel:
    """A sealed model as the bank holds it: `columns` (d + blinds, L, N) travel, `secret` stays."""

    secret: Secret = field(repr=False)
    columns: NDArray[np.uint32] = field(repr=False)

    def packed(self) -> list[bytes]:
        """Return each column's bytes, in order."""
        return [column.astype("<u4").tobytes() for column in self.columns]


def column_label(attribute: str, bin_index: int) -> bytes:
    """Return the label of one licensed column: attribute in NFC UTF-8, 0x1F, the bin's index in ASCII."""
    if _SEPARATOR in attribute:
        raise FieldError("an attribute's name must not contain the separator U+001F")
    if bin_index < 0:
        raise FieldError("a bin's index must not be negative")
    return text("an attribute's name", unicodedata.normalize("NFC", attribute)) + b"\x1f%d" % bin_index


def context(
    profile: Profile,
    *,
    kind: str,
    license_digest: bytes,
    owner: str,
    owner_nonce: bytes,
    sealing: bytes,
    scale: int,
    drop: int,
    columns: Iterable[bytes],
) -> bytes:
    """Return the 32 bytes a sealing is bound to.

    `license_digest` is SHA-256 of the signed license; `owner_nonce` and `sealing` are 32 random bytes each,
    drawn by the node after all else is fixed; `columns` are labels in the specification's order.
    """
    if kind not in KINDS:
        raise FieldError(f"the kind of query must be one of {', '.join(sorted(KINDS))}")
    profile.check_scale(scale, drop)
    return tagged_hash(
        "bourse/seal/v1/ctx",
        profile.name.encode("ascii"),
        kind.encode("ascii"),
        bytes32("the license's digest", license_digest),
        text("the owner's name", owner),
        bytes32("the owner's nonce", owner_nonce),
        bytes32("the sealing's value", sealing),
        u32("scale", scale),
        u32("drop", drop),
        *columns,
    )


def public_a(profile: Profile, ctx: bytes, j: int) -> Residues:
    """Return a_j (L, N), the uniform half of ciphertext j that both sides derive from the context."""
    ctx, index = bytes32("the context", ctx), u32("a column's index", j)
    return uniform_q(
        profile, lambda i: shake_stream("bourse/seal/v1/a", ctx, index, u32("a prime's index", i))
    )


def model_digest(model: bytes) -> bytes:
    """Return the digest of a model's canonical bytes. Unsalted: it never leaves the bank."""
    return tagged_hash("bourse/model/v1", model)


def commitment(digest: bytes, salt: bytes) -> bytes:
    """Return the bank's commitment to a model: its digest under the sealing's 32-byte salt."""
    return tagged_hash(
        "bourse/seal/v1/commitment", bytes32("the model's digest", digest), bytes32("the salt", salt)
    )


def c0_digest(columns: Iterable[bytes]) -> bytes:
    """Return the digest of all packed columns of a sealed model, in order."""
    return tagged_hash("bourse/seal/v1/c0", *columns)


def largest_score(weights_by_attribute: Iterable[Sequence[int]]) -> int:
    """Return the largest |score| of a scorecard, whose rows fall in exactly one bin of each attribute."""
    groups = [(min(weights), max(weights)) for weights in weights_by_attribute]
    return max(sum(high for _, high in groups), -sum(low for low, _ in groups), 0)


def check_range(profile: Profile, scale: int, largest: int) -> None:
    """Raise `ScoreRangeError` when a model's largest |score| would not open exactly."""
    limit = profile.max_score(scale)
    if largest > limit:
        raise ScoreRangeError(
            f"the model's largest |score| exceeds {limit}, what {profile.name} carries at scale {scale}: "
            "divide the points by a common factor, or license a smaller drop"
        )


def derive_secret(profile: Profile, weights: Sequence[int], digest: bytes, salt: bytes, ctx: bytes) -> Secret:
    """Return the secret key of a sealing, all that opening its blocks needs; arguments as for `seal`."""
    return _secret(profile, _key(weights, digest, salt, ctx))


def seal(
    profile: Profile, weights: Sequence[int], digest: bytes, salt: bytes, ctx: bytes, scale: int
) -> SealedModel:
    """Seal d integer weights, zeros included, one per licensed column, then `profile.blinds` zeros.

    `digest` is the model's digest, `salt` 32 bytes fresh per sealing. Deterministic. Raises `WeightError` for
    a weight beyond 64 bits; the range of whole scores is for `check_range`.
    """
    profile.check_scale(scale, drop=0)
    key = _key(weights, digest, salt, ctx)
    secret = _secret(profile, key)
    columns = np.empty((len(weights) + profile.blinds, len(profile.primes), profile.N), dtype=np.uint32)
    for j, weight in enumerate([*weights, *[0] * profile.blinds]):
        masked = ring.polynomial(
            profile,
            ring.product(profile, ring.spectrum(profile, public_a(profile, ctx, j)), secret.spectrum),
        )
        error = binomial(profile, shake_stream("bourse/seal/v1/e", key, u32("a column's index", j)))
        message = ring.residues_of(profile, error)
        message[:, 0] = [(_level(profile, weight, scale) + int(error[0])) % p for p in profile.primes]
        columns[j] = ring.subtract(profile, message, masked)
    return SealedModel(secret, columns)


def _level(profile: Profile, weight: int, scale: int) -> int:
    """round(q·weight·2^scale/t), halves up."""
    return (2 * profile.q * (weight << scale) + profile.t) // (2 * profile.t)


def _key(weights: Sequence[int], digest: bytes, salt: bytes, ctx: bytes) -> bytes:
    """Return the sealing's key, bound to salt, model digest, the weights themselves and the context."""
    bound = tagged_hash(
        "bourse/seal/v1/model", bytes32("the model's digest", digest), *map(_signed64, weights)
    )
    info = b"bourse/seal/v1/key" + bytes32("the context", ctx)
    return HKDF(SHA256(), length=32, salt=bytes32("the salt", salt), info=info).derive(bound)


def _signed64(weight: int) -> bytes:
    try:
        return weight.to_bytes(8, "big", signed=True)
    except OverflowError:
        raise WeightError("a weight must fit a signed 64-bit integer") from None


def _secret(profile: Profile, key: bytes) -> Secret:
    coefficients = ternary(profile, shake_stream("bourse/seal/v1/s", key))
    residues = ring.residues_of(profile, coefficients.astype(np.int64))
    return Secret(coefficients, ring.spectrum(profile, residues))

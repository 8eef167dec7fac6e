"""Bytes of what travels: sealed columns, sealed blocks and released values, little-endian in C order.

Parsers take foreign bytes: exact length, every value in its range, or a typed error.
Source: docs/spec/sealing.md, docs/spec/block.md, docs/spec/release.md.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

from sealed.errors import BlockFormatError, ColumnFormatError, ReleaseFormatError, SealedError
from sealed.profiles import Profile
from sealed.ring import Residues

Block = NDArray[np.uint64]
"""Shape (2, L, N): the residues of a sealed block's two polynomials."""


def pack(residues: NDArray[np.uint64]) -> bytes:
    """Return residues (..., L, N) as u32le in C order."""
    packed: bytes = residues.astype("<u4").tobytes()
    return packed


def parse_column(profile: Profile, data: bytes) -> Residues:
    """Return the residues (L, N) of one sealed column, or raise `ColumnFormatError`."""
    column: Residues = _parse(profile, data, "a sealed column", ColumnFormatError)[0]
    return column


def unpack(profile: Profile, data: bytes) -> Block:
    """Return the residues (2, L, N) of a sealed block, or raise `BlockFormatError`."""
    return _parse(profile, data, "a sealed block", BlockFormatError, polynomials=2)


def _parse(
    profile: Profile, data: bytes, what: str, error: type[SealedError], polynomials: int = 1
) -> NDArray[np.uint64]:
    expected = polynomials * profile.column_bytes
    if len(data) != expected:
        raise error(f"{what} under {profile.name} is exactly {expected} bytes, not {len(data)}")
    residues = np.frombuffer(data, dtype="<u4").reshape(polynomials, len(profile.primes), profile.N)
    outside = residues >= np.array(profile.primes, dtype=np.uint32)[:, None]
    if outside.any():
        prime = int(np.argwhere(outside)[0][1])
        raise error(f"{what} holds a residue that is not below prime {prime} of {profile.name}")
    parsed: NDArray[np.uint64] = residues.astype(np.uint64)
    return parsed


def block_digest(packed: bytes) -> bytes:
    """Return SHA-256 of a packed block: what a release request and its trade record name."""
    return hashlib.sha256(packed).digest()


def released_width(profile: Profile) -> int:
    """Return the bytes of one released value: 4 up to 32 bits of t, else 8."""
    return 4 if profile.log_t <= 32 else 8


def pack_released(profile: Profile, values: NDArray[np.int64], drop: int) -> bytes:
    """Return released values (k,) as u32le (`score-v1`) or u64le (`wide-v1`)."""
    bits = profile.bits_per_row(drop)
    if values.size and (values.min() < 0 or values.max() >= 1 << bits):
        raise ReleaseFormatError(f"a released value has at most {bits} bits at drop {drop}")
    return values.astype(f"<u{released_width(profile)}").tobytes()


def parse_released(profile: Profile, data: bytes, count: int, drop: int) -> NDArray[np.int64]:
    """Return `count` released values of at most log_t − drop bits each, or raise `ReleaseFormatError`."""
    width, bits = released_width(profile), profile.bits_per_row(drop)
    if len(data) != count * width:
        raise ReleaseFormatError(
            f"{count} released values are exactly {count * width} bytes, not {len(data)}"
        )
    values = np.frombuffer(data, dtype=f"<u{width}")
    if (values >= 1 << bits).any():
        raise ReleaseFormatError(f"a released value has at most {bits} bits at drop {drop}")
    return values.astype(np.int64)

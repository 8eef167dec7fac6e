"""Blocks: evaluating a sealed model on gathered rows, and opening what a release pays for.

    key    = H(seed, ctx, digest of c0, place): other inputs never meet an old mask
    block  = Σ W_j·X_j + Σ Z_i·U_i + (B, 0)   with U_i, B from the key; worthless without the mask
    m      = round(t·B/q) mod t               stays at the node
    h_n    = m_n >> drop                      leaves it, row by row, at a release
    score  = centered((round(t·(c0 + c1·s)/q) − h·2^drop) mod t) >> drop

`evaluate` is the plain witness in numpy: what every engine reproduces byte for byte, what auditors replay.
Source: docs/spec/block.md, docs/spec/release.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sealed import ring
from sealed.encoding import bytes32, text, u32
from sealed.errors import GatherError, RowsError, ScaleError
from sealed.packing import Block, pack
from sealed.profiles import Profile
from sealed.ring import Residues
from sealed.sampling import BLIND_BITS, aes_stream, blind, uniform_q
from sealed.sealing import Secret, c0_digest, public_a
from wire.framing import tagged_hash

COEFFICIENT_LIMIT = 1 << (BLIND_BITS - 1)
"""Gathered values lie in [−2^28, 2^28), as blinding coefficients do."""


Rows = Sequence[int] | NDArray[np.integer]
"""Coefficients of a block: strictly rising, inside the gathered rows."""


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """A sealed block (2, L, N), and the mask (K,) of its K rows in [0, t), which stays at the node."""

    block: Block = field(repr=False)
    mask: NDArray[np.int64] = field(repr=False)


def place(job: str, block: int, revision_digest: bytes, withdrawals: int, rows_digest: bytes) -> bytes:
    """Return the 32 bytes that say which inputs a block is made of.

    `withdrawals` counts those applied so far, so that changed records never meet an old mask.
    """
    return tagged_hash(
        "bourse/seal/v1/place",
        text("the job's name", job),
        u32("a block's number", block),
        bytes32("the revision's digest", revision_digest),
        u32("the number of withdrawals", withdrawals),
        bytes32("the digest of the row list", rows_digest),
    )


def block_key(seed: bytes, ctx: bytes, digest: bytes, where: bytes) -> bytes:
    """Return a block's key; `digest` is that of c0, `where` the block's place, all 32 bytes."""
    return tagged_hash(
        "bourse/seal/v1/block",
        bytes32("the block's seed", seed),
        bytes32("the context", ctx),
        bytes32("the digest of c0", digest),
        bytes32("the block's place", where),
    )


def blind_polynomial(profile: Profile, key: bytes, i: int) -> NDArray[np.int64]:
    """Return U_i (N,), what the block with this key multiplies encryption of zero i by."""
    return blind(profile, aes_stream(tagged_hash("bourse/seal/v1/U", key, u32("a blind's index", i))))


def mask_polynomial(profile: Profile, key: bytes) -> Residues:
    """Return B (L, N), uniform over the whole of R_q."""
    return uniform_q(
        profile, lambda i: aes_stream(tagged_hash("bourse/seal/v1/B", key, u32("a prime's index", i)))
    )


def mask_of(
    profile: Profile, seed: bytes, ctx: bytes, digest: bytes, where: bytes, rows: int
) -> NDArray[np.int64]:
    """Return the mask (rows,) of a block from its seed alone, all that a node needs to keep."""
    if not 1 <= rows <= profile.N:
        raise GatherError(f"a block gathers between 1 and {profile.N} rows")
    mask = mask_polynomial(profile, block_key(seed, ctx, digest, where))
    return ring.rounded(profile, mask[:, :rows])


def evaluate(
    profile: Profile,
    columns: Sequence[Residues],
    ctx: bytes,
    gathered: NDArray[np.integer],
    seed: bytes,
    where: bytes,
) -> Evaluation:
    """Multiply sealed `columns` (d + blinds of shape (L, N), parsed) into `gathered` values (d, K).

    Gathered values are integers in [−2^28, 2^28) of licensed rows only. `seed` is 32 bytes fresh per block.
    """
    _check_gathered(profile, len(columns), gathered)
    digest = c0_digest(pack(column) for column in columns)
    key = block_key(seed, ctx, digest, where)
    padded = np.pad(gathered.astype(np.int64), ((0, 0), (0, profile.N - gathered.shape[1])))
    polynomials = [*padded, *(blind_polynomial(profile, key, i) for i in range(profile.blinds))]
    sums = [np.zeros_like(ring.spectrum(profile, columns[0])) for _ in range(2)]
    for j, (column, coefficients) in enumerate(zip(columns, polynomials, strict=True)):
        factor = ring.spectrum(profile, ring.residues_of(profile, coefficients))
        sums[0] += ring.product(profile, ring.spectrum(profile, column), factor)
        sums[1] += ring.product(profile, ring.spectrum(profile, public_a(profile, ctx, j)), factor)
    c0, c1 = (ring.polynomial(profile, total) for total in sums)
    mask = mask_polynomial(profile, key)
    rows = gathered.shape[1]
    return Evaluation(np.stack([ring.add(profile, c0, mask), c1]), ring.rounded(profile, mask[:, :rows]))


def release(mask: NDArray[np.int64], rows: Rows, drop: int) -> NDArray[np.int64]:
    """Return the top bits of the mask at `rows`, all that opens.

    Raises `RowsError` unless the rows are strictly rising and inside the gathered ones.
    """
    if drop < 0:
        raise ScaleError("drop must not be negative")
    released: NDArray[np.int64] = mask[_checked_rows(rows, len(mask))] >> drop
    return released


def phase(profile: Profile, block: Block, secret: Secret, rows: Rows) -> NDArray[np.int64]:
    """Return round(t·(c0 + c1·s)/q) mod t at `rows`: scores still under their masks."""
    factor = ring.product(profile, ring.spectrum(profile, block[1]), secret.spectrum)
    decrypted = ring.add(profile, block[0], ring.polynomial(profile, factor))
    return ring.rounded(profile, decrypted[:, _checked_rows(rows, profile.N)])


def centered(profile: Profile, values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return values modulo t in [−t/2, t/2)."""
    half = profile.t // 2
    return (values + half) % profile.t - half


def open_rows(
    profile: Profile,
    block: Block,
    secret: Secret,
    released: NDArray[np.int64],
    rows: Rows,
    drop: int,
) -> NDArray[np.int64]:
    """Return the signed scores of `rows`, given the values released for them in the same order.

    Exact when |score| ≤ `profile.max_score(drop)`; the dropped low bits absorb the rest of the mask.
    """
    if len(released) != len(rows):
        raise RowsError(f"{len(rows)} rows were asked for and {len(released)} values released")
    return centered(profile, phase(profile, block, secret, rows) - (released << drop)) >> drop


def _check_gathered(profile: Profile, columns: int, gathered: NDArray[np.integer]) -> None:
    if gathered.ndim != 2 or columns != gathered.shape[0] + profile.blinds:
        raise GatherError(
            f"the sealed model has {columns} columns and must have {profile.blinds} more than are gathered"
        )
    if not 1 <= gathered.shape[1] <= profile.N:
        raise GatherError(f"a block gathers between 1 and {profile.N} rows")
    if gathered.size and (gathered.min() < -COEFFICIENT_LIMIT or gathered.max() >= COEFFICIENT_LIMIT):
        raise GatherError("gathered values must lie in [−2^28, 2^28): use a coarser fixed-point scale")


def _checked_rows(rows: Rows, limit: int) -> NDArray[np.int64]:
    indices = np.asarray(rows, dtype=np.int64)
    if not indices.size or indices.ndim != 1:
        raise RowsError("name at least one row to open")
    if indices[0] < 0 or indices[-1] >= limit or (np.diff(indices) <= 0).any():
        raise RowsError(f"rows to open must be strictly rising and lie in 0 to {limit - 1}")
    return indices

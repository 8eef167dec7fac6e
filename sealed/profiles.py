"""Profiles: the rings in which scores are sealed, and the scores each can carry.

A ciphertext lives in R_q = Z_q[x]/(x^N + 1), where q is a product of primes below 2^30 that are 1 modulo 2N;
row n of a block is coefficient n. Scores live modulo t = 2^log_t. Both profiles stay inside 128-bit security
(log q ≤ 214 at N = 8192, also against quantum attackers at ≤ 161). Source: docs/spec/sealing.md.
"""

import math
from dataclasses import dataclass

from sealed.errors import ScaleError, UnknownProfileError

RESIDUE_BYTES = 4


@dataclass(frozen=True, slots=True)
class Profile:
    """One choice of ring. `primes` in falling order, `blinds` encryptions of zero per sealed model."""

    name: str
    primes: tuple[int, ...]
    log_t: int
    blinds: int = 10
    N: int = 8192

    @property
    def q(self) -> int:
        """The ciphertext modulus, the product of the primes."""
        return math.prod(self.primes)

    @property
    def t(self) -> int:
        """The plaintext modulus, 2^log_t."""
        return 1 << self.log_t

    @property
    def column_bytes(self) -> int:
        """Length of one sealed column as it travels: a u32 per prime and coefficient."""
        return len(self.primes) * self.N * RESIDUE_BYTES

    @property
    def block_bytes(self) -> int:
        """Length of one sealed block as it travels: two polynomials."""
        return 2 * self.column_bytes

    def check_scale(self, scale: int, drop: int) -> None:
        """Raise `ScaleError` unless 0 ≤ drop ≤ scale < log_t − 1."""
        if not 0 <= drop <= scale < self.log_t - 1:
            raise ScaleError(
                f"{self.name} needs 0 ≤ drop ≤ scale ≤ {self.log_t - 2}: "
                "license a smaller drop or fewer owners"
            )

    def max_score(self, scale: int) -> int:
        """Return the largest |score| that opens exactly when `scale` zero bits lie below the weights."""
        self.check_scale(scale, drop=0)
        return (1 << (self.log_t - 1 - scale)) - 1

    def bits_per_row(self, drop: int) -> int:
        """Return how many bits one opening releases when it drops `drop`."""
        self.check_scale(drop, drop)
        return self.log_t - drop

    def scale_for(self, drop: int, owners: int) -> int:
        """Return drop + ⌈log2 owners⌉: the low parts of all owners' masks together stay below 2^scale."""
        if owners < 1:
            raise ScaleError("a score has at least one owner")
        scale = drop + (owners - 1).bit_length()
        self.check_scale(scale, drop)
        return scale


SCORE_V1 = Profile("score-v1", (1073692673, 1073643521, 1073479681, 1073430529), log_t=20)
WIDE_V1 = Profile("wide-v1", (*SCORE_V1.primes, 1073299457), log_t=40)

PROFILES = {profile.name: profile for profile in (SCORE_V1, WIDE_V1)}


def profile_named(name: str) -> Profile:
    """Return the profile of that name, or raise `UnknownProfileError`."""
    try:
        return PROFILES[name]
    except KeyError:
        raise UnknownProfileError(f"the profile must be one of {', '.join(PROFILES)}") from None

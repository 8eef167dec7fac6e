"""Licenses: which agreements a node honors, and while they are in force.

The three signatures prove what was agreed; the pins prove that it was agreed about this node, with the
steward and the exchange it is configured for, and about a revision that it holds. A license that passes needs
nothing else to be enforced. Each check is one function that raises.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from compute.domain.errors import ClauseRefusedError, LicenseRefusedError, RoleError, SignatureRefusedError
from compute.domain.signed import Signed, require_signatures
from sealed.errors import ScaleError, UnknownProfileError
from sealed.profiles import SCORE_V1, Profile, profile_named
from wire.signing import Purpose

AGREEMENT_VERSION: Final = 1
# Each bin is a sealed column of 128 KiB, kept for every model, hashed and evaluated as a whole.
MAX_BINS_LICENSED: Final = 2048


class QueryKind(StrEnum):
    """The kinds of query that this node evaluates, as they stand in a sealing's context."""

    NAMED = "named"


@dataclass(frozen=True)
class Terms:
    """What a license allows. `query_kinds` holds the kinds this version knows; times are UTC."""

    columns: tuple[str, ...]
    query_kinds: frozenset[QueryKind]
    profile: str
    drop: int
    max_rows: int
    max_openings_per_entity: int
    max_models: int
    max_bits: int
    valid_from: datetime
    valid_until: datetime


@dataclass(frozen=True)
class LicensedColumn:
    """One licensed attribute and the number of its bins, the missing bin included."""

    name: str
    bins: int


@dataclass(frozen=True)
class Agreement:
    """The agreement that provider, bank and exchange signed; keys are 32 bytes of Ed25519."""

    version: int
    license: str
    dataset: str
    revision: int
    revision_digest: bytes
    provider: str
    bank: str
    exchange: str
    scenario: str
    terms: Terms
    columns: tuple[LicensedColumn, ...]
    participants: tuple[str, ...]
    steward_key: bytes
    node_key: bytes
    bank_key: bytes
    exchange_key: bytes

    @property
    def profile(self) -> Profile:
        """The sealed query's profile by value."""
        return profile_named(self.terms.profile)

    @property
    def bits_per_row(self) -> int:
        """Bits that the opening of one row is charged."""
        return self.profile.bits_per_row(self.terms.drop)


@dataclass(frozen=True)
class Pins:
    """What this node is and whom it trusts: `provider` is `parties/{party}`, keys are 32 bytes of Ed25519.

    `node_keys` are the node's signing keys, the present one and those retired: a license keeps what it pins.
    """

    provider: str
    node_keys: frozenset[bytes]
    steward_keys: frozenset[bytes]
    exchange_key: bytes
    origin: str


@dataclass(frozen=True)
class PublishedColumn:
    """One attribute of a revision that the node holds, and the number of its bins."""

    name: str
    bins: int


def require_bank_of(agreement: Agreement, party: str) -> None:
    """Raise RoleError unless `party` is the licensee."""
    if agreement.bank != party:
        raise RoleError("only the bank that holds the license may open a sealing under it")


def require_known_version(agreement: Agreement) -> None:
    """Raise LicenseRefusedError for a format that this version does not know."""
    if agreement.version != AGREEMENT_VERSION:
        raise LicenseRefusedError(f"agreement.version: must be {AGREEMENT_VERSION}; upgrade the node")


def require_three_signatures(signed: Signed, agreement: Agreement) -> None:
    """Raise LicenseRefusedError unless steward, bank and exchange all signed these exact bytes."""
    keys = {
        "provider": agreement.steward_key,
        "bank": agreement.bank_key,
        "exchange": agreement.exchange_key,
    }
    try:
        require_signatures(signed, Purpose.AGREEMENT, keys)
    except SignatureRefusedError as error:
        raise LicenseRefusedError(f"agreement.{error}") from error


def require_honored_steward(agreement: Agreement, steward_keys: Collection[bytes]) -> None:
    """Raise LicenseRefusedError unless the steward's key is one that this node is told to honor."""
    if agreement.steward_key not in steward_keys:
        raise LicenseRefusedError(
            "agreement.steward_key: not one that this node honors; its provider adds it to steward_keys"
        )


def require_own_exchange(agreement: Agreement, pins: Pins) -> None:
    """Raise LicenseRefusedError unless the exchange is the one that this node records at."""
    if agreement.exchange != pins.origin or agreement.exchange_key != pins.exchange_key:
        raise LicenseRefusedError(
            "agreement.exchange: not the exchange, or not its key, that this node is configured for"
        )


def require_own_node(agreement: Agreement, pins: Pins) -> None:
    """Raise LicenseRefusedError unless provider and node key are this node's own."""
    if agreement.provider != pins.provider:
        raise LicenseRefusedError("agreement.provider: another provider's license; ask that provider's node")
    if agreement.node_key not in pins.node_keys:
        raise LicenseRefusedError(
            "agreement.node_key: not a signing key of this node; negotiate a license with the one registered"
        )


def require_alone(agreement: Agreement, pins: Pins) -> None:
    """Raise LicenseRefusedError unless this provider is the one participant: named queries have no other."""
    if agreement.participants != (pins.provider,):
        raise LicenseRefusedError("agreement.participants: a named query's one participant is the provider")


def require_enforceable_terms(terms: Terms) -> Profile:
    """Return the profile, or raise LicenseRefusedError for terms that this node cannot enforce."""
    try:
        profile = profile_named(terms.profile)
        profile.check_scale(terms.drop, terms.drop)
    except (UnknownProfileError, ScaleError) as error:
        raise LicenseRefusedError(f"agreement.terms: {error}") from error
    if profile is not SCORE_V1:
        raise LicenseRefusedError(f"agreement.terms.profile: this node evaluates {SCORE_V1.name} alone")
    return profile


def require_bounded_model(agreement: Agreement) -> None:
    """Raise LicenseRefusedError when a model would have more sealed columns than a node has memory for."""
    bins = sum(column.bins for column in agreement.columns)
    if bins > MAX_BINS_LICENSED:
        raise LicenseRefusedError(
            f"agreement.columns: {bins} bins together, at most {MAX_BINS_LICENSED} are honored; license fewer"
        )


def require_licensed_columns(agreement: Agreement, published: Sequence[PublishedColumn]) -> None:
    """Raise LicenseRefusedError unless the licensed columns are the terms', each once, and the revision's."""
    names = tuple(column.name for column in agreement.columns)
    if not names or names != agreement.terms.columns or len(set(names)) != len(names):
        raise LicenseRefusedError("agreement.columns: must be the terms' columns, in order, each once")
    bins = {column.name: column.bins for column in published}
    for column in agreement.columns:
        if bins.get(column.name) != column.bins:
            raise LicenseRefusedError(
                "agreement.columns: a column or its number of bins is not the revision's; license it anew"
            )


def require_revision(agreement: Agreement, revision_digest: bytes | None) -> None:
    """Raise LicenseRefusedError unless this node holds the licensed revision with this very digest."""
    if revision_digest is None or revision_digest != agreement.revision_digest:
        raise LicenseRefusedError(
            "agreement.revision: this node holds none of this number and digest; license one it published"
        )


def require_kind_licensed(terms: Terms, kind: QueryKind) -> None:
    """Raise ClauseRefusedError unless the license allows this kind of query."""
    if kind not in terms.query_kinds:
        raise ClauseRefusedError(
            "query_kinds",
            ", ".join(sorted(terms.query_kinds)) or "none that this node knows",
            kind.value,
            f"Negotiate a license that allows {kind.value} queries.",
        )


def require_in_force_for_sealing(terms: Terms, now: datetime) -> None:
    """Raise LicenseRefusedError unless the license is in force: else no sealing is opened under it."""
    try:
        require_in_force(terms, now)
    except ClauseRefusedError as error:
        raise LicenseRefusedError(f"agreement.terms: not in force; {error.way_out}") from error


def require_honored(signed: Signed, agreement: Agreement, pins: Pins, now: datetime) -> None:
    """Raise LicenseRefusedError unless the agreement is one for this node, whole, signed and in force.

    What remains to be checked is the revision: `require_revision`, `require_licensed_columns`.
    """
    require_known_version(agreement)
    require_own_node(agreement, pins)
    require_own_exchange(agreement, pins)
    require_honored_steward(agreement, pins.steward_keys)
    require_three_signatures(signed, agreement)
    require_alone(agreement, pins)
    require_enforceable_terms(agreement.terms)
    require_bounded_model(agreement)
    require_in_force_for_sealing(agreement.terms, now)


def require_in_force(terms: Terms, now: datetime) -> None:
    """Raise ClauseRefusedError unless valid_from <= now < valid_until."""
    if now < terms.valid_from:
        raise ClauseRefusedError(
            "valid_from",
            f"{terms.valid_from:%Y-%m-%d %H:%M:%S} UTC",
            f"{now:%Y-%m-%d %H:%M:%S} UTC",
            "Wait until the license is in force.",
        )
    if now >= terms.valid_until:
        raise ClauseRefusedError(
            "valid_until",
            f"{terms.valid_until:%Y-%m-%d %H:%M:%S} UTC",
            f"{now:%Y-%m-%d %H:%M:%S} UTC",
            "Negotiate a new license.",
        )

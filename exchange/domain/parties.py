"""Parties: who trades here, through which members, with which signing keys.

A party is active or suspended and nothing else. At most one key of a purpose is in use; a key that was
ever registered, by anyone, is never registered again.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from exchange.domain.errors import PartyStateError, SigningKeyUnusableError, refuse_invalid
from exchange.domain.records import Receipt
from exchange.domain.states import StateMachine, Transition
from exchange.domain.texts import text_violations
from wire.identity import IdentityError, check_name


class PartyKind(StrEnum):
    """What a party is; the values are the kinds of certificates."""

    PROVIDER = "provider"
    BANK = "bank"
    REGULATOR = "regulator"
    OPERATOR = "operator"


class Role(StrEnum):
    """What a member of a party may do."""

    ADMINISTRATOR = "administrator"
    COMPLIANCE_OFFICER = "compliance_officer"
    STEWARD = "steward"
    NODE = "node"
    ANALYST = "analyst"
    AUDITOR = "auditor"


class PartyState(StrEnum):
    """The state of a party."""

    ACTIVE = "active"
    SUSPENDED = "suspended"


class KeyPurpose(StrEnum):
    """What a signing key signs."""

    STEWARD = "steward"
    NODE = "node"
    BANK = "bank"


ROLES_OF_KIND: Final = {
    PartyKind.PROVIDER: frozenset({Role.STEWARD, Role.NODE}),
    PartyKind.BANK: frozenset({Role.ANALYST}),
    PartyKind.REGULATOR: frozenset({Role.AUDITOR}),
    PartyKind.OPERATOR: frozenset({Role.ADMINISTRATOR, Role.COMPLIANCE_OFFICER}),
}
PURPOSES_OF_KIND: Final = {
    PartyKind.PROVIDER: frozenset({KeyPurpose.STEWARD, KeyPurpose.NODE}),
    PartyKind.BANK: frozenset({KeyPurpose.BANK}),
    PartyKind.REGULATOR: frozenset[KeyPurpose](),
    PartyKind.OPERATOR: frozenset[KeyPurpose](),
}
PARTY_STATES: Final = StateMachine(
    "party",
    (
        Transition("suspend", frozenset({PartyState.ACTIVE}), PartyState.SUSPENDED),
        Transition("reinstate", frozenset({PartyState.SUSPENDED}), PartyState.ACTIVE),
    ),
    PartyStateError,
)


MAX_MEMBERS: Final = 64
MAX_DISPLAY_NAME: Final = 200
MAX_HOST: Final = 253
# A DNS name or IPv4 address, or an IPv6 address in brackets.
_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\]")
_PORT: Final = re.compile(r"[1-9][0-9]{0,4}")


@dataclass(frozen=True)
class Member:
    """One certificate identity of a party: the last segment of its URI, and what it may do."""

    member: str
    roles: frozenset[Role]


@dataclass(frozen=True)
class SigningKey:
    """One Ed25519 key, 32 bytes, with the signature that proved its possession; in use until retired."""

    purpose: KeyPurpose
    public_key: bytes
    possession: bytes
    register_time: datetime
    retire_time: datetime | None = None


@dataclass(frozen=True)
class Party:
    """A registered party. `keys` are the newest first; `version` grows by one with every change."""

    party: str
    display_name: str
    kind: PartyKind
    state: PartyState
    members: tuple[Member, ...]
    keys: tuple[SigningKey, ...]
    node_address: str
    version: int
    create_time: datetime
    update_time: datetime
    receipt: Receipt | None = None

    def moved(self, verb: str, now: datetime) -> "Party":
        """Return the party after `suspend` or `reinstate`; raises PartyStateError when it is so already."""
        return self._changed(now, state=PARTY_STATES.after(verb, self.state))

    def described(
        self, now: datetime, *, display_name: str, members: tuple[Member, ...], node_address: str
    ) -> "Party":
        """Return the party with these values; raises PartyStateError when nobody could undo it."""
        if self.kind is PartyKind.OPERATOR and not _administered(members):
            raise PartyStateError("the operator must keep an administrator, or nobody could add one again")
        return self._changed(now, display_name=display_name, members=members, node_address=node_address)

    def key_in_use(self, purpose: KeyPurpose) -> SigningKey | None:
        return next((key for key in self.keys if key.purpose is purpose and key.retire_time is None), None)

    def pinned_key(self, purpose: KeyPurpose) -> bytes:
        """Return the key in use, 32 bytes, or raise SigningKeyUnusableError."""
        key = self.key_in_use(purpose)
        if key is None:
            raise SigningKeyUnusableError(
                f"{self.party} has no {purpose} key in use; an administrator registers one"
            )
        return key.public_key

    def with_key(self, key: SigningKey) -> "Party":
        """Return the party with `key` in use and its predecessor retired.

        Raises SigningKeyUnusableError when the purpose does not fit the party's kind.
        """
        if key.purpose not in PURPOSES_OF_KIND[self.kind]:
            fitting = ", ".join(sorted(PURPOSES_OF_KIND[self.kind])) or "none"
            raise SigningKeyUnusableError(f"a {self.kind} has no {key.purpose} key; its purposes: {fitting}")
        kept = tuple(_retired(old, key.register_time, old.purpose is key.purpose) for old in self.keys)
        return self._changed(key.register_time, keys=(key, *kept))

    def without_key(self, public_key: bytes, now: datetime) -> "Party":
        """Return the party with that key retired; raises SigningKeyUnusableError when it is not in use."""
        if not any(key.public_key == public_key and key.retire_time is None for key in self.keys):
            raise SigningKeyUnusableError("the party has no such key in use; read the party for those it has")
        keys = tuple(_retired(key, now, key.public_key == public_key) for key in self.keys)
        return self._changed(now, keys=keys)

    def _changed(self, now: datetime, **values: Any) -> "Party":
        return replace(self, version=self.version + 1, update_time=now, **values)


def check_profile(
    field: str, kind: PartyKind, *, display_name: str, members: tuple[Member, ...], node_address: str
) -> None:
    """Raise FieldInvalidError unless these values may describe a party of this kind."""
    refuse_invalid(
        (f"{field}.{path}", what) for path, what in _violations(kind, display_name, members, node_address)
    )


def _violations(
    kind: PartyKind, display_name: str, members: tuple[Member, ...], node_address: str
) -> Iterator[tuple[str, str]]:
    yield from text_violations("display_name", display_name, least=1, most=MAX_DISPLAY_NAME)
    if len(members) > MAX_MEMBERS:
        yield "members", f"must be at most {MAX_MEMBERS}"
    if len({member.member for member in members}) != len(members):
        yield "members", "must name each member once"
    for place, member in enumerate(members):
        try:
            check_name("member", member.member)
        except IdentityError as error:
            yield f"members[{place}].member", str(error).removeprefix("member: ")
        if not member.roles or not member.roles <= ROLES_OF_KIND[kind]:
            fitting = ", ".join(sorted(ROLES_OF_KIND[kind]))
            yield f"members[{place}].roles", f"must be one or more of a {kind}'s: {fitting}"
    if node_address and kind is not PartyKind.PROVIDER:
        yield "node_address", "only a provider has a node; leave it empty"
    if node_address and not _is_address(node_address):
        yield "node_address", "must be host:port, the port 1 to 65535"


def _is_address(text: str) -> bool:
    host, colon, port = text.rpartition(":")
    return bool(
        colon
        and len(host) <= MAX_HOST
        and _HOST.fullmatch(host)
        and _PORT.fullmatch(port)
        and int(port) < 65536
    )


def _retired(key: SigningKey, now: datetime, applies: bool) -> SigningKey:  # noqa: FBT001 - one caller's filter
    return replace(key, retire_time=now) if applies and key.retire_time is None else key


def _administered(members: Iterable[Member]) -> bool:
    return any(Role.ADMINISTRATOR in member.roles for member in members)

"""Who calls: a member of a registered party, and what its roles let it do."""

from collections.abc import Collection
from dataclasses import dataclass

from exchange.domain.errors import CallerSuspendedError, IdentityUnknownError, RoleNotAllowedError
from exchange.domain.parties import Party, PartyKind, PartyState, Role
from wire.identity import Identity


@dataclass(frozen=True)
class Caller:
    """A member of an active party. `identity` is its certificate's URI."""

    identity: str
    party: str
    member: str
    kind: PartyKind
    roles: frozenset[Role]

    @property
    def oversees(self) -> bool:
        """Whether it is an operator or a regulator, who see the whole market."""
        return self.kind in {PartyKind.OPERATOR, PartyKind.REGULATOR}


def admit(identity: Identity, party: Party | None, allowed: Collection[Role]) -> Caller:
    """Return the caller that `identity` stands for, if its party is active and one of its roles allowed.

    Raises IdentityUnknownError, CallerSuspendedError or RoleNotAllowedError, in this order.
    """
    member = next((one for one in party.members if one.member == identity.member), None) if party else None
    if party is None or member is None or party.kind != identity.kind:
        raise IdentityUnknownError(
            "the certificate's party and member are not registered here as its kind; ask the operator"
        )
    if party.state is not PartyState.ACTIVE:
        raise CallerSuspendedError("your party is suspended; ask the operator")
    if not member.roles & frozenset(allowed):
        wanted = " or ".join(sorted(role.replace("_", " ") for role in allowed))
        raise RoleNotAllowedError(f"this call is for: {wanted}")
    return Caller(identity.uri, party.party, member.member, party.kind, member.roles)

"""Who may call what: every method of the node's four services, and nobody else's.

A bank's certificate admits it here; which licenses, sealings and evaluations are its own is decided where
they are found, and those of others do not exist for it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from compute.domain.errors import RoleError
from wire.identity import Identity


class Role(StrEnum):
    """What a caller is to this node."""

    OWN_STEWARD = "a steward of the node's own party"
    BANK = "a member of a bank"


@dataclass(frozen=True)
class Caller:
    """An admitted caller; `party` is `parties/{party}`."""

    uri: str
    party: str
    role: Role


_STEWARD: Final = frozenset({Role.OWN_STEWARD})
_BANK: Final = frozenset({Role.BANK})
_PACKAGE: Final = "/bourse.compute.v1."

RULES: Final[Mapping[str, frozenset[Role]]] = {
    f"{_PACKAGE}PublicationService/CreatePublication": _STEWARD,
    f"{_PACKAGE}PublicationService/GetPublication": _STEWARD,
    f"{_PACKAGE}PublicationService/ListPublications": _STEWARD,
    f"{_PACKAGE}ConsentService/WithdrawConsent": _STEWARD,
    f"{_PACKAGE}SealingService/CreateSealing": _BANK,
    f"{_PACKAGE}SealingService/GetSealing": _BANK,
    f"{_PACKAGE}SealingService/PutSealedColumn": _BANK,
    f"{_PACKAGE}SealingService/AcceptSealing": _BANK,
    f"{_PACKAGE}EvaluationService/CreateEvaluation": _BANK,
    f"{_PACKAGE}EvaluationService/GetEvaluation": _BANK,
    f"{_PACKAGE}EvaluationService/GetBlock": _BANK,
    f"{_PACKAGE}EvaluationService/ReleaseBlock": _BANK,
    f"{_PACKAGE}EvaluationService/GetLicenseUsage": _BANK | _STEWARD,
}


class Authority:
    """The node's rules, with the stewards that it is configured for by their SPIFFE URIs."""

    def __init__(self, provider: str, stewards: Collection[str]) -> None:
        self._provider = provider
        self._stewards = frozenset(stewards)

    async def authorize(self, method: str, identity: Identity) -> Caller | None:
        """Return the caller, or None for a method that no rule speaks of. Raises RoleError."""
        allowed = RULES.get(method)
        if allowed is None:
            return None
        role = self._role_of(identity)
        if role is None or role not in allowed:
            raise RoleError(f"only {' or '.join(sorted(allowed))} may call this")
        return Caller(identity.uri, identity.party_name, role)

    def _role_of(self, identity: Identity) -> Role | None:
        if identity.kind == "bank":
            return Role.BANK
        own = identity.kind == "provider" and identity.party_name == self._provider
        return Role.OWN_STEWARD if own and identity.uri in self._stewards else None

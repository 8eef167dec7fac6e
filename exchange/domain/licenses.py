"""Licenses: negotiated in turns, signed by provider, bank and exchange over the same bytes, then in force.

The agreement's bytes are fixed when the bank accepts. They pin the keys that were in use then; a key
retired before it has signed stops the negotiation, one retired later does not touch the license.

Source: docs/spec/agreement.md; the Dataspace Protocol's contract negotiation for the states.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from exchange.domain.callers import Caller
from exchange.domain.errors import ClauseRefusedError, LicenseStateError
from exchange.domain.records import Receipt
from exchange.domain.signed import SignedBytes
from exchange.domain.states import StateMachine, Transition
from exchange.domain.terms import Terms


class LicenseState(StrEnum):
    """The state of a license."""

    REQUESTED = "requested"
    OFFERED = "offered"
    ACCEPTED = "accepted"
    AGREED = "agreed"
    VERIFIED = "verified"
    ACTIVE = "active"
    TERMINATED = "terminated"


LICENSE_STATES: Final = StateMachine(
    "license",
    (
        Transition("offer", frozenset({LicenseState.REQUESTED}), LicenseState.OFFERED),
        Transition("counter", frozenset({LicenseState.OFFERED}), LicenseState.REQUESTED),
        Transition("accept", frozenset({LicenseState.OFFERED}), LicenseState.ACCEPTED),
        Transition("agree", frozenset({LicenseState.ACCEPTED}), LicenseState.AGREED),
        Transition("verify", frozenset({LicenseState.AGREED}), LicenseState.VERIFIED),
        Transition("finalize", frozenset({LicenseState.VERIFIED}), LicenseState.ACTIVE),
        Transition("terminate", frozenset(LicenseState) - {LicenseState.TERMINATED}, LicenseState.TERMINATED),
    ),
    LicenseStateError,
)
# A reply carries the whole history, so rounds must end; the closing steps are not counted.
MAX_ROUNDS: Final = 64


@dataclass(frozen=True)
class Step:
    """One step of a negotiation; `terms` where the step put them on the table. `actor` is a party's id."""

    state: LicenseState
    actor: str
    time: datetime
    terms: Terms | None = None
    note: str = ""


@dataclass(frozen=True)
class Usage:
    """What the exchange has recorded as used: models deployed, rows and bits charged."""

    models: int = 0
    rows: int = 0
    bits: int = 0


@dataclass(frozen=True)
class Pins:
    """The Ed25519 keys, 32 bytes each, that the agreement names."""

    steward_key: bytes
    node_key: bytes
    bank_key: bytes


@dataclass(frozen=True)
class License:
    """A license and its negotiation. `version` grows with every change of it, not with its usage."""

    license: str
    dataset: str
    revision: int
    revision_digest: bytes
    scenario: str
    provider: str
    bank: str
    state: LicenseState
    terms: Terms
    history: tuple[Step, ...]
    agreement: SignedBytes | None
    pins: Pins | None
    state_reason: str
    usage: Usage
    version: int
    create_time: datetime
    update_time: datetime
    receipt: Receipt | None = None

    def visible_to(self, caller: Caller) -> bool:
        """Whether the caller may see it: its two parties and the overseers."""
        return caller.oversees or caller.party in {self.provider, self.bank}

    def moved(
        self,
        verb: str,
        actor: str,
        now: datetime,
        *,
        terms: Terms | None = None,
        note: str = "",
        reason: str = "",
    ) -> "License":
        """Return it after one of LICENSE_STATES' verbs, with what the verb brought.

        Raises LicenseStateError when the state or the number of rounds does not allow it.
        """
        state = LICENSE_STATES.after(verb, self.state)
        if verb in {"offer", "counter"} and len(self.history) >= MAX_ROUNDS:
            raise LicenseStateError(
                f"the negotiation has taken {MAX_ROUNDS} steps; accept, or terminate and ask anew"
            )
        return replace(
            self,
            state=state,
            state_reason=reason,
            terms=self.terms if terms is None else terms,
            history=(*self.history, Step(state, actor, now, terms, note)),
            version=self.version + 1,
            update_time=now,
        )


def check_not_over(license_: License, now: datetime) -> None:
    """Raise ClauseRefusedError when the terms have run out; a signature would license nothing."""
    if now >= license_.terms.valid_until:
        raise ClauseRefusedError(
            clause="valid_until",
            limit=license_.terms.valid_until.isoformat(),
            asked=now.isoformat(),
            way_out="negotiate a license with a later end",
        )

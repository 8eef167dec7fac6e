"""State machines as data: a table of transitions, so that tests and pages can list every one, and every one
that is not there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from exchange.domain.errors import MarketError

StateT = TypeVar("StateT", bound=StrEnum)


@dataclass(frozen=True)
class Transition(Generic[StateT]):
    """`verb` leads from any of `sources` to `target`; there is one transition per verb."""

    verb: str
    sources: frozenset[StateT]
    target: StateT


@dataclass(frozen=True)
class StateMachine(Generic[StateT]):
    """The transitions of one kind of resource, and the error that a missing one raises."""

    noun: str
    transitions: tuple[Transition[StateT], ...]
    error: Callable[[str], MarketError]

    def after(self, verb: str, state: StateT) -> StateT:
        """Return the state that `verb` leads to from `state`, or raise the machine's error."""
        transition = next(one for one in self.transitions if one.verb == verb)
        if state not in transition.sources:
            allowed = " or ".join(sorted(source.upper() for source in transition.sources))
            raise self.error(f"the {self.noun} is {state.upper()}; to {verb} it, it must be {allowed}")
        return transition.target

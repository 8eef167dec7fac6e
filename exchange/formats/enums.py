"""Enum values at the border: the contract spells a member `PREFIX_MEMBER`, so one rule converts all."""

from enum import StrEnum
from typing import Any, TypeVar

EnumT = TypeVar("EnumT", bound=StrEnum)


def enum_to_pb(wrapper: Any, member: StrEnum) -> Any:
    """Return the contract's value of a domain member; `wrapper` is the generated enum."""
    return wrapper.Value(_prefix(wrapper) + member.name)


def enum_from_pb(wrapper: Any, kind: type[EnumT], value: int) -> EnumT | None:
    """Return the domain member, or None for the unspecified value and those of other versions."""
    descriptor = wrapper.DESCRIPTOR.values_by_number.get(value)
    if descriptor is None:
        return None
    return kind.__members__.get(descriptor.name.removeprefix(_prefix(wrapper)))


def _prefix(wrapper: Any) -> str:
    unspecified: str = wrapper.DESCRIPTOR.values_by_number[0].name
    return unspecified.removesuffix("UNSPECIFIED")

"""Why records cannot be published.

Messages name the field, column or row (counted from 1, the header not counted), the limit and the way out.
They never quote a cell, an identifier or a category of the file, and of a header no name that the steward did
not give.
"""

from collections.abc import Sequence
from typing import ClassVar

Violation = tuple[str, str]
"""A field's path and what is wrong there, with the way out."""


class RecordsError(Exception):
    """Records cannot be published. `reason` is a name of bourse.type.v1.ErrorReason without its prefix."""

    reason: ClassVar[str]


class SpecificationError(RecordsError):
    """The column specification or the file's name is not usable, whatever the file holds; `violations` says
    where.
    """

    reason = "FIELD_INVALID"

    def __init__(self, violations: Sequence[Violation]) -> None:
        super().__init__("; ".join(f"{field}: {problem}" for field, problem in violations))
        self.violations = tuple(violations)


class RecordsUnreadableError(RecordsError):
    """The file cannot be read as the column specification says."""

    reason = "RECORDS_UNREADABLE"


class QualityTooLowError(RecordsError):
    """Too few cells of a column parse."""

    reason = "QUALITY_TOO_LOW"

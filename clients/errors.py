"""Errors of the clients: what another party refused, and what this client itself refuses to go on with.

All carry a stable reason, the place and the way out, and none quotes records, identifiers of persons, keys,
models, points, masks or ciphertexts: a shell's history and a terminal's log are no safe places.
"""

from collections.abc import Sequence

Fields = tuple[tuple[str, str], ...]


class BourseError(Exception):
    """Something was refused. `reason` is stable, for programs; the rest is for people.

    `clause`, `limit`, `asked` and `way_out` are empty except where a clause of a license, or a limit of this
    client, refuses. `fields` are (place, what is wrong there and the way out).
    """

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        clause: str = "",
        limit: str = "",
        asked: str = "",
        way_out: str = "",
        fields: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.clause = clause
        self.limit = limit
        self.asked = asked
        self.way_out = way_out
        self.fields: Fields = tuple(fields)

    def as_dict(self) -> dict[str, object]:
        """Return what is said, without the parts that say nothing: the shape of a command's JSON error."""
        said: dict[str, object] = {
            "reason": self.reason,
            "message": self.message,
            "clause": self.clause,
            "limit": self.limit,
            "asked": self.asked,
            "way_out": self.way_out,
            "fields": [{"field": place, "problem": problem} for place, problem in self.fields],
        }
        return {name: value for name, value in said.items() if value}


class HomeError(BourseError):
    """The home directory, its `bourse.toml` or the identity in it cannot be used."""

    def __init__(self, message: str, *, way_out: str = "", fields: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__("HOME_UNUSABLE", message, way_out=way_out, fields=fields)


class InputError(BourseError):
    """A file or value that the user gave cannot be used as it is; the message names the place."""

    def __init__(
        self,
        message: str,
        *,
        limit: str = "",
        asked: str = "",
        way_out: str = "",
        fields: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__("INPUT_INVALID", message, limit=limit, asked=asked, way_out=way_out, fields=fields)


class ScorecardError(InputError):
    """A scorecard does not fit its format, the published bins, the license or the range of scores."""


class KeystoreError(BourseError):
    """A secret at rest cannot be read or written."""

    def __init__(self, message: str, *, way_out: str = "") -> None:
        super().__init__("KEYSTORE_UNREADABLE", message, way_out=way_out)


class EvidenceError(BourseError):
    """What another party sent does not prove what it must: a signature, a digest, a receipt, an agreement's
    term.

    Never ignored: the step that needed the evidence has not happened.
    """

    def __init__(self, message: str, *, way_out: str = "", fields: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__("EVIDENCE_INVALID", message, way_out=way_out, fields=fields)

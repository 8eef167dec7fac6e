"""What the market refuses, as facts. Each text is fit for the caller: it names the limit and the way out, and
quotes nothing that it was given.
"""

from collections.abc import Iterable


class MarketError(Exception):
    """A fact that refuses what was asked."""


class FieldInvalidError(MarketError):
    """Fields are missing, malformed or out of range; `violations` are (path, what is wrong, the way out)."""

    def __init__(self, *violations: tuple[str, str]) -> None:
        super().__init__("; ".join(f"{path}: {what}" for path, what in violations))
        self.violations = violations


def refuse_invalid(violations: Iterable[tuple[str, str]]) -> None:
    """Raise FieldInvalidError when there are any violations."""
    found = tuple(violations)
    if found:
        raise FieldInvalidError(*found)


class IdentityUnknownError(MarketError):
    """The certificate's party or member is not registered, or is registered as something else."""


class CallerSuspendedError(MarketError):
    """The caller's party is suspended."""


class RoleNotAllowedError(MarketError):
    """The caller's role, or its relation to the resource, does not allow the call."""


class RequestIDReusedError(MarketError):
    """The caller used the request id before, for another request."""


class EtagMismatchError(MarketError):
    """The resource changed since the etag was read."""


class PageTokenInvalidError(MarketError):
    """The page token is malformed, or was made for other arguments."""


class SignatureRefusedError(MarketError):
    """A signature, or the bytes that it covers, is not the one expected."""


class PartyNotFoundError(MarketError):
    """No such party."""


class PartyExistsError(MarketError):
    """A party of this name is registered already."""


class PartyStateError(MarketError):
    """The party is in a state that does not allow this."""


class SigningKeyUnusableError(MarketError):
    """The signing key is unknown, retired, of another purpose, or registered already."""


class DatasetNotFoundError(MarketError):
    """No such dataset or revision, or none that the caller may see."""


class DatasetExistsError(MarketError):
    """A dataset of this name exists already."""


class DatasetStateError(MarketError):
    """The dataset is in a state that does not allow this."""


class DatasetIncompleteError(MarketError):
    """The listing lacks what a submission needs."""


class LicenseNotFoundError(MarketError):
    """No such license, or none that the caller may see."""


class LicenseStateError(MarketError):
    """The license is in a state that does not allow this."""


class ScenarioNotPermittedError(MarketError):
    """The dataset does not permit the scenario."""


class TermNotEnforcedError(MarketError):
    """A term that nothing in this version enforces."""


class ClauseRefusedError(MarketError):
    """A clause of the license refuses."""

    def __init__(self, *, clause: str, limit: str, asked: str, way_out: str) -> None:
        super().__init__(f"the license's {clause} refuses: limit {limit}, asked {asked}; {way_out}")
        self.clause = clause
        self.limit = limit
        self.asked = asked
        self.way_out = way_out


class TradeRecordNotFoundError(MarketError):
    """No such trade record, or none that the caller may see."""


class StatementRefusedError(MarketError):
    """The statement to be recorded does not fit the license or the caller."""

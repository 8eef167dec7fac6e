"""What a node refuses, one type per reason.

Messages name the field, the limit and the way out, never the data.
"""

UNRECORDED = "the exchange has not confirmed the record; nothing has left the node; repeat the same request"


class NodeError(Exception):
    """A node refuses; every error of its domain is one."""


class FieldError(NodeError):
    """A field of a request is missing, malformed or out of range."""

    def __init__(self, field: str, wrong: str) -> None:
        super().__init__(f"{field}: {wrong}")
        self.field = field
        self.wrong = wrong


class RoleError(NodeError):
    """The caller's role, or its relation to the resource, does not allow the call."""


class RequestIdReusedError(NodeError):
    """The request id was used before by this caller for another request."""


class PageTokenError(NodeError):
    """A page token is malformed, or was made for another list."""


class BusyError(NodeError):
    """More calls wait for their ends than the node has room for; nothing was begun."""


class SignatureRefusedError(NodeError):
    """A signature is not what it should be, or not over these bytes."""


class LicenseRefusedError(NodeError):
    """The license is not one that this node can honor."""


class ClauseRefusedError(NodeError):
    """A clause of the license refuses: which, its limit, what was asked, what would satisfy it."""

    def __init__(self, clause: str, limit: str, asked: str, way_out: str) -> None:
        super().__init__(f"The license refuses by {clause}: limit {limit}; asked {asked}. {way_out}")
        self.clause = clause
        self.limit = limit
        self.asked = asked
        self.way_out = way_out


class PublicationNotFoundError(NodeError):
    """No publication has this name."""


class ConsentDatasetNotFoundError(NodeError):
    """The node has no revision of this dataset."""


class SealingNotFoundError(NodeError):
    """The caller's party has no sealing of this name."""


class SealingStateError(NodeError):
    """The sealing is in a state that does not allow this."""


class SealedModelError(NodeError):
    """The sealed model's bytes are not well formed, not complete, or do not match their digest."""


class EvaluationNotFoundError(NodeError):
    """The caller's party has no evaluation or block of this name."""


class BlocksWaitingError(NodeError):
    """Too many blocks of a license were evaluated and never released."""


class EvaluationStateError(NodeError):
    """The evaluation or block is not done, or failed."""


class LicenseNotFoundError(NodeError):
    """The node knows no license of this name that the caller may see."""


class ReleaseRefusedError(NodeError):
    """The release request does not fit the block."""


class ReceiptError(NodeError):
    """The exchange's answer does not prove that our statement was recorded."""


class UnrecordedError(NodeError):
    """The exchange has not answered with a valid receipt: nothing leaves the node until it has."""


class ExchangeRefusedError(NodeError):
    """The exchange refused to record; `status` names its gRPC status, `reason` its ErrorReason.

    `final` says that it looked at this very request and has not recorded it; a refusal of the caller alone
    leaves open what became of an earlier attempt.
    """

    def __init__(
        self, status: str, reason: str, message: str, *, final: bool, clause: ClauseRefusedError | None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.final = final
        self.clause = clause

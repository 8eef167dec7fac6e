"""What callers are told of each refusal: one table, from the domain's errors to status and reason."""

from typing import Final

from grpc import StatusCode

from compute.domain.errors import (
    BlocksWaitingError,
    BusyError,
    ClauseRefusedError,
    ConsentDatasetNotFoundError,
    EvaluationNotFoundError,
    EvaluationStateError,
    ExchangeRefusedError,
    FieldError,
    LicenseNotFoundError,
    LicenseRefusedError,
    PageTokenError,
    PublicationNotFoundError,
    ReleaseRefusedError,
    RequestIdReusedError,
    RoleError,
    SealedModelError,
    SealingNotFoundError,
    SealingStateError,
    SignatureRefusedError,
    UnrecordedError,
)
from compute.records.errors import SpecificationError
from compute.store.database import DatabaseUnavailableError
from wire.rpc import Clause, Refusal

TABLE: Final[dict[type[Exception], tuple[StatusCode, str]]] = {
    FieldError: (StatusCode.INVALID_ARGUMENT, "FIELD_INVALID"),
    SpecificationError: (StatusCode.INVALID_ARGUMENT, "FIELD_INVALID"),
    RoleError: (StatusCode.PERMISSION_DENIED, "ROLE_NOT_ALLOWED"),
    RequestIdReusedError: (StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED"),
    PageTokenError: (StatusCode.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID"),
    SignatureRefusedError: (StatusCode.INVALID_ARGUMENT, "SIGNATURE_INVALID"),
    LicenseRefusedError: (StatusCode.FAILED_PRECONDITION, "LICENSE_REFUSED"),
    LicenseNotFoundError: (StatusCode.NOT_FOUND, "LICENSE_NOT_FOUND"),
    ClauseRefusedError: (StatusCode.FAILED_PRECONDITION, "CLAUSE_REFUSED"),
    PublicationNotFoundError: (StatusCode.NOT_FOUND, "PUBLICATION_NOT_FOUND"),
    ConsentDatasetNotFoundError: (StatusCode.NOT_FOUND, "CONSENT_DATASET_NOT_FOUND"),
    SealingNotFoundError: (StatusCode.NOT_FOUND, "SEALING_NOT_FOUND"),
    SealingStateError: (StatusCode.FAILED_PRECONDITION, "SEALING_STATE"),
    SealedModelError: (StatusCode.INVALID_ARGUMENT, "SEALED_MODEL_INVALID"),
    EvaluationNotFoundError: (StatusCode.NOT_FOUND, "EVALUATION_NOT_FOUND"),
    BlocksWaitingError: (StatusCode.FAILED_PRECONDITION, "BLOCKS_WAITING"),
    EvaluationStateError: (StatusCode.FAILED_PRECONDITION, "EVALUATION_STATE"),
    ReleaseRefusedError: (StatusCode.FAILED_PRECONDITION, "RELEASE_REFUSED"),
    UnrecordedError: (StatusCode.UNAVAILABLE, "RELEASE_UNRECORDED"),
    BusyError: (StatusCode.UNAVAILABLE, "TRY_AGAIN"),
    DatabaseUnavailableError: (StatusCode.UNAVAILABLE, "TRY_AGAIN"),
}


def translate(error: Exception) -> Refusal | None:
    """Return the refusal that stands for `error`, or None when it is not one of the node's own."""
    if isinstance(error, ExchangeRefusedError):
        return _from_exchange(error)
    for kind in type(error).__mro__:
        if kind in TABLE:
            code, reason = TABLE[kind]
            return Refusal(code, reason, str(error), clause=_clause(error), violations=_violations(error))
    return None


def _from_exchange(error: ExchangeRefusedError) -> Refusal:
    """Return the exchange's refusal as it gave it; one of the node itself is not the caller's fault."""
    code = StatusCode[error.status] if error.final else StatusCode.FAILED_PRECONDITION
    return Refusal(code, error.reason, f"The exchange refuses: {error}", clause=_clause(error.clause))


def _clause(error: Exception | None) -> Clause | None:
    if not isinstance(error, ClauseRefusedError):
        return None
    return Clause(error.clause, error.limit, error.asked, error.way_out)


def _violations(error: Exception) -> tuple[tuple[str, str], ...]:
    if isinstance(error, FieldError):
        return ((error.field, error.wrong),)
    if isinstance(error, SpecificationError):
        return error.violations
    return ()

"""One table from what the market refuses to what the network says: status and stable reason.

What is not in the table becomes INTERNAL, with an incident id and nothing else.
"""

from collections.abc import Mapping
from typing import Final

import grpc

from durable import CommitUnknownError, DatabaseUnavailableError
from exchange.domain import errors
from wire.rpc import Clause, Refusal

_Code = grpc.StatusCode

TABLE: Final[Mapping[type[Exception], tuple[grpc.StatusCode, str]]] = {
    errors.IdentityUnknownError: (_Code.UNAUTHENTICATED, "IDENTITY_UNKNOWN"),
    errors.CallerSuspendedError: (_Code.PERMISSION_DENIED, "PARTY_SUSPENDED"),
    errors.RoleNotAllowedError: (_Code.PERMISSION_DENIED, "ROLE_NOT_ALLOWED"),
    errors.FieldInvalidError: (_Code.INVALID_ARGUMENT, "FIELD_INVALID"),
    errors.RequestIDReusedError: (_Code.ALREADY_EXISTS, "REQUEST_ID_REUSED"),
    errors.EtagMismatchError: (_Code.ABORTED, "ETAG_MISMATCH"),
    errors.PageTokenInvalidError: (_Code.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID"),
    errors.SignatureRefusedError: (_Code.INVALID_ARGUMENT, "SIGNATURE_INVALID"),
    errors.PartyNotFoundError: (_Code.NOT_FOUND, "PARTY_NOT_FOUND"),
    errors.PartyExistsError: (_Code.ALREADY_EXISTS, "PARTY_EXISTS"),
    errors.PartyStateError: (_Code.FAILED_PRECONDITION, "PARTY_STATE"),
    errors.SigningKeyUnusableError: (_Code.FAILED_PRECONDITION, "SIGNING_KEY_UNUSABLE"),
    errors.DatasetNotFoundError: (_Code.NOT_FOUND, "DATASET_NOT_FOUND"),
    errors.DatasetExistsError: (_Code.ALREADY_EXISTS, "DATASET_EXISTS"),
    errors.DatasetStateError: (_Code.FAILED_PRECONDITION, "DATASET_STATE"),
    errors.DatasetIncompleteError: (_Code.FAILED_PRECONDITION, "DATASET_INCOMPLETE"),
    errors.LicenseNotFoundError: (_Code.NOT_FOUND, "LICENSE_NOT_FOUND"),
    errors.LicenseStateError: (_Code.FAILED_PRECONDITION, "LICENSE_STATE"),
    errors.ScenarioNotPermittedError: (_Code.FAILED_PRECONDITION, "SCENARIO_NOT_PERMITTED"),
    errors.TermNotEnforcedError: (_Code.FAILED_PRECONDITION, "TERM_NOT_ENFORCED"),
    errors.ClauseRefusedError: (_Code.FAILED_PRECONDITION, "CLAUSE_REFUSED"),
    errors.TradeRecordNotFoundError: (_Code.NOT_FOUND, "TRADE_RECORD_NOT_FOUND"),
    errors.StatementRefusedError: (_Code.FAILED_PRECONDITION, "STATEMENT_REFUSED"),
    DatabaseUnavailableError: (_Code.UNAVAILABLE, "TRY_AGAIN"),
    CommitUnknownError: (_Code.UNAVAILABLE, "TRY_AGAIN"),
}


def refusal_of(error: Exception) -> Refusal | None:
    """Return the refusal that the table has for an error, or None."""
    found = TABLE.get(type(error))
    if found is None:
        return None
    code, reason = found
    return Refusal(
        code,
        reason,
        str(error),
        clause=_clause(error),
        violations=error.violations if isinstance(error, errors.FieldInvalidError) else (),
    )


def _clause(error: Exception) -> Clause | None:
    if not isinstance(error, errors.ClauseRefusedError):
        return None
    return Clause(error.clause, error.limit, error.asked, error.way_out)

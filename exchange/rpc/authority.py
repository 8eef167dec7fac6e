"""Which roles may call which method. A method that is not in the table is refused to everybody.

Whether the caller may do it to *this* resource is for the verb to say.
"""

from collections.abc import Mapping
from typing import Final

from exchange.domain.parties import Role

ANY_MEMBER: Final = frozenset(Role)
_ADMINISTRATOR: Final = frozenset({Role.ADMINISTRATOR})
_OFFICER: Final = frozenset({Role.COMPLIANCE_OFFICER})
_STEWARD: Final = frozenset({Role.STEWARD})
_NODE: Final = frozenset({Role.NODE})
_ANALYST: Final = frozenset({Role.ANALYST})


def _methods(service: str, rules: Mapping[str, frozenset[Role]]) -> dict[str, frozenset[Role]]:
    return {f"/bourse.exchange.v1.{service}/{method}": roles for method, roles in rules.items()}


AUTHORITY: Final[Mapping[str, frozenset[Role]]] = {
    **_methods(
        "PartyService",
        {
            "CreateParty": _ADMINISTRATOR,
            "GetParty": ANY_MEMBER,
            "ListParties": ANY_MEMBER,
            "UpdateParty": _ADMINISTRATOR,
            "SuspendParty": _ADMINISTRATOR,
            "ReinstateParty": _ADMINISTRATOR,
            "RegisterSigningKey": _ADMINISTRATOR,
            "RetireSigningKey": _ADMINISTRATOR,
            "GetExchange": ANY_MEMBER,
        },
    ),
    **_methods(
        "DatasetService",
        {
            "CreateDataset": _STEWARD,
            "GetDataset": ANY_MEMBER,
            "ListDatasets": ANY_MEMBER,
            "UpdateDataset": _STEWARD,
            "SubmitDataset": _STEWARD,
            "ApproveDataset": _OFFICER,
            "RejectDataset": _OFFICER,
            "SuspendDataset": _OFFICER | _STEWARD,
            "ReinstateDataset": _OFFICER,
            "DelistDataset": _OFFICER | _STEWARD,
            "CreateDatasetRevision": _STEWARD,
            "GetDatasetRevision": ANY_MEMBER,
            "ListDatasetRevisions": ANY_MEMBER,
        },
    ),
    **_methods(
        "LicenseService",
        {
            "CreateLicense": _ANALYST,
            "GetLicense": ANY_MEMBER,
            "ListLicenses": ANY_MEMBER,
            "OfferLicense": _STEWARD,
            "CounterLicense": _ANALYST,
            "AcceptLicense": _ANALYST,
            "AgreeLicense": _STEWARD,
            "VerifyLicense": _ANALYST,
            "TerminateLicense": _STEWARD | _ANALYST,
        },
    ),
    **_methods(
        "TradeRecordService",
        {
            "RecordModel": _NODE,
            "RecordRelease": _NODE,
            "GetTradeRecord": ANY_MEMBER,
            "ListTradeRecords": ANY_MEMBER,
        },
    ),
}

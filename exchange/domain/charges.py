"""What may be recorded under a license, and what it costs: the exchange's own count beside the node's.

The first release of a block charges every row gathered in it, whichever rows it opens; later ones charge
nothing. A record is refused when statement, request and license do not say the same, when the license is
not in force, and when a cap does not suffice.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from exchange.domain.datasets import Dataset, DatasetState
from exchange.domain.errors import ClauseRefusedError, LicenseStateError, StatementRefusedError
from exchange.domain.licenses import License, LicenseState
from exchange.domain.parties import Party, PartyState
from exchange.domain.records import Charge
from exchange.domain.signed import SignedBytes
from exchange.domain.statements import ModelStatement, ReleaseRequest, ReleaseStatement, SealingStatement

# Coefficients of a block in `score-v1`.
MAX_ROWS_GATHERED: Final = 8192


@dataclass(frozen=True)
class Deployed:
    """A sealed model that was recorded under a license."""

    license: str
    sealing: str
    c0_digest: bytes


@dataclass(frozen=True)
class Charged:
    """A block whose rows were charged: what every later release of it must repeat."""

    license: str
    sealing: str
    block: str
    block_digest: bytes
    place: bytes
    rows_gathered: int


def check_in_force(license_: License, dataset: Dataset, provider: Party, bank: Party, now: datetime) -> None:
    """Raise LicenseStateError or ClauseRefusedError unless something may be recorded under it now."""
    if license_.state is not LicenseState.ACTIVE:
        raise LicenseStateError(f"the license is {license_.state.upper()}; only ACTIVE ones are used")
    if dataset.state is not DatasetState.LISTED:
        raise LicenseStateError(f"the license is not in force: its dataset is {dataset.state.upper()}")
    for role, party in (("provider", provider), ("bank", bank)):
        if party.state is not PartyState.ACTIVE:
            raise LicenseStateError(f"the license is not in force: its {role} is {party.state.upper()}")
    if now < license_.terms.valid_from:
        raise ClauseRefusedError(
            clause="valid_from",
            limit=license_.terms.valid_from.isoformat(),
            asked=now.isoformat(),
            way_out="wait until the license begins",
        )
    if now >= license_.terms.valid_until:
        raise ClauseRefusedError(
            clause="valid_until",
            limit=license_.terms.valid_until.isoformat(),
            asked=now.isoformat(),
            way_out="negotiate a new license",
        )


def check_model(
    license_: License,
    published: Mapping[str, int],
    model: ModelStatement,
    sealing_bytes: SignedBytes,
    sealing: SealingStatement,
) -> None:
    """Raise StatementRefusedError unless node, bank and license speak of the same model.

    `published` are the revision's columns with their numbers of bins: each bin of a licensed column takes a
    sealed column.
    """
    columns = sum(published[name] for name in license_.terms.columns)
    require_same_agreement(license_, model.license_digest)
    _refuse_unless(
        (model.sealing == sealing.sealing, "node and bank name different sealings"),
        (
            model.sealing_statement_sha256 == sealing_bytes.sha256,
            "sealing_statement_sha256 is not that of the bank's statement",
        ),
        (model.columns == columns, f"columns must be {columns}: every bin of every licensed column"),
    )


def deploy(license_: License) -> License:
    """Return the license with one more model used, or raise ClauseRefusedError."""
    used, cap = license_.usage.models, license_.terms.max_models
    if used + 1 > cap:
        raise _cap_refused("max_models", cap, used, 1, "negotiate a license for more models")
    return replace(license_, usage=replace(license_.usage, models=used + 1))


def check_release(
    license_: License,
    deployed: Deployed | None,
    statement: ReleaseStatement,
    request_bytes: SignedBytes,
    request: ReleaseRequest,
) -> None:
    """Raise StatementRefusedError unless node, bank, license and recorded model speak of the same release."""
    require_same_agreement(license_, statement.license_digest)
    _refuse_unless(
        (statement.request_sha256 == request_bytes.sha256, "request_sha256 is not that of the request"),
        (statement.block == request.block, "node and bank name different blocks"),
    )
    require_recorded_model(license_, deployed, request)
    _refuse_unless(
        (
            len({statement.query_kind, request.query_kind}) == 1
            and statement.query_kind in license_.terms.query_kinds,
            "query_kind is not one that the license allows",
        ),
    )
    require_licensed_drop(license_, request)
    require_row_counts(statement, request)


def require_same_agreement(license_: License, license_digest: bytes) -> None:
    """Raise StatementRefusedError unless the node speaks of the very agreement that was signed here."""
    agreed = license_.agreement.sha256 if license_.agreement is not None else None
    _refuse_unless((license_digest == agreed, "license_digest is not that of the agreement"))


def require_recorded_model(license_: License, deployed: Deployed | None, request: ReleaseRequest) -> None:
    """Raise StatementRefusedError unless the bank names the sealed columns that were recorded."""
    _refuse_unless(
        (
            deployed is not None
            and deployed.license == license_.license
            and deployed.c0_digest == request.c0_digest,
            "the sealed model is not recorded under this license; record it first",
        ),
    )


def require_licensed_drop(license_: License, request: ReleaseRequest) -> None:
    """Raise StatementRefusedError unless as many bits are dropped as the license says."""
    _refuse_unless(
        (request.drop == license_.terms.drop, f"drop must be the license's: {license_.terms.drop}")
    )


def require_row_counts(statement: ReleaseStatement, request: ReleaseRequest) -> None:
    """Raise StatementRefusedError unless as many rows open as were asked for, out of those gathered."""
    _refuse_unless(
        (statement.rows_opened == request.rows, "rows_opened is not the number of rows asked for"),
        (
            1 <= statement.rows_opened <= statement.rows_gathered <= MAX_ROWS_GATHERED,
            f"rows must be 1 <= rows_opened <= rows_gathered <= {MAX_ROWS_GATHERED}",
        ),
    )


def charge(
    license_: License, charged: Charged | None, statement: ReleaseStatement, request: ReleaseRequest
) -> tuple[License, Charge]:
    """Return the license with the release charged, and the charge.

    `charged` is what an earlier release of the block charged. Raises StatementRefusedError when the node
    charged otherwise, ClauseRefusedError when a cap does not suffice.
    """
    now = charged_by(license_, statement, request)
    if charged is not None and charged != now:
        raise StatementRefusedError("the block was charged before with another model, digest, place or rows")
    rows = rows_to_charge(charged, statement)
    bits = rows * license_.terms.bits_per_row
    _refuse_unless(
        (
            statement.rows_charged == rows,
            f"rows_charged must be {rows}: a block's first release charges all its rows, later ones none",
        ),
        (
            statement.bits_charged == bits,
            f"bits_charged must be {bits}: {license_.terms.bits_per_row} for each row charged",
        ),
    )
    require_rows_left(license_, rows)
    require_bits_left(license_, bits)
    usage = license_.usage
    after = replace(usage, rows=usage.rows + rows, bits=usage.bits + bits)
    return replace(license_, usage=after), Charge(
        rows_gathered=statement.rows_gathered,
        rows_opened=statement.rows_opened,
        rows_charged=rows,
        bits_charged=bits,
    )


def rows_to_charge(charged: Charged | None, statement: ReleaseStatement) -> int:
    """Return what a release costs: every row gathered, whichever it opens, unless the block was charged."""
    return 0 if charged is not None else statement.rows_gathered


def require_rows_left(license_: License, rows: int) -> None:
    """Raise ClauseRefusedError when so many rows more would pass max_rows."""
    used, cap = license_.usage.rows, license_.terms.max_rows
    if used + rows > cap:
        raise _cap_refused(
            "max_rows", cap, used, rows, f"ask for at most {cap - used} rows, or negotiate more"
        )


def require_bits_left(license_: License, bits: int) -> None:
    """Raise ClauseRefusedError when so many bits more would pass max_bits."""
    used, cap = license_.usage.bits, license_.terms.max_bits
    if used + bits > cap:
        left = (cap - used) // license_.terms.bits_per_row
        raise _cap_refused("max_bits", cap, used, bits, f"ask for at most {left} rows, or negotiate more")


def charged_by(license_: License, statement: ReleaseStatement, request: ReleaseRequest) -> Charged:
    """Return what this release says of its block."""
    return Charged(
        license=license_.license,
        sealing=statement.sealing,
        block=statement.block,
        block_digest=request.block_digest,
        place=statement.place,
        rows_gathered=statement.rows_gathered,
    )


def _refuse_unless(*conditions: tuple[bool, str]) -> None:
    for holds, otherwise in conditions:
        if not holds:
            raise StatementRefusedError(otherwise)


def _cap_refused(clause: str, cap: int, used: int, asked: int, way_out: str) -> ClauseRefusedError:
    return ClauseRefusedError(
        clause=clause, limit=f"{cap}, of which {used} are used", asked=str(asked), way_out=way_out
    )

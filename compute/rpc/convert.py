"""Between messages and what the node's verbs take and give. Missing and malformed fields are refused here."""

from datetime import UTC, datetime
from typing import Final

from bourse.compute.v1 import evaluation_pb2, evaluation_service_pb2, publication_pb2, sealing_pb2
from bourse.type.v1 import record_pb2, signature_pb2

from compute.domain.caps import Usage
from compute.domain.errors import FieldError
from compute.domain.evaluation import Evaluation, EvaluationState
from compute.domain.model import SealingState
from compute.domain.names import check_dataset, check_text
from compute.domain.signed import Signed
from compute.formats.payloads import kind_to_pb, signed_from_pb, signed_to_pb, time_to_pb
from compute.records.convert import specification_from_pb
from compute.records.errors import SpecificationError
from compute.records.files import check_file_name
from compute.release.receipt import Recorded
from compute.release.releasing import Released
from compute.store.publications import PublicationRow, PublicationState
from compute.verbs.evaluating import BlockView
from compute.verbs.publishing import PublicationView
from compute.verbs.sealing import SealingView

MAX_CHANGE_NOTE_CHARACTERS: Final = 500
MAX_SIGNATURES: Final = 3
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)

_PUBLICATION_STATES = {
    PublicationState.RUNNING: publication_pb2.PUBLICATION_STATE_RUNNING,
    PublicationState.SUCCEEDED: publication_pb2.PUBLICATION_STATE_SUCCEEDED,
    PublicationState.FAILED: publication_pb2.PUBLICATION_STATE_FAILED,
}
_SEALING_STATES = {
    SealingState.OPEN: sealing_pb2.SEALING_STATE_OPEN,
    SealingState.RECORDING: sealing_pb2.SEALING_STATE_OPEN,
    SealingState.ACCEPTED: sealing_pb2.SEALING_STATE_ACCEPTED,
}
_EVALUATION_STATES = {
    EvaluationState.RUNNING: evaluation_pb2.EVALUATION_STATE_RUNNING,
    EvaluationState.SUCCEEDED: evaluation_pb2.EVALUATION_STATE_SUCCEEDED,
    EvaluationState.FAILED: evaluation_pb2.EVALUATION_STATE_FAILED,
}


def signed_of(field: str, message: signature_pb2.SignedPayload) -> Signed:
    """Return payload and signatures. Raises FieldError when the payload is missing or nobody signed."""
    if not message.payload:
        raise FieldError(f"{field}.payload", "must hold the signed bytes")
    if not 1 <= len(message.signatures) <= MAX_SIGNATURES:
        raise FieldError(f"{field}.signatures", f"must be 1 to {MAX_SIGNATURES}")
    return signed_from_pb(message)


def publication_from_pb(message: publication_pb2.Publication) -> PublicationRow:
    """Return a publication to be made. Raises FieldError or SpecificationError, naming every field."""
    check_dataset("publication.dataset", message.dataset)
    check_text("publication.change_note", message.change_note, least=0, most=MAX_CHANGE_NOTE_CHARACTERS)
    try:
        check_file_name(message.file)
    except SpecificationError as error:
        raise _below("publication", error) from error
    try:
        specification_from_pb(message.specification)
    except SpecificationError as error:
        raise _below("publication.specification", error) from error
    return PublicationRow(
        name="",
        dataset=message.dataset,
        file=message.file,
        specification=message.specification.SerializeToString(deterministic=True),
        change_note=message.change_note,
        state=PublicationState.RUNNING,
        revision=None,
        rows=0,
        bytes_total=0,
        remarks=(),
        error_reason="",
        error_message="",
        create_time=_NEVER,
    )


def publication_to_pb(view: PublicationView) -> publication_pb2.Publication:
    """Return a publication as a steward sees it."""
    row = view.row
    message = publication_pb2.Publication(
        name=row.name,
        dataset=row.dataset,
        file=row.file,
        specification=publication_pb2.ColumnSpecification.FromString(row.specification),
        change_note=row.change_note,
        state=_PUBLICATION_STATES[row.state],
        rows_read=view.progress.rows_read,
        bytes_read=view.progress.bytes_read,
        bytes_total=view.progress.bytes_total,
        remarks=row.remarks,
        rows=row.rows,
        create_time=time_to_pb(row.create_time),
    )
    if view.description is not None:
        message.description.CopyFrom(signed_to_pb(view.description))
    elif row.state is PublicationState.FAILED:
        message.error.CopyFrom(
            publication_pb2.PublicationError(reason=row.error_reason, message=row.error_message)
        )
    return message


def sealing_to_pb(view: SealingView) -> sealing_pb2.Sealing:
    """Return a sealing as its bank sees it."""
    sealing = view.sealing
    message = sealing_pb2.Sealing(
        name=sealing.name,
        agreement=signed_to_pb(view.agreement),
        query_kind=kind_to_pb(sealing.kind),
        owner_nonce=sealing.owner_nonce,
        sealing_nonce=sealing.sealing_nonce,
        context=sealing.context,
        columns=sealing.columns,
        missing_columns=view.missing_columns,
        state=_SEALING_STATES[sealing.state],
        create_time=time_to_pb(sealing.create_time),
    )
    if view.recorded is not None:
        message.entry = view.recorded.entry
        message.receipt.CopyFrom(receipt_to_pb(view.recorded))
    return message


def receipt_to_pb(recorded: Recorded) -> record_pb2.Receipt:
    """Return the exchange's receipt as it came."""
    return record_pb2.Receipt(statement=signed_to_pb(recorded.receipt))


def evaluation_to_pb(job: Evaluation) -> evaluation_pb2.Evaluation:
    """Return an evaluation as its bank sees it: the persons asked for are not repeated."""
    return evaluation_pb2.Evaluation(
        name=job.name,
        sealing=job.sealing,
        state=_EVALUATION_STATES[job.state],
        rows=job.rows,
        blocks=job.blocks,
        blocks_done=job.blocks_done,
        error=job.error,
        create_time=time_to_pb(job.create_time),
    )


def block_to_pb(view: BlockView) -> evaluation_pb2.Block:
    """Return an evaluated block."""
    return evaluation_pb2.Block(name=view.name, data=view.data, sha256=view.sha256, rows=view.rows)


def released_to_pb(released: Released) -> evaluation_service_pb2.ReleaseBlockResponse:
    """Return what a release hands over."""
    return evaluation_service_pb2.ReleaseBlockResponse(
        released=released.released,
        statement=signed_to_pb(released.statement),
        entry=released.recorded.entry,
        receipt=receipt_to_pb(released.recorded),
    )


def usage_to_pb(license_name: str, usage: Usage) -> evaluation_service_pb2.LicenseUsage:
    """Return what was charged to a license."""
    return evaluation_service_pb2.LicenseUsage(
        license=license_name, models=usage.models, rows=usage.rows, bits=usage.bits
    )


def _below(field: str, error: SpecificationError) -> SpecificationError:
    return SpecificationError([(f"{field}.{path}", problem) for path, problem in error.violations])

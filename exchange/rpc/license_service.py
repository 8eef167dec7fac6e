"""LicenseService: negotiation. license_service.proto says what each call promises."""

import uuid
from collections.abc import Callable

from bourse.exchange.v1 import license_pb2, license_service_pb2, license_service_pb2_grpc
from bourse.type.v1 import agreement_pb2

from exchange.domain.callers import Caller
from exchange.domain.errors import FieldInvalidError
from exchange.domain.licenses import License
from exchange.domain.names import MAX_REVISION, dataset_of, license_of
from exchange.domain.terms import Terms
from exchange.formats.agreement import MAX_AGREEMENT_BYTES
from exchange.formats.signed import signed_from_pb
from exchange.formats.terms import terms_from_pb
from exchange.rpc.convert import license_state_from, license_to_pb, note_from, reason_from
from exchange.rpc.desk import Desk
from exchange.rpc.paging import next_token, page_size, position_in
from exchange.store import Transaction
from exchange.store.columns import MAX_MICROS, to_micros
from exchange.store.licenses import list_licenses
from exchange.verbs import licenses
from exchange.verbs.acts import Act
from wire.strict import parse_decimal

StepRequest = (
    license_service_pb2.OfferLicenseRequest
    | license_service_pb2.CounterLicenseRequest
    | license_service_pb2.AcceptLicenseRequest
    | license_service_pb2.AgreeLicenseRequest
    | license_service_pb2.VerifyLicenseRequest
    | license_service_pb2.TerminateLicenseRequest
)
Relation = Callable[[Transaction, Caller, str], License]


class LicenseService(license_service_pb2_grpc.LicenseServiceServicer):
    """Negotiation of licenses, as in the Dataspace Protocol, with counter-offers."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def CreateLicense(
        self, request: license_service_pb2.CreateLicenseRequest, context: object
    ) -> license_pb2.License:
        def change(tx: Transaction, act: Act, _: None) -> license_pb2.License:
            wanted = request.license
            if not wanted.scenario:
                raise FieldInvalidError(("license.scenario", "is missing: no scenario, no trade"))
            if wanted.revision > MAX_REVISION:
                raise FieldInvalidError(("license.revision", f"must be at most {MAX_REVISION}"))
            if not wanted.HasField("terms"):
                raise FieldInvalidError(("license.terms", "is missing"))
            license_ = licenses.request_license(
                tx,
                act,
                uuid.UUID(bytes=act.office.random_bytes(16), version=4).hex,
                dataset_id=dataset_of("license.dataset", wanted.dataset),
                revision=wanted.revision,
                scenario=wanted.scenario,
                terms=terms_from_pb("license.terms", wanted.terms),
                note=note_from(request.note),
            )
            return license_to_pb(license_)

        return await self._desk.change(
            request, context, relate=lambda _tx, _caller: None, change=change, reply=license_pb2.License
        )

    async def GetLicense(
        self, request: license_service_pb2.GetLicenseRequest, context: object
    ) -> license_pb2.License:
        return await self._desk.read(
            context,
            lambda tx, caller: license_to_pb(
                licenses.visible_license(tx, caller, license_of("name", request.name))
            ),
        )

    async def ListLicenses(
        self, request: license_service_pb2.ListLicensesRequest, context: object
    ) -> license_service_pb2.ListLicensesResponse:
        def query(tx: Transaction, caller: Caller) -> license_service_pb2.ListLicensesResponse:
            page = list_licenses(
                tx,
                caller,
                dataset=dataset_of("dataset", request.dataset) if request.dataset else None,
                state=license_state_from("state", request.state),
                before=position_in(request, request.page_token, caller, _parse_place),
                size=page_size(request.page_size),
            )
            return license_service_pb2.ListLicensesResponse(
                licenses=[license_to_pb(license_) for license_ in page.items],
                next_page_token=next_token(request, caller, _place(page.items[-1])) if page.more else "",
            )

        return await self._desk.read(context, query)

    async def OfferLicense(
        self, request: license_service_pb2.OfferLicenseRequest, context: object
    ) -> license_pb2.License:
        return await self._step(
            request,
            context,
            licenses.provided_license,
            lambda tx, act, license_: licenses.offer(
                tx,
                act,
                license_,
                terms=terms_from_pb("terms", request.terms) if request.HasField("terms") else None,
                note=note_from(request.note),
                etag=request.etag,
            ),
        )

    async def CounterLicense(
        self, request: license_service_pb2.CounterLicenseRequest, context: object
    ) -> license_pb2.License:
        return await self._step(
            request,
            context,
            licenses.banked_license,
            lambda tx, act, license_: licenses.counter(
                tx,
                act,
                license_,
                terms=_required_terms(request.terms, given=request.HasField("terms")),
                note=note_from(request.note),
                etag=request.etag,
            ),
        )

    async def AcceptLicense(
        self, request: license_service_pb2.AcceptLicenseRequest, context: object
    ) -> license_pb2.License:
        return await self._step(
            request,
            context,
            licenses.banked_license,
            lambda tx, act, license_: licenses.accept(tx, act, license_, etag=request.etag),
        )

    async def AgreeLicense(
        self, request: license_service_pb2.AgreeLicenseRequest, context: object
    ) -> license_pb2.License:
        return await self._step(
            request,
            context,
            licenses.provided_license,
            lambda tx, act, license_: licenses.agree(
                tx, act, license_, signed_from_pb("agreement", request.agreement, MAX_AGREEMENT_BYTES)
            ),
        )

    async def VerifyLicense(
        self, request: license_service_pb2.VerifyLicenseRequest, context: object
    ) -> license_pb2.License:
        return await self._step(
            request,
            context,
            licenses.banked_license,
            lambda tx, act, license_: licenses.verify(
                tx, act, license_, signed_from_pb("agreement", request.agreement, MAX_AGREEMENT_BYTES)
            ),
        )

    async def TerminateLicense(
        self, request: license_service_pb2.TerminateLicenseRequest, context: object
    ) -> license_pb2.License:
        return await self._step(
            request,
            context,
            licenses.own_license,
            lambda tx, act, license_: licenses.terminate(
                tx, act, license_, reason=reason_from("reason", request.reason), etag=request.etag
            ),
        )

    async def _step(
        self,
        request: StepRequest,
        context: object,
        relation: Relation,
        verb: Callable[[Transaction, Act, License], License],
    ) -> license_pb2.License:
        return await self._desk.change(
            request,
            context,
            relate=lambda tx, caller: relation(tx, caller, license_of("name", request.name)),
            change=lambda tx, act, license_: license_to_pb(verb(tx, act, license_)),
            reply=license_pb2.License,
        )


def _required_terms(message: agreement_pb2.Terms, *, given: bool) -> Terms:
    if not given:
        raise FieldInvalidError(("terms", "is missing: say what is wanted instead"))
    return terms_from_pb("terms", message)


def _place(license_: License) -> str:
    return f"{to_micros(license_.create_time)}/{license_.license}"


def _parse_place(text: str) -> tuple[int, str]:
    micros, _, license_id = text.partition("/")
    return parse_decimal(micros, max_value=MAX_MICROS), license_id

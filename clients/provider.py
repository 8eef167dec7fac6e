"""The data steward's client: publishing datasets through the provider's own node, and agreeing to licenses.

    with ProviderClient.open(home) as steward:
        publication = steward.prepare("datasets/payments-bureau", "records.csv", specification)
        listing = steward.create_dataset("payments-bureau", dataset_pb2.Dataset(title=...), publication)
        steward.submit_dataset(listing.name, etag=listing.etag)

The exchange gets the description that the node signed, never a record.
"""

import time
from collections.abc import Callable, Iterator, Sequence

from bourse.compute.v1 import (
    consent_service_pb2,
    consent_service_pb2_grpc,
    evaluation_service_pb2,
    publication_pb2,
    publication_service_pb2,
    publication_service_pb2_grpc,
)
from bourse.exchange.v1 import (
    dataset_pb2,
    dataset_service_pb2,
    license_pb2,
    license_service_pb2,
)
from bourse.type.v1 import agreement_pb2
from google.protobuf import field_mask_pb2

from clients.agreement import check_agreement, check_turn
from clients.connection import PAGE_SIZE, Peer, new_request_id, paged
from clients.errors import BourseError, EvidenceError
from clients.market import MarketClient
from wire.signing import Purpose

LISTING_FIELDS = (
    "title",
    "description",
    "subject_kind",
    "identifier_scheme",
    "classification_grade",
    "scenarios",
    "tags",
    "evidence",
)
POLL_SECONDS = (0.1, 2.0)

OnProgress = Callable[[publication_pb2.Publication], None]


class ProviderClient(MarketClient):
    """A steward of one provider."""

    @property
    def node(self) -> Peer:
        """The provider's own node."""
        return self.connection.node(
            self.member.identity.party, self.party(self.member.party_name).node_address
        )

    def prepare(
        self,
        dataset: str,
        file: str,
        specification: publication_pb2.ColumnSpecification,
        *,
        change_note: str = "",
        on_progress: OnProgress | None = None,
        sleep: Callable[[float], None] = time.sleep,
        request_id: str | None = None,
    ) -> publication_pb2.Publication:
        """Have the node read `file`, a name inside its records directory, and wait for the outcome.

        Returns the publication with the description that the node signed. Raises BourseError with the node's
        reason when it failed; nothing was kept then.
        """
        node = self.node
        service = publication_service_pb2_grpc.PublicationServiceStub(node.channel)
        publication = node.call(
            service.CreatePublication,
            publication_service_pb2.CreatePublicationRequest(
                publication=publication_pb2.Publication(
                    dataset=dataset, file=file, specification=specification, change_note=change_note
                ),
                request_id=request_id or new_request_id(),
            ),
        )
        pause, longest = POLL_SECONDS
        while publication.state == publication_pb2.PUBLICATION_STATE_RUNNING:
            if on_progress is not None:
                on_progress(publication)
            sleep(pause)
            pause = min(pause * 1.5, longest)
            publication = node.call(
                service.GetPublication, publication_service_pb2.GetPublicationRequest(name=publication.name)
            )
        if on_progress is not None:
            on_progress(publication)
        if publication.state != publication_pb2.PUBLICATION_STATE_SUCCEEDED:
            raise BourseError(publication.error.reason or "PUBLICATION_FAILED", publication.error.message)
        return publication

    def publications(self) -> Iterator[publication_pb2.Publication]:
        """Yield the node's publications, the newest first."""
        node = self.node
        service = publication_service_pb2_grpc.PublicationServiceStub(node.channel)

        def fetch(token: str) -> tuple[Sequence[publication_pb2.Publication], str]:
            reply = node.call(
                service.ListPublications,
                publication_service_pb2.ListPublicationsRequest(page_size=PAGE_SIZE, page_token=token),
            )
            return list(reply.publications), reply.next_page_token

        return paged(fetch)

    def create_dataset(
        self,
        dataset_id: str,
        listing: dataset_pb2.Dataset,
        publication: publication_pb2.Publication,
        *,
        request_id: str | None = None,
    ) -> dataset_pb2.Dataset:
        """Draft a listing with the publication as its first revision."""
        drafted = dataset_pb2.Dataset()
        drafted.CopyFrom(listing)
        drafted.latest_revision.description.CopyFrom(publication.description)
        return self.exchange.call(
            self._datasets.CreateDataset,
            dataset_service_pb2.CreateDatasetRequest(
                dataset_id=dataset_id, dataset=drafted, request_id=request_id or new_request_id()
            ),
        )

    def update_dataset(
        self, listing: dataset_pb2.Dataset, fields: Sequence[str], *, request_id: str | None = None
    ) -> dataset_pb2.Dataset:
        """Change `fields`, some of LISTING_FIELDS, of a draft or rejected listing with its name and etag as
        read.
        """
        return self.exchange.call(
            self._datasets.UpdateDataset,
            dataset_service_pb2.UpdateDatasetRequest(
                dataset=listing,
                update_mask=field_mask_pb2.FieldMask(paths=fields),
                request_id=request_id or new_request_id(),
            ),
        )

    def submit_dataset(
        self, name: str, *, etag: str = "", request_id: str | None = None
    ) -> dataset_pb2.Dataset:
        """Hand a draft or rejected listing to review. Recorded."""
        return self.exchange.call(
            self._datasets.SubmitDataset,
            dataset_service_pb2.SubmitDatasetRequest(
                name=name, etag=etag, request_id=request_id or new_request_id()
            ),
        )

    def add_revision(
        self, dataset: str, publication: publication_pb2.Publication, *, request_id: str | None = None
    ) -> dataset_pb2.DatasetRevision:
        """Add the publication as a new revision of a listing."""
        return self.exchange.call(
            self._datasets.CreateDatasetRevision,
            dataset_service_pb2.CreateDatasetRevisionRequest(
                parent=dataset,
                revision=dataset_pb2.DatasetRevision(description=publication.description),
                request_id=request_id or new_request_id(),
            ),
        )

    def offer_license(
        self,
        seen: license_pb2.License,
        terms: agreement_pb2.Terms | None = None,
        *,
        note: str = "",
        request_id: str | None = None,
    ) -> license_pb2.License:
        """Answer a request, as it was read, with `terms`, or with the terms requested; remembers them."""
        offered = terms if terms is not None else seen.terms
        answer = self.exchange.call(
            self._licenses.OfferLicense,
            license_service_pb2.OfferLicenseRequest(
                name=seen.name,
                terms=offered,
                note=note,
                etag=seen.etag,
                request_id=request_id or new_request_id(),
            ),
        )
        self.remember_terms(seen.name, offered)
        return answer

    def agree_license(
        self,
        name: str,
        *,
        terms: agreement_pb2.Terms | None = None,
        request_id: str | None = None,
    ) -> license_pb2.License:
        """Sign the agreement of an accepted license, once it says what this home offered, or `terms`.

        Compared are license, dataset, revision and its digest, parties, scenario, terms, columns with their
        bins, participants, keys and the exchange; the description's signature is verified. Raises
        EvidenceError, with nothing signed, for any difference; BourseError when it is not our turn.
        """
        license_ = self.license(name)
        check_turn(license_, "provider")
        seen = terms if terms is not None else self.remembered_terms(name)
        description, payload = self.described(license_.dataset, license_.revision)
        checked = check_agreement(
            license_,
            seen,
            description,
            payload,
            self.home.exchange,
            own_key=self.member.public_key,
            signer="provider",
        )
        if checked.agreement.provider != self.member.party_name:
            raise EvidenceError(f"{name}: is another provider's license.")
        self.check_registered_keys(checked.agreement)
        signed = self.member.signed(Purpose.AGREEMENT, license_.agreement.payload)
        return self.exchange.call(
            self._licenses.AgreeLicense,
            license_service_pb2.AgreeLicenseRequest(
                name=name, agreement=signed, request_id=request_id or new_request_id()
            ),
        )

    def withdraw_consent(
        self, dataset: str, entity_id: str, *, request_id: str | None = None
    ) -> consent_service_pb2.WithdrawConsentResponse:
        """Make a person count as absent from now on. The reply does not say whether the person was there."""
        node = self.node
        service = consent_service_pb2_grpc.ConsentServiceStub(node.channel)
        return node.call(
            service.WithdrawConsent,
            consent_service_pb2.WithdrawConsentRequest(
                dataset=dataset, entity_id=entity_id, request_id=request_id or new_request_id()
            ),
        )

    def usage(self, license_name: str) -> evaluation_service_pb2.LicenseUsage:
        """Return what the own node has charged to a license."""
        return self.usage_at(self.node, self.license(license_name))

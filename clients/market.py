"""What every registered member can read at the exchange, checked as far as it can be checked from here.

The base of the roles' clients. Names are full resource names, such as `datasets/payments-bureau`.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from bourse.compute.v1 import evaluation_service_pb2, evaluation_service_pb2_grpc
from bourse.exchange.v1 import (
    dataset_pb2,
    dataset_service_pb2,
    dataset_service_pb2_grpc,
    license_pb2,
    license_service_pb2,
    license_service_pb2_grpc,
    party_pb2,
    party_service_pb2,
    party_service_pb2_grpc,
)
from bourse.type.v1 import agreement_pb2, description_pb2

from clients.connection import PAGE_SIZE, Connection, Peer, RefusedError, new_request_id, paged
from clients.errors import BourseError, EvidenceError
from clients.evidence import check_description
from clients.files import make_secret_directory, read_bounded, write_atomically
from clients.home import read_home
from clients.member import Member
from wire.signing import key_id

MAX_TERMS_BYTES = 128 * 1024


def utc_now() -> datetime:
    """Return the present, in UTC."""
    return datetime.now(UTC)


class MarketClient:
    """One member's view of the market. Use as a context manager, or `close` it."""

    def __init__(self, connection: Connection, *, now: Callable[[], datetime] = utc_now) -> None:
        self.connection = connection
        self.home = connection.home
        self.member = connection.member
        self.now = now
        channel = connection.exchange.channel
        self._parties = party_service_pb2_grpc.PartyServiceStub(channel)
        self._datasets = dataset_service_pb2_grpc.DatasetServiceStub(channel)
        self._licenses = license_service_pb2_grpc.LicenseServiceStub(channel)

    @classmethod
    def open(cls, home_directory: Path) -> Self:
        """Open the home's identity and connect as it. Raises HomeError."""
        home = read_home(home_directory)
        return cls(Connection(home, Member.open(home.identity_directory, home.passphrase_file)))

    @property
    def exchange(self) -> Peer:
        """The exchange."""
        return self.connection.exchange

    def close(self) -> None:
        """Close all connections."""
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def party(self, name: str) -> party_pb2.Party:
        """Return one party, `parties/{party}`."""
        return self.exchange.call(self._parties.GetParty, party_service_pb2.GetPartyRequest(name=name))

    def parties(
        self, kind: party_pb2.PartyKind.ValueType = party_pb2.PARTY_KIND_UNSPECIFIED
    ) -> Iterator[party_pb2.Party]:
        """Yield parties by name, of one PartyKind if given."""

        def fetch(token: str) -> tuple[list[party_pb2.Party], str]:
            reply = self.exchange.call(
                self._parties.ListParties,
                party_service_pb2.ListPartiesRequest(
                    page_size=PAGE_SIZE,
                    page_token=token,
                    kind=kind,
                ),
            )
            return list(reply.parties), reply.next_page_token

        return paged(fetch)

    def dataset(self, name: str) -> dataset_pb2.Dataset:
        """Return one listing, `datasets/{dataset}`."""
        return self.exchange.call(self._datasets.GetDataset, dataset_service_pb2.GetDatasetRequest(name=name))

    def datasets(
        self,
        *,
        provider: str = "",
        state: dataset_pb2.DatasetState.ValueType = dataset_pb2.DATASET_STATE_UNSPECIFIED,
    ) -> Iterator[dataset_pb2.Dataset]:
        """Yield the listings this member may see, by name."""

        def fetch(token: str) -> tuple[list[dataset_pb2.Dataset], str]:
            reply = self.exchange.call(
                self._datasets.ListDatasets,
                dataset_service_pb2.ListDatasetsRequest(
                    page_size=PAGE_SIZE,
                    page_token=token,
                    provider=provider,
                    state=state,
                ),
            )
            return list(reply.datasets), reply.next_page_token

        return paged(fetch)

    def revision(self, dataset: str, number: int) -> dataset_pb2.DatasetRevision:
        """Return one revision of a listing; 0 is the newest."""
        if number == 0:
            return self.dataset(dataset).latest_revision
        return self.exchange.call(
            self._datasets.GetDatasetRevision,
            dataset_service_pb2.GetDatasetRevisionRequest(name=f"{dataset}/revisions/{number}"),
        )

    def described(
        self, dataset: str, number: int = 0, *, node_key: bytes | None = None
    ) -> tuple[description_pb2.DatasetDescription, bytes]:
        """Return what a provider's node says of a revision, verified, and the bytes that it signed.

        Verified with `node_key`, which a license pins, else with the provider's node keys in the registry.
        Raises EvidenceError.
        """
        listing = self.dataset(dataset)
        revision = self.revision(dataset, number) if number else listing.latest_revision
        number = number or _revision_number(revision.name)
        keys = [node_key] if node_key is not None else self._node_keys(listing.provider)
        signature = revision.description.signatures[0] if revision.description.signatures else None
        for key in keys:
            if node_key is not None or (signature is not None and signature.key_id == key_id(key)):
                found = check_description(
                    revision, dataset=dataset, provider=listing.provider, number=number, node_key=key
                )
                return found, revision.description.payload
        raise EvidenceError(
            f"description of {dataset}: is signed by no key that the registry holds for a node of "
            f"{listing.provider}."
        )

    def suspend_dataset(
        self, name: str, reason: str, *, etag: str = "", request_id: str | None = None
    ) -> dataset_pb2.Dataset:
        """Take a listed dataset out of trade for a time: its steward, or a compliance officer. Recorded."""
        return self.exchange.call(
            self._datasets.SuspendDataset,
            dataset_service_pb2.SuspendDatasetRequest(
                name=name, reason=reason, etag=etag, request_id=request_id or new_request_id()
            ),
        )

    def delist_dataset(
        self, name: str, reason: str, *, etag: str = "", request_id: str | None = None
    ) -> dataset_pb2.Dataset:
        """Withdraw a dataset for good: its steward, or a compliance officer. Recorded."""
        return self.exchange.call(
            self._datasets.DelistDataset,
            dataset_service_pb2.DelistDatasetRequest(
                name=name, reason=reason, etag=etag, request_id=request_id or new_request_id()
            ),
        )

    def license(self, name: str) -> license_pb2.License:
        """Return one license, `licenses/{license}`."""
        return self.exchange.call(self._licenses.GetLicense, license_service_pb2.GetLicenseRequest(name=name))

    def licenses(
        self,
        *,
        dataset: str = "",
        state: license_pb2.LicenseState.ValueType = license_pb2.LICENSE_STATE_UNSPECIFIED,
    ) -> Iterator[license_pb2.License]:
        """Yield the licenses this member may see, the newest first."""

        def fetch(token: str) -> tuple[list[license_pb2.License], str]:
            reply = self.exchange.call(
                self._licenses.ListLicenses,
                license_service_pb2.ListLicensesRequest(
                    page_size=PAGE_SIZE,
                    page_token=token,
                    dataset=dataset,
                    state=state,
                ),
            )
            return list(reply.licenses), reply.next_page_token

        return paged(fetch)

    def terminate_license(
        self, name: str, reason: str, *, etag: str = "", request_id: str | None = None
    ) -> license_pb2.License:
        """End a negotiation or a license; nothing is released under it from then on."""
        return self.exchange.call(
            self._licenses.TerminateLicense,
            license_service_pb2.TerminateLicenseRequest(
                name=name, reason=reason, etag=etag, request_id=request_id or new_request_id()
            ),
        )

    def remember_terms(self, license_name: str, terms: agreement_pb2.Terms) -> None:
        """Keep the terms that this member offered or accepted, to hold the agreement against them."""
        path = self._terms_path(license_name)
        make_secret_directory(path.parent)
        write_atomically(path, terms.SerializeToString(deterministic=True), mode=0o600)

    def remembered_terms(self, license_name: str) -> agreement_pb2.Terms:
        """Return the terms this member offered or accepted. Raises BourseError if it did neither here."""
        path = self._terms_path(license_name)
        if not path.is_file():
            raise BourseError(
                "TERMS_UNSEEN",
                f"This home has neither offered nor accepted terms of {license_name}.",
                way_out="Give the terms that you agree to (--terms FILE), as `license show` prints them.",
            )
        terms = agreement_pb2.Terms()
        terms.ParseFromString(read_bounded(path, MAX_TERMS_BYTES, EvidenceError))
        return terms

    def check_registered_keys(self, agreement: agreement_pb2.Agreement) -> agreement_pb2.Agreement:
        """Return the agreement once every key it pins is one that the registry holds for that party.

        Raises EvidenceError naming the keys that are not.
        """
        provider, bank = self.party(agreement.provider), self.party(agreement.bank)
        unknown = [
            (field, "is no key that the registry holds for this party and purpose")
            for field, party, purpose, key in (
                ("steward_key", provider, party_pb2.KEY_PURPOSE_STEWARD, agreement.steward_key),
                ("node_key", provider, party_pb2.KEY_PURPOSE_NODE, agreement.node_key),
                ("bank_key", bank, party_pb2.KEY_PURPOSE_BANK, agreement.bank_key),
            )
            if not any(held.purpose == purpose and held.public_key == key for held in party.signing_keys)
        ]
        if unknown:
            raise EvidenceError("The agreement pins keys of nobody; nothing has been signed.", fields=unknown)
        return agreement

    def _terms_path(self, license_name: str) -> Path:
        uid = license_name.removeprefix("licenses/")
        if not uid.replace("-", "").isalnum() or not uid.isascii():
            raise BourseError("INPUT_INVALID", "A license's name has the form licenses/{license}.")
        return self.home.directory / "negotiations" / f"{uid}.terms"

    def _node_keys(self, provider: str) -> list[bytes]:
        """Return the provider's node keys, those in use and retired ones: a revision outlives its key."""
        return [
            key.public_key
            for key in self.party(provider).signing_keys
            if key.purpose == party_pb2.KEY_PURPOSE_NODE
        ]

    def usage_at(self, node: Peer, license_: license_pb2.License) -> evaluation_service_pb2.LicenseUsage:
        """Return what a provider's node has charged to a license: nothing before it meets its first model."""
        service = evaluation_service_pb2_grpc.EvaluationServiceStub(node.channel)
        try:
            return node.call(
                service.GetLicenseUsage,
                evaluation_service_pb2.GetLicenseUsageRequest(license=license_.name),
            )
        except RefusedError as error:
            if error.reason != "LICENSE_NOT_FOUND":
                raise
            return evaluation_service_pb2.LicenseUsage(license=license_.name)


def _revision_number(name: str) -> int:
    number = name.rpartition("/")[2]
    if not number.isascii() or not number.isdecimal() or len(number) > 9:
        raise EvidenceError("The exchange's listing shows no revision.")
    return int(number)

"""The operator's client: parties and their keys, and the review of datasets.

with AdminClient.open(home) as admin:
admin.create_party("harbour-bank", party_pb2.PARTY_KIND_BANK, "Harbour Bank", members)
"""

from collections.abc import Sequence

from bourse.exchange.v1 import dataset_pb2, dataset_service_pb2, party_pb2, party_service_pb2

from clients.connection import new_request_id
from clients.keyproof import KeyProof
from clients.market import MarketClient


class AdminClient(MarketClient):
    """Administrators register parties and keys; compliance officers review datasets."""

    def create_party(
        self,
        party_id: str,
        kind: party_pb2.PartyKind.ValueType,
        display_name: str,
        members: Sequence[party_pb2.Member],
        *,
        node_address: str = "",
        request_id: str | None = None,
    ) -> party_pb2.Party:
        """Register a party with its members. Recorded."""
        party = party_pb2.Party(
            display_name=display_name, kind=kind, members=members, node_address=node_address
        )
        return self.exchange.call(
            self._parties.CreateParty,
            party_service_pb2.CreatePartyRequest(
                party_id=party_id, party=party, request_id=request_id or new_request_id()
            ),
        )

    def update_party(
        self,
        party: party_pb2.Party,
        *,
        display_name: str | None = None,
        members: Sequence[party_pb2.Member] | None = None,
        node_address: str | None = None,
        request_id: str | None = None,
    ) -> party_pb2.Party:
        """Change what is given of a party as it was read. Refused when it has changed since. Recorded."""
        changed = party_pb2.Party(name=party.name, etag=party.etag)
        request = party_service_pb2.UpdatePartyRequest(
            party=changed, request_id=request_id or new_request_id()
        )
        if display_name is not None:
            request.party.display_name = display_name
            request.update_mask.paths.append("display_name")
        if members is not None:
            request.party.members.extend(members)
            request.update_mask.paths.append("members")
        if node_address is not None:
            request.party.node_address = node_address
            request.update_mask.paths.append("node_address")
        return self.exchange.call(self._parties.UpdateParty, request)

    def suspend_party(
        self, name: str, reason: str, *, etag: str = "", request_id: str | None = None
    ) -> party_pb2.Party:
        """Stop a party from acting; its licenses release nothing. Recorded."""
        return self.exchange.call(
            self._parties.SuspendParty,
            party_service_pb2.SuspendPartyRequest(
                name=name, reason=reason, etag=etag, request_id=request_id or new_request_id()
            ),
        )

    def reinstate_party(
        self, name: str, reason: str, *, etag: str = "", request_id: str | None = None
    ) -> party_pb2.Party:
        """Let a suspended party act again. Recorded."""
        return self.exchange.call(
            self._parties.ReinstateParty,
            party_service_pb2.ReinstatePartyRequest(
                name=name, reason=reason, etag=etag, request_id=request_id or new_request_id()
            ),
        )

    def register_key(self, proof: KeyProof, *, request_id: str | None = None) -> party_pb2.Party:
        """Put a key into use and retire the one of its purpose before. Recorded.

        `proof` was made by whoever holds the key: see `clients.keyproof`.
        """
        return self.exchange.call(
            self._parties.RegisterSigningKey,
            party_service_pb2.RegisterSigningKeyRequest(
                name=proof.party,
                purpose=proof.purpose,
                public_key=proof.public_key,
                possession_signature=proof.signature,
                request_id=request_id or new_request_id(),
            ),
        )

    def retire_key(
        self, name: str, public_key: bytes, reason: str, *, request_id: str | None = None
    ) -> party_pb2.Party:
        """Take a key out of use. Licenses keep the keys that they pin. Recorded."""
        return self.exchange.call(
            self._parties.RetireSigningKey,
            party_service_pb2.RetireSigningKeyRequest(
                name=name, public_key=public_key, reason=reason, request_id=request_id or new_request_id()
            ),
        )

    def approve_dataset(
        self, name: str, comment: str, *, etag: str = "", request_id: str | None = None
    ) -> dataset_pb2.Dataset:
        """List a submitted dataset; `comment` says what the officer checked. Recorded."""
        return self.exchange.call(
            self._datasets.ApproveDataset,
            dataset_service_pb2.ApproveDatasetRequest(
                name=name, comment=comment, etag=etag, request_id=request_id or new_request_id()
            ),
        )

    def reject_dataset(
        self, name: str, reason: str, *, etag: str = "", request_id: str | None = None
    ) -> dataset_pb2.Dataset:
        """Refuse a submitted dataset. Recorded."""
        return self.exchange.call(
            self._datasets.RejectDataset,
            dataset_service_pb2.RejectDatasetRequest(
                name=name, reason=reason, etag=etag, request_id=request_id or new_request_id()
            ),
        )

    def reinstate_dataset(
        self, name: str, reason: str, *, etag: str = "", request_id: str | None = None
    ) -> dataset_pb2.Dataset:
        """List a suspended dataset again. Recorded."""
        return self.exchange.call(
            self._datasets.ReinstateDataset,
            dataset_service_pb2.ReinstateDatasetRequest(
                name=name, reason=reason, etag=etag, request_id=request_id or new_request_id()
            ),
        )

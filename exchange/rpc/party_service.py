"""PartyService: the registry. party_service.proto says what each call promises."""

from bourse.exchange.v1 import party_pb2, party_service_pb2, party_service_pb2_grpc

from exchange.domain.callers import Caller
from exchange.domain.names import check_party_id, party_of
from exchange.domain.parties import Party
from exchange.rpc.convert import (
    members_from,
    party_kind_filter,
    party_kind_from,
    party_to_pb,
    paths_from,
    purpose_from,
    reason_from,
)
from exchange.rpc.desk import Desk
from exchange.rpc.paging import next_token, page_size, position_in
from exchange.store import Transaction
from exchange.store.parties import list_parties
from exchange.verbs import parties
from exchange.verbs.acts import Act

_PATHS = ("display_name", "members", "node_address")


class PartyService(party_service_pb2_grpc.PartyServiceServicer):
    """The registry: who trades here, with which identities, roles and keys."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def CreateParty(
        self, request: party_service_pb2.CreatePartyRequest, context: object
    ) -> party_pb2.Party:
        def change(tx: Transaction, act: Act, _: None) -> party_pb2.Party:
            party = parties.create_party(
                tx,
                act,
                check_party_id("party_id", request.party_id),
                party_kind_from("party.kind", request.party.kind),
                display_name=request.party.display_name,
                members=members_from("party.members", request.party.members),
                node_address=request.party.node_address,
            )
            return party_to_pb(party)

        return await self._desk.change(
            request, context, relate=lambda _tx, _caller: None, change=change, reply=party_pb2.Party
        )

    async def GetParty(self, request: party_service_pb2.GetPartyRequest, context: object) -> party_pb2.Party:
        return await self._desk.read(
            context,
            lambda tx, _: party_to_pb(parties.existing_party(tx, party_of("name", request.name))),
        )

    async def ListParties(
        self, request: party_service_pb2.ListPartiesRequest, context: object
    ) -> party_service_pb2.ListPartiesResponse:
        def query(tx: Transaction, caller: Caller) -> party_service_pb2.ListPartiesResponse:
            page = list_parties(
                tx,
                kind=party_kind_filter("kind", request.kind),
                after=position_in(request, request.page_token, caller, str) or "",
                size=page_size(request.page_size),
            )
            return party_service_pb2.ListPartiesResponse(
                parties=[party_to_pb(party) for party in page.items],
                next_page_token=next_token(request, caller, page.items[-1].party) if page.more else "",
            )

        return await self._desk.read(context, query)

    async def UpdateParty(
        self, request: party_service_pb2.UpdatePartyRequest, context: object
    ) -> party_pb2.Party:
        def change(tx: Transaction, act: Act, party: Party) -> party_pb2.Party:
            wanted = request.party
            paths = paths_from(request.update_mask, _PATHS)
            changed = parties.change_party(
                tx,
                act,
                party,
                etag=wanted.etag,
                display_name=wanted.display_name if "display_name" in paths else party.display_name,
                members=members_from("party.members", wanted.members)
                if "members" in paths
                else party.members,
                node_address=wanted.node_address if "node_address" in paths else party.node_address,
            )
            return party_to_pb(changed)

        return await self._desk.change(
            request,
            context,
            relate=lambda tx, _: parties.existing_party(tx, party_of("party.name", request.party.name)),
            change=change,
            reply=party_pb2.Party,
        )

    async def SuspendParty(
        self, request: party_service_pb2.SuspendPartyRequest, context: object
    ) -> party_pb2.Party:
        return await self._desk.change(
            request,
            context,
            relate=lambda tx, _: parties.existing_party(tx, party_of("name", request.name)),
            change=lambda tx, act, party: party_to_pb(
                parties.suspend_party(
                    tx, act, party, etag=request.etag, reason=reason_from("reason", request.reason)
                )
            ),
            reply=party_pb2.Party,
        )

    async def ReinstateParty(
        self, request: party_service_pb2.ReinstatePartyRequest, context: object
    ) -> party_pb2.Party:
        return await self._desk.change(
            request,
            context,
            relate=lambda tx, _: parties.existing_party(tx, party_of("name", request.name)),
            change=lambda tx, act, party: party_to_pb(
                parties.reinstate_party(
                    tx, act, party, etag=request.etag, reason=reason_from("reason", request.reason)
                )
            ),
            reply=party_pb2.Party,
        )

    async def RegisterSigningKey(
        self, request: party_service_pb2.RegisterSigningKeyRequest, context: object
    ) -> party_pb2.Party:
        return await self._desk.change(
            request,
            context,
            relate=lambda tx, _: parties.existing_party(tx, party_of("name", request.name)),
            change=lambda tx, act, party: party_to_pb(
                parties.register_key(
                    tx,
                    act,
                    party,
                    purpose_from("purpose", request.purpose),
                    request.public_key,
                    request.possession_signature,
                )
            ),
            reply=party_pb2.Party,
        )

    async def RetireSigningKey(
        self, request: party_service_pb2.RetireSigningKeyRequest, context: object
    ) -> party_pb2.Party:
        return await self._desk.change(
            request,
            context,
            relate=lambda tx, _: parties.existing_party(tx, party_of("name", request.name)),
            change=lambda tx, act, party: party_to_pb(
                parties.retire_key(tx, act, party, request.public_key, reason_from("reason", request.reason))
            ),
            reply=party_pb2.Party,
        )

    async def GetExchange(
        self, _request: party_service_pb2.GetExchangeRequest, _context: object
    ) -> party_service_pb2.Exchange:
        office = self._desk.office
        return party_service_pb2.Exchange(origin=office.origin, public_key=office.public_key)

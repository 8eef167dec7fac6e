"""Page tokens are no secret: anybody can make one for any place, so the place is read as foreign bytes."""

import pytest
from bourse.exchange.v1 import dataset_service_pb2

from exchange.domain.callers import Caller
from exchange.domain.errors import PageTokenInvalidError
from exchange.domain.parties import PartyKind, Role
from exchange.rpc.paging import next_token, position_in

CALLER = Caller(
    "spiffe://bourse.test/bank/harbour/analyst",
    "harbour",
    "analyst",
    PartyKind.BANK,
    frozenset({Role.ANALYST}),
)


# PostgreSQL takes no zero byte in a text: the server would fail instead of refusing.
@pytest.mark.parametrize("place", ["a\0b", "\0", "line\nbreak", "\u5883"])
def test_a_place_that_no_item_can_have_is_refused(place):
    request = dataset_service_pb2.ListDatasetsRequest()
    token = next_token(request, CALLER, place)
    with pytest.raises(PageTokenInvalidError):
        position_in(request, token, CALLER, str)


def test_a_place_of_an_item_is_taken():
    request = dataset_service_pb2.ListDatasetsRequest()
    assert position_in(request, next_token(request, CALLER, "loans-2"), CALLER, str) == "loans-2"

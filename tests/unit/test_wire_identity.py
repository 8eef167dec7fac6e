"""Identities: one spelling each."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.identity import KINDS, MAX_TRUST_DOMAIN, Identity, IdentityError, server_dns_name
from wire.rpc import peer_identity

URI = "spiffe://bourse.test/bank/harbour-bank/analyst"
NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,61}[a-z0-9]", fullmatch=True)
DOMAINS = st.from_regex(r"[a-z0-9]{1,20}(\.[a-z0-9]{1,20}){0,4}", fullmatch=True)
IDENTITIES = st.builds(Identity, DOMAINS, st.sampled_from(sorted(KINDS)), NAMES, NAMES)


class Call:
    def __init__(self, **properties: list[bytes]) -> None:
        self._properties = properties

    def auth_context(self):
        return self._properties


def test_an_identity_names_party_and_server():
    identity = Identity.parse(URI)
    assert identity == Identity("bourse.test", "bank", "harbour-bank", "analyst")
    assert identity.uri == str(identity) == URI
    assert identity.party_name == "parties/harbour-bank"
    assert server_dns_name(identity) == "harbour-bank.bank.bourse.test"


@given(IDENTITIES)
def test_every_identity_is_read_back_from_its_uri(identity):
    assert Identity.parse(identity.uri) == identity
    assert len(server_dns_name(identity)) <= 253


@given(IDENTITIES, st.data())
def test_no_two_uris_spell_one_identity(identity, data):
    position = data.draw(st.integers(0, len(identity.uri)))
    foreign = data.draw(st.text(min_size=1, max_size=3))
    text = identity.uri[:position] + foreign + identity.uri[position:]
    with contextlib.suppress(IdentityError):
        assert Identity.parse(text).uri == text


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "spiffe://",
        "https://bourse.test/bank/harbour-bank/analyst",
        "SPIFFE://bourse.test/bank/harbour-bank/analyst",
        " spiffe://bourse.test/bank/harbour-bank/analyst",
        "spiffe://bourse.test/bank/harbour-bank/analyst\n",
        "spiffe://bourse.test/bank/harbour-bank/analyst\0",
        "spiffe://bourse.test/bank/harbour-bank/analyst/",
        "spiffe://bourse.test/bank/harbour-bank/analyst/more",
        "spiffe://bourse.test/bank/harbour-bank",
        "spiffe://bourse.test//harbour-bank/analyst",
        "spiffe://bourse.test/bank//analyst",
        "spiffe://bourse.test/bank/./analyst",
        "spiffe://bourse.test/bank/../analyst",
        "spiffe:///bank/harbour-bank/analyst",
        "spiffe://bourse.test:443/bank/harbour-bank/analyst",
        "spiffe://user@bourse.test/bank/harbour-bank/analyst",
        "spiffe://bourse.test/bank/harbour-bank/analyst?x=1",
        "spiffe://bourse.test/bank/harbour-bank/analyst#x",
        "spiffe://bourse.test/bank/harbour%2Dbank/analyst",
        "spiffe://Bourse.test/bank/harbour-bank/analyst",
        "spiffe://bourse.test./bank/harbour-bank/analyst",
        "spiffe://.bourse.test/bank/harbour-bank/analyst",
        "spiffe://-bourse.test/bank/harbour-bank/analyst",
        "spiffe://bourse_test/bank/harbour-bank/analyst",
        "spiffe://börse.test/bank/harbour-bank/analyst",
        "spiffe://bourse.test/broker/harbour-bank/analyst",
        "spiffe://bourse.test/bank/Harbour/analyst",
        "spiffe://bourse.test/bank/1harbour/analyst",
        "spiffe://bourse.test/bank/h/analyst",
        "spiffe://bourse.test/bank/harbour-/analyst",
        "spiffe://bourse.test/bank/harbour-bank/" + "a" * 64,
        "spiffe://bourse.test/bank/harbour-bank/аnalyst",
        "spiffe://" + "a." * 90 + "test/bank/harbour-bank/analyst",
        "spiffe://bourse.test/bank/harbour-bank/" + "a" * 3000,
    ],
)
def test_any_other_uri_names_nobody(uri):
    with pytest.raises(IdentityError):
        Identity.parse(uri)


def test_an_overlong_uri_is_refused_before_it_is_taken_apart():
    with pytest.raises(IdentityError, match="2048"):
        Identity.parse("spiffe://" + "/" * 2048)


def test_the_longest_trust_domain_leaves_room_for_the_server_s_dns_name():
    domain = ".".join(["a" * 59] * 3)
    assert len(domain) == MAX_TRUST_DOMAIN
    longest = Identity(domain, "regulator", "b" * 63, "node")
    assert len(server_dns_name(longest)) == 253
    with pytest.raises(IdentityError, match="179"):
        Identity(domain + "a", "regulator", "bb", "node")


def test_a_caller_is_whom_the_one_spiffe_id_names():
    assert peer_identity(Call(peer_spiffe_id=[URI.encode()])).uri == URI


@pytest.mark.parametrize(
    "properties",
    [
        {},
        {"peer_spiffe_id": []},
        {"peer_spiffe_id": [URI.encode(), URI.encode()]},
        {"peer_spiffe_id": [b"\xff" + URI.encode()]},
        {"peer_uri": [URI.encode()], "x509_subject_alternative_name": [URI.encode()]},
        {"peer_dns": [URI.encode()], "x509_common_name": [URI.encode()]},
    ],
)
def test_no_other_property_of_a_connection_makes_a_caller(properties):
    with pytest.raises(IdentityError):
        peer_identity(Call(**properties))

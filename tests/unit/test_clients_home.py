"""A home says whom it trusts, in one spelling, or is refused with the key named."""

from pathlib import Path

import pytest

from clients.errors import HomeError
from clients.home import (
    Home,
    check_address,
    home_directory,
    parse_home,
    pinned_exchange,
    read_home,
    write_home,
)

KEY = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
EXAMPLE = f"""
version = 1
identity = "identity"
trust_domain = "bourse.test"

[exchange]
address = "exchange.example:7400"
identity = "spiffe://bourse.test/operator/square/exchange"
origin = "exchange.bourse.test/ledger"
public_key = "{KEY}"

[nodes]
payments-bureau = "[::1]:7500"
"""


def parsed(text):
    return parse_home(Path("/homes/bank"), text.encode())


def refused(text):
    with pytest.raises(HomeError) as error:
        parsed(text)
    return error.value.message


def test_a_home_is_read_with_its_paths_beside_it():
    home = parsed(EXAMPLE)
    assert home.identity_directory == Path("/homes/bank/identity")
    assert home.keystore_directory == Path("/homes/bank/keystore")
    assert home.passphrase_file is None
    assert home.exchange.server.uri == "spiffe://bourse.test/operator/square/exchange"
    assert home.exchange.public_key.hex() == KEY
    assert home.nodes == {"payments-bureau": "[::1]:7500"}


def test_a_home_written_and_read_again_says_the_same(tmp_path):
    directory = tmp_path / "bank"
    identity = tmp_path / 'identities/"quoted" name'
    exchange = parsed(EXAMPLE).exchange
    home = Home(
        directory, "bourse.test", identity, exchange, {"registry": "10.0.0.7:7500"}, tmp_path / "pass"
    )
    write_home(home)
    again = read_home(directory)
    assert again.identity_directory.resolve() == identity.resolve()
    assert again.passphrase_file.resolve() == (tmp_path / "pass").resolve()
    assert (again.exchange, again.nodes, again.trust_domain) == (home.exchange, home.nodes, "bourse.test")
    with pytest.raises(HomeError, match="is there already"):
        write_home(home)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("version = 1", "version = 2", "version"),
        ("version = 1", "version = true", "version"),
        ('trust_domain = "bourse.test"', 'trust_domain = "Bourse.Test"', "trust_domain"),
        ('identity = "identity"', "identity = 3", "identity"),
        ("/operator/square/exchange", "/operator/square", "exchange.identity"),
        ("spiffe://bourse.test/operator", "spiffe://other.test/operator", "exchange.identity"),
        ("exchange.example:7400", "exchange.example", "exchange.address"),
        ("exchange.example:7400", "exchange.example:70000", "exchange.address"),
        (KEY, KEY[:-2], "exchange.public_key"),
        (KEY, KEY.upper(), "exchange.public_key"),
        (KEY, "01" + "00" * 31, "exchange.public_key"),
        ("exchange.bourse.test/ledger", "two words", "exchange.origin"),
        ("origin =", "orgin =", "exchange.orgin"),
        ("payments-bureau =", "Payments =", "nodes"),
        ('"[::1]:7500"', '"::1:7500"', "nodes.payments-bureau"),
        ("[nodes]", "[node]", "node"),
        ("[exchange]", "[[exchange]]", "exchange"),
    ],
)
def test_a_home_that_says_something_else_is_refused_and_the_key_named(old, new, key):
    assert old in EXAMPLE
    assert refused(EXAMPLE.replace(old, new)).startswith(f"{key}: ")


def test_a_home_without_its_file_says_how_to_make_one(tmp_path, monkeypatch):
    with pytest.raises(HomeError) as error:
        read_home(tmp_path)
    assert "bourse setup" in error.value.way_out
    monkeypatch.delenv("BOURSE_HOME", raising=False)
    with pytest.raises(HomeError) as error:
        home_directory(None)
    assert "BOURSE_HOME" in error.value.way_out
    monkeypatch.setenv("BOURSE_HOME", "/homes/bank")
    assert home_directory(None) == Path("/homes/bank")
    assert home_directory(Path("/other")) == Path("/other")


def test_bytes_that_are_no_toml_are_refused():
    assert "not TOML" in refused("version = ")
    with pytest.raises(HomeError, match="UTF-8"):
        parse_home(Path("x"), b"\xff")


@pytest.mark.parametrize("address", ["a:1", "10.0.0.1:65535", "[2001:db8::1]:80", "my-host.example.org:7400"])
def test_addresses_are_host_and_port(address):
    assert check_address("x", address) == address


def test_the_exchange_is_pinned_by_texts_and_checked(tmp_path):
    with pytest.raises(HomeError, match="another trust domain"):
        pinned_exchange(
            address="a:1",
            identity="spiffe://elsewhere.test/operator/square/exchange",
            origin="x",
            public_key=KEY,
            trust_domain="bourse.test",
        )

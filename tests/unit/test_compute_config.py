"""A node's configuration is read strictly: every wrong key is named, and nothing is guessed."""

from pathlib import Path

import pytest

from compute.config import Config, ConfigError, load_config, parse_config

KEY = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
SMALL_ORDER_KEY = "01" + "00" * 31
FOLDER = Path("/srv/node")
TEXT = f"""
listen = "127.0.0.1:7443"
identity = "identity"
passphrase_file = "/run/secrets/node"
records = "records"
state = "state"
trust_domain = "bourse.test"
provider = "registry"
stewards = ["spiffe://bourse.test/provider/registry/steward"]
steward_keys = ["{KEY}"]

[exchange]
address = "[::1]:7400"
identity = "spiffe://bourse.test/operator/operator/exchange"
public_key = "{KEY}"
origin = "exchange.bourse.test/ledger"
"""


def parsed(text: str = TEXT) -> Config:
    return parse_config(text.encode(), FOLDER, cpus=3)


def test_a_small_configuration_gets_its_defaults():
    config = parsed()
    assert config.database == "sqlite:////srv/node/state/node.db"
    assert (config.workers, config.port_file, config.drain_seconds) == (3, None, 10)
    assert config.records == FOLDER / "records"
    assert config.passphrase_file == Path("/run/secrets/node")
    assert config.steward_keys == {bytes.fromhex(KEY)}
    assert config.exchange.identity.member == "exchange"


def test_optional_keys_are_taken():
    more = (
        'database = "sqlite:///db/node.db"\nport_file = "node.port"\nworkers = 8\ndrain_seconds = 0.5\n'
        + TEXT
    )
    config = parsed(more)
    assert config.database == "sqlite:////srv/node/db/node.db"
    assert (config.port_file, config.workers, config.drain_seconds) == (FOLDER / "node.port", 8, 0.5)
    assert parsed('database = "postgresql://node@db/node"\n' + TEXT).database == "postgresql://node@db/node"


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('listen = "127.0.0.1:7443"', "", "listen"),
        ("127.0.0.1:7443", "127.0.0.1", "listen"),
        ("127.0.0.1:7443", "127.0.0.1:070", "listen"),
        ("127.0.0.1:7443", "127.0.0.1:65536", "listen"),
        ('"registry"', '"Registry"', "provider"),
        ('"bourse.test"', '"Bourse.test"', "trust_domain"),
        ('state = "state"', "state = 3", "state"),
        ('state = "state"', 'state = ""', "state"),
        ("provider/registry/steward", "provider/bureau/steward", "stewards[0]"),
        ("provider/registry/steward", "bank/registry/steward", "stewards[0]"),
        ("spiffe://bourse.test/provider", "spiffe://other.test/provider", "stewards[0]"),
        (f'["{KEY}"]', "[]", "steward_keys"),
        (f'["{KEY}"]', f'["{KEY.upper()}"]', "steward_keys[0]"),
        (f'["{KEY}"]', f'["{SMALL_ORDER_KEY}"]', "steward_keys[0]"),
        (f'["{KEY}"]', '["00"]', "steward_keys[0]"),
        (f'["{KEY}"]', "[3]", "steward_keys"),
        ("[exchange]", "[exchanges]", "exchanges"),
        ('address = "[::1]:7400"', "", "exchange.address"),
        ("bourse.test/operator", "other.test/operator", "exchange.identity"),
        ("exchange.bourse.test/ledger", "no origin", "exchange.origin"),
        ("[exchange]", "[exchange]\nextra = 1", "exchange.extra"),
        ("listen", "extra = 1\nlisten", "extra"),
        ("listen", "workers = 0\nlisten", "workers"),
        ("listen", "workers = true\nlisten", "workers"),
        ("listen", "workers = 257\nlisten", "workers"),
        ("listen", "drain_seconds = -1\nlisten", "drain_seconds"),
        ("listen", 'database = "mysql://x"\nlisten', "database"),
    ],
)
def test_a_wrong_key_is_named(old, new, named):
    with pytest.raises(ConfigError) as caught:
        parsed(TEXT.replace(old, new, 1))
    assert str(caught.value).startswith(f"{named}:")


@pytest.mark.parametrize("data", [b"listen = ", b"\xff", b"#" * (256 * 1024 + 1)])
def test_what_is_no_toml_or_too_long_is_refused(data):
    with pytest.raises(ConfigError):
        parse_config(data, FOLDER, cpus=1)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"node\.toml"):
        load_config(tmp_path / "node.toml")


def test_relative_paths_begin_at_the_files_own_folder(tmp_path):
    (tmp_path / "node.toml").write_text(TEXT)
    assert load_config(tmp_path / "node.toml").records == tmp_path / "records"

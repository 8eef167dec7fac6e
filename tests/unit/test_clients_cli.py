"""The commands: quick help, JSON everywhere, errors that say the way out and nothing secret."""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import typer
from clients_world import SCORECARD, run
from typer.main import get_command

from clients.cli.main import app
from clients.cli.moments import parse_moment
from clients.cli.output import refusals, show_error, show_facts, show_rows
from clients.errors import BourseError
from clients.pki.directories import create_identity, init_authority
from wire.identity import Identity

KEY = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
EXCHANGE = "spiffe://bourse.test/operator/square/exchange"


@pytest.fixture(scope="module")
def identity(tmp_path_factory):
    root = tmp_path_factory.mktemp("identity")
    now = datetime.now(UTC)
    authority = init_authority(root / "ca", "bourse.test", now=now, days=2, passphrase_file=None)
    create_identity(
        authority,
        Identity("bourse.test", "bank", "harbour", "analyst"),
        root / "analyst",
        server=None,
        now=now,
        days=1,
        passphrase_file=None,
        replace=False,
    )
    return root / "analyst"


def setup(home, identity, **changes):
    options = {
        "--home": home,
        "--exchange-address": "127.0.0.1:1",
        "--exchange-identity": EXCHANGE,
        "--origin": "exchange.bourse.test",
        "--exchange-key": KEY,
        "--identity": identity,
    } | changes
    return run("setup", "--json", *[part for option in options.items() for part in option])


def commands(group, path=()):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


def leaves():
    return [
        (" ".join(path), command)
        for path, command in commands(get_command(app))
        if path[0] not in {"demo", "example"}
    ]


def test_help_loads_neither_the_network_nor_numbers():
    code = (
        "import sys; from clients.cli.main import app\n"
        "try: app(['bank', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'grpc', 'numpy', 'pyarrow', 'cryptography', 'google.protobuf'} & set(sys.modules)\n"
        "sys.exit(repr(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Score rows jointly" in done.stdout


@pytest.mark.parametrize(("name", "command"), leaves(), ids=lambda one: one if isinstance(one, str) else "")
def test_every_command_has_json_and_explains_every_option(name, command):
    options = [option for one in command.params for option in one.opts]
    assert "--json" in options
    assert command.help
    assert all(getattr(one, "help", "") for one in command.params), name


def test_setup_writes_a_home_that_says_whom_it_trusts(tmp_path, identity):
    done = setup(tmp_path / "home", identity)
    assert done.exit_code == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["identity"] == "spiffe://bourse.test/bank/harbour/analyst"
    assert said["exchange_key"] == KEY
    again = setup(tmp_path / "home", identity)
    assert again.exit_code == 1
    assert json.loads(again.stderr)["error"]["reason"] == "HOME_UNUSABLE"


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--exchange-address", "nowhere", "exchange.address"),
        ("--exchange-identity", "spiffe://other.test/operator/square/exchange", "another trust domain"),
        ("--exchange-key", "00", "exchange.public_key"),
        ("--origin", "", "exchange.origin"),
        ("--identity", "/nowhere", "/nowhere"),
    ],
)
def test_setup_refuses_what_no_home_could_use(tmp_path, identity, option, value, words):
    done = setup(tmp_path / "home", identity, **{option: value})
    assert done.exit_code == 1
    assert done.stdout == ""
    assert words in json.loads(done.stderr)["error"]["message"]
    assert not (tmp_path / "home").exists()


def test_a_command_without_a_home_says_how_to_make_one(monkeypatch):
    monkeypatch.delenv("BOURSE_HOME", raising=False)
    done = run("bank", "catalog", "--json")
    assert done.exit_code == 1
    assert "bourse setup" in json.loads(done.stderr)["error"]["way_out"]


def test_an_exchange_that_is_not_there_is_a_clear_refusal(tmp_path, identity, monkeypatch):
    setup(tmp_path / "home", identity)
    monkeypatch.setenv("BOURSE_HOME", str(tmp_path / "home"))
    done = run("bank", "catalog", "--json")
    said = json.loads(done.stderr)["error"]
    assert (done.exit_code, said["reason"]) == (1, "SERVER_UNREACHABLE")
    assert (said["server"], said["address"]) == (EXCHANGE, "127.0.0.1:1")
    for_people = run("bank", "catalog").stderr
    assert f"  By:      {EXCHANGE}\n  At:      127.0.0.1:1\n" in for_people
    assert f"Waiting for {EXCHANGE} at 127.0.0.1:1: attempt 2 of 6" in for_people


def test_a_proof_of_possession_names_party_purpose_and_key(tmp_path, identity):
    setup(tmp_path / "home", identity)
    from_home = run("bank", "key-proof", "--home", tmp_path / "home")
    from_identity = run("bank", "key-proof", "--identity", identity)
    assert from_home.stdout == from_identity.stdout
    refused = run("bank", "key-proof", "--home", tmp_path / "none", "--json")
    assert json.loads(refused.stderr)["error"]["reason"] == "HOME_UNUSABLE"
    said = json.loads(from_home.stdout)
    assert (said["party"], said["purpose"]) == ("parties/harbour", "bank")
    assert set(said) == {"party", "purpose", "public_key", "signature"}


def test_a_scorecard_is_checked_without_any_exchange(tmp_path):
    path = tmp_path / "card.json"
    path.write_text(json.dumps(SCORECARD))
    done = run("bank", "scorecard", "check", path, "--json")
    assert json.loads(done.stdout)["providers"][0]["dataset"] == "datasets/payments"
    path.write_text(json.dumps(SCORECARD | {"base_points": 1.5}))
    done = run("bank", "scorecard", "check", path, "--json")
    assert done.exit_code == 1
    assert json.loads(done.stderr)["error"]["message"].startswith("base_points: ")
    done = run("bank", "scorecard", "check", tmp_path / "none.json")
    assert done.exit_code == 1
    assert "none.json" in done.stderr


def test_a_scorecard_is_imported_without_any_exchange_when_all_columns_are_the_banks(tmp_path):
    table = tmp_path / "table.csv"
    table.write_text('Variable,Bin,Points\nage,"(-inf, inf)",1\nage,Missing,0\n')
    out = tmp_path / "card.json"
    done = run("bank", "scorecard", "import", table, "--from", "optbinning", "--out", out, "--json")
    assert json.loads(done.stdout)["own_columns"] == 1
    assert run("bank", "scorecard", "check", out).exit_code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["bank", "score", "--out", "x.csv"],
        ["bank", "scorecard", "import", "t.csv", "--from", "excel", "--out", "x"],
        ["admin", "party", "create", "x", "--kind", "king", "--name", "X"],
        ["admin", "party", "create", "x", "--kind", "bank", "--name", "X", "--member", "analyst"],
        ["admin", "party", "create", "x", "--kind", "bank", "--name", "X", "--member", "a=ruler"],
        ["admin", "party", "update", "x"],
        ["admin", "key", "retire", "x", "--key", "zz", "--reason", "old"],
        ["provider", "dataset", "update", "x"],
        ["regulator", "records", "list", "--kind", "gossip"],
        ["regulator", "records", "list", "--limit", "0"],
        ["nonsense"],
    ],
)
def test_wrong_usage_is_status_2_and_sends_nothing(arguments):
    done = run(*arguments)
    assert done.exit_code == 2, done.stderr
    as_json = run(*arguments, "--json")
    assert (as_json.exit_code, as_json.stdout) == (2, "")
    error = json.loads(as_json.stderr)["error"]
    assert error["reason"] == "USAGE_WRONG"
    assert error["message"]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T13:05", datetime(2026, 1, 31, 13, 5, tzinfo=UTC)),
        ("2026-01-31T13:05:00.250000Z", datetime(2026, 1, 31, 13, 5, 0, 250_000, tzinfo=UTC)),
        ("2026-01-31T15:05:00+02:00", datetime(2026, 1, 31, 13, 5, tzinfo=UTC)),
    ],
)
def test_a_time_is_read_as_records_print_it_and_is_utc_unless_it_says_otherwise(text, moment):
    assert parse_moment(text) == moment


def test_a_time_that_is_none_is_wrong_usage_with_an_example():
    done = run("regulator", "records", "list", "--since", "yesterday", "--json")
    assert done.exit_code == 2
    assert "2026-01-31T13:05" in json.loads(done.stderr)["error"]["message"]


def test_an_error_for_people_says_clause_limit_asked_and_way_out(capsys):
    error = BourseError(
        "CLAUSE_REFUSED", "The license refuses.", clause="max_rows", limit="20", asked="21",
        way_out="Ask for 20.", fields=[("rows", "too many")],
    )  # fmt: skip
    with pytest.raises(typer.Exit) as ended, refusals(as_json=False):
        raise error
    assert ended.value.exit_code == 1
    assert capsys.readouterr().err == (
        "Refused: The license refuses.\n  Clause:  max_rows\n  Limit:   20\n  Asked:   21\n"
        "  - rows: too many\nWay out: Ask for 20.\n(CLAUSE_REFUSED)\n"
    )


def test_a_field_that_is_all_the_message_says_is_not_said_twice(capsys):
    field = {"field": "party_id", "problem": "too short"}
    show_error({"reason": "X", "message": "party_id: too short", "fields": [field]}, as_json=False)
    assert capsys.readouterr().err == "Refused: party_id: too short\n(X)\n"


def test_facts_are_lines_that_say_nothing_of_what_is_empty(capsys):
    keys = [{"purpose": "bank", "public_key": KEY, "retired": ""}]
    show_facts("Party", {"display_name": "X", "signing_keys": keys, "node_address": ""}, as_json=False)
    assert capsys.readouterr().out == (
        f"Party\n  display name  X\n  signing keys  purpose bank, public_key {KEY}\n"
    )


def test_rows_name_resources_as_commands_take_them(capsys):
    show_rows(
        "Licenses", [{"name": "licenses/1234abcd", "note": "datasets/x y"}], ("name", "note"), as_json=False
    )
    shown = capsys.readouterr().out
    assert "licenses/" not in shown
    assert "1234abcd" in shown
    assert "datasets/x y" in shown


def test_what_others_wrote_cannot_move_the_terminal(capsys):
    show_error({"reason": "X", "message": "a\x1b[2Jb"}, as_json=False)
    assert "\x1b" not in capsys.readouterr().err


def test_an_unforeseen_error_tells_its_place_and_not_its_text(capsys):
    with pytest.raises(typer.Exit), refusals(as_json=True):
        raise ValueError("secret-of-a-person")
    said = capsys.readouterr().err
    assert "secret-of-a-person" not in said
    assert json.loads(said)["error"]["reason"] == "INTERNAL"
    assert "ValueError" in said


def test_the_page_of_commands_names_every_command():
    page = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `bourse ")]
    named = set()
    for row in rows:
        group = ""
        for text in re.findall(r"`([^`]+)`", row.split("|")[1]):
            if text.startswith("bourse "):
                group, _, last = text.removeprefix("bourse ").rpartition(" ")
            else:
                last = text
            named.add(f"{group} {last}".strip())
    assert named == {" ".join(path) for path, _ in commands(get_command(app))}

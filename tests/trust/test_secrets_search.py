"""The search of attack 16 finds what is there: a search that finds nothing must not be blind."""

import base64
import json
import logging
import random

import pysqlite3.dbapi2
import pytest
from bourse.compute.v1 import evaluation_pb2
from google.protobuf import json_format, text_format

from tests.trust.secrets_search import (
    database_bytes,
    file_bytes,
    find_in,
    secret_bytes,
    secret_numbers,
    secret_text,
)

KEY = random.Random("a key").randbytes(32)
PERSON = "Žofie-7731-of-the-mill"
WEIGHTS = (-313, 271, 148, -97, 404, 0)
PLANTED = [secret_bytes("key", KEY), secret_text("person", PERSON), secret_numbers("weights", WEIGHTS)]
CLEAN = b'{"event": "call", "code": "OK"}\n' * 100


def message(**fields) -> evaluation_pb2.Evaluation:
    return evaluation_pb2.Evaluation(**fields)


WRITTEN = {
    "a log line that quotes a key": f"refused {KEY!r}".encode(),
    "a key in hexadecimal": KEY.hex().encode(),
    "a key in an exception": str(ValueError("bad key", KEY)).encode(),
    "a key in a list of integers": json.dumps(list(KEY)).encode(),
    "a key in a protobuf": message(consent_reference="x", error="y").SerializeToString() + KEY,
    "a fingerprint": KEY.hex(":").encode(),
    "a person in JSON": json.dumps({"id": PERSON}).encode(),
    "a person in JSON, unescaped": json.dumps({"id": PERSON}, ensure_ascii=False).encode(),
    "a person in a protobuf": message(entity_ids=["p1", PERSON]).SerializeToString(),
    "a person in a protobuf as JSON": json_format.MessageToJson(message(entity_ids=[PERSON])).encode(),
    "a person in a protobuf as text": text_format.MessageToString(
        message(entity_ids=[PERSON]), as_utf8=False
    ).encode(),
    "a person in a protobuf's repr": str(message(entity_ids=[PERSON])).encode(),
    "weights in a repr": repr(WEIGHTS).encode(),
    "weights in JSON": json.dumps(WEIGHTS).encode(),
    "weights in compact JSON": json.dumps(WEIGHTS, separators=(",", ":")).encode(),
}
WRITTEN |= {
    f"{what}, in base64, {shift} bytes in": base64.b64encode(bytes(shift) + data + b"!")
    for what, data in [("a key", KEY), ("a person", PERSON.encode())]
    for shift in range(5)
}


@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN)
def test_a_secret_is_found_however_it_was_written(written):
    assert find_in({"place": CLEAN + written + CLEAN}, PLANTED)


@pytest.mark.parametrize("what", ["key", "person", "weights"])
def test_every_spelling_of_a_secret_is_looked_for(what):
    (planted,) = [one for one in PLANTED if one.what == what]
    for name, spelling in planted.spellings.items():
        assert f"{what} in place as {name}" in find_in({"place": CLEAN + spelling}, [planted])


@pytest.mark.parametrize("before", range(2**20 - len(KEY) - 1, 2**20 + 2))
def test_a_secret_is_found_wherever_it_stands_in_a_large_place(before):
    assert find_in({"place": bytes(before) + KEY}, PLANTED)
    assert find_in({"place": bytes(before) + KEY + CLEAN}, PLANTED)


def test_nothing_is_found_where_nothing_is():
    noise = random.Random("noise").randbytes(2**20)
    assert find_in({"clean": CLEAN, "noise": noise, "hex": noise.hex().encode()}, PLANTED) == []


def test_a_secret_cut_in_two_by_the_pages_of_a_database_is_found(tmp_path):
    path = tmp_path / "some.db"
    connection = pysqlite3.dbapi2.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE t (data BLOB, note TEXT)")
    for place in range(4000, 4200, 8):
        connection.execute("INSERT INTO t VALUES (?, ?)", (bytes(place) + KEY, "x" * place + PERSON))
    connection.commit()
    assert {found.split(" in ")[0] for found in find_in({"db": database_bytes(path)}, PLANTED)} == {
        "key",
        "person",
    }
    connection.close()


def test_a_secret_that_was_deleted_is_found_while_its_bytes_are_there(tmp_path):
    path = tmp_path / "some.db"
    connection = pysqlite3.dbapi2.connect(path)
    connection.execute("CREATE TABLE t (data BLOB)")
    connection.execute("INSERT INTO t VALUES (?)", (KEY,))
    connection.commit()
    connection.execute("DELETE FROM t")
    connection.commit()
    connection.close()
    assert find_in({"db": database_bytes(path)}, PLANTED)


def test_a_secret_in_any_file_of_a_folder_is_found(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "note").write_text(PERSON)
    assert find_in({"folder": file_bytes(tmp_path)}, PLANTED)


def test_a_secret_in_a_plain_log_record_is_found(caplog):
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("somewhere").debug("asked for %s", [PERSON])
    assert find_in({"log": caplog.text.encode()}, PLANTED)

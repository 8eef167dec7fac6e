"""Logs: facts that were named, and nothing that somebody choked on."""

import io
import json
import logging

import pytest

from wire.event_log import EventFormatter, configure_logging, facts_of, log_event

SECRET = "applicant 4711"


@pytest.fixture
def lines():
    stream = io.StringIO()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configure_logging(stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers[:], root.level = handlers, level


def fail():
    customer = SECRET
    raise ValueError(f"cannot score {customer}") from KeyError(customer)


def test_an_event_is_one_line_of_its_facts(lines):
    log_event(logging.getLogger("x"), logging.INFO, "call", code="OK", seconds=0.5, nodes=["a", "b"])
    (line,) = lines()
    assert line.pop("time").endswith("+00:00")
    assert line == {"level": "info", "event": "call", "code": "OK", "seconds": 0.5, "nodes": ["a", "b"]}


def test_a_line_break_in_a_fact_does_not_make_a_line(lines):
    log_event(logging.getLogger("x"), logging.INFO, "call", code='OK\n{"event": "forged"}')
    assert len(lines()) == 1


def test_a_fact_of_another_type_is_named_by_its_type(lines):
    log_event(logging.getLogger("x"), logging.INFO, "call", code=ValueError(SECRET))
    assert lines()[0]["code"] == "ValueError"


def test_another_library_s_line_keeps_its_place_and_loses_its_text(lines):
    try:
        fail()
    except ValueError:
        logging.getLogger("asyncio").exception("Task failed: %s", SECRET)
    (line,) = lines()
    assert SECRET not in json.dumps(line)
    assert (line["event"], line["logger"], line["level"]) == ("foreign", "asyncio", "error")
    assert line["at"].startswith("test_wire_event_log:")
    assert (line["error"], line["causes"]) == ("builtins.ValueError", ["builtins.KeyError"])


def test_an_error_is_its_type_and_its_way_without_its_text():
    with pytest.raises(ValueError, match="cannot score") as raised:
        fail()
    facts = facts_of(raised.value)
    assert SECRET not in json.dumps(facts)
    assert [step.split(":")[0].split(".")[-1] for step in facts["trace"]] == ["test_wire_event_log"] * 2


def test_a_long_chain_of_causes_is_cut():
    error = None
    for _ in range(50):
        link = ValueError()
        link.__cause__ = error
        error = link
    assert len(facts_of(error)["causes"]) == 8


def test_two_errors_that_cause_each_other_are_logged_and_done():
    first, second = ValueError(), KeyError()
    first.__cause__, second.__cause__ = second, first
    assert len(facts_of(first)["causes"]) == 8


def test_the_quiet_levels_stay_quiet(lines):
    log_event(logging.getLogger("x"), logging.DEBUG, "detail")
    assert lines() == []
    assert isinstance(logging.getLogger().handlers[0].formatter, EventFormatter)

"""Structured logs: one JSON object per line, made of named facts and never of data.

Log lines outlive the process and travel to people who may see no record. So a line holds only the facts
that our own code names, and of an exception only its type and where it passed: never its text, which may
quote what it choked on, and never local variables. Lines of other libraries keep their place in the code
and lose their text for the same reason.

Writes to the stream it is given and to nothing else.
"""

import json
import logging
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TextIO

Fact = str | int | float | bool | Sequence[str] | None

_FACTS = "bourse_facts"
_MAX_CAUSES = 8


class EventFormatter(logging.Formatter):
    """Renders a record as JSON: time (RFC 3339, UTC), level, event, then the event's facts."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Fact] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
        }
        facts: dict[str, Fact] | None = getattr(record, _FACTS, None)
        if facts is not None:
            line |= {"event": record.msg, **facts}
        else:
            line |= {"event": "foreign", "logger": record.name, "at": f"{record.module}:{record.lineno}"}
        if record.exc_info and record.exc_info[1] is not None:
            line |= facts_of(record.exc_info[1])
        return json.dumps(line, default=lambda value: type(value).__name__)


def configure_logging(stream: TextIO, *, level: int = logging.INFO) -> None:
    """Send everything this process logs to `stream`, one JSON line per event. Call once, in the composition
    root.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(EventFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)


def log_event(logger: logging.Logger, level: int, event: str, **facts: Fact) -> None:
    """Log `event` with facts that hold no record, identifier of a person, key, model, weight, mask or
    ciphertext.
    """
    logger.log(level, event, extra={_FACTS: facts})


def facts_of(error: BaseException) -> dict[str, Fact]:
    """Return an exception's type and the `module:line` chain it passed, outermost first, and the types that
    caused it.
    """
    causes: list[str] = []
    cause = error.__cause__ or error.__context__
    while cause is not None and len(causes) < _MAX_CAUSES:
        causes.append(_type_name(cause))
        cause = cause.__cause__ or cause.__context__
    trace = [
        f"{frame.f_globals.get('__name__', '?')}:{line}"
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    return {"error": _type_name(error), "trace": trace, "causes": causes}


def _type_name(error: BaseException) -> str:
    return f"{type(error).__module__}.{type(error).__qualname__}"

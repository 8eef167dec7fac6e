"""What commands print: tables for people, one JSON object for programs, errors that say the way out.

With `--json`, standard output holds one JSON object (or lines of them, where a command says so) and nothing
else; errors are one JSON object on standard error. Exit status: 0 done, 1 refused, 2 wrong usage.
"""

import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from clients.errors import BourseError

EXIT_REFUSED = 1
PIPE_WIDTH = 160

# Columns whose words a user copies, or could not read when broken.
_UNBROKEN = frozenset({"name", "license", "job", "deployment", "index", "time"})
_COLLECTION = re.compile(r"\A(parties|datasets|licenses)/(?=[a-z0-9-]+\Z)")
_ERROR_LINES = (
    ("server", "By"),
    ("address", "At"),
    ("license", "License"),
    ("clause", "Clause"),
    ("limit", "Limit"),
    ("asked", "Asked"),
)

HomeOption = Annotated[
    Path | None,
    typer.Option("--home", envvar="BOURSE_HOME", help="The home directory of the identity to act as."),
]
JSONFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
YesFlag = Annotated[bool, typer.Option("--yes", help="Do not ask; agree to what is shown.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why, 1 to 500 characters; recorded.")]


@contextmanager
def refusals(*, as_json: bool) -> Iterator[None]:
    """Turn a refusal into words on standard error and exit status 1, where waiting is told of too."""
    try:
        with _notes_of_waiting(as_json=as_json):
            yield
    except BourseError as error:
        show_error(error.as_dict(), as_json=as_json)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        message = f"{place}{error.strerror or 'the system refused'}."
        show_error({"reason": "SYSTEM", "message": message}, as_json=as_json)
    except (TyperException, typer.Exit, typer.Abort):
        raise
    except Exception as error:  # noqa: BLE001 - an unforeseen error's text may quote what it choked on
        from wire.event_log import facts_of  # noqa: PLC0415 - keeps `bourse --help` fast

        facts = facts_of(error)
        message = f"The client failed unexpectedly ({facts['error']} at {facts['trace']}); please report it."
        show_error({"reason": "INTERNAL", "message": message}, as_json=as_json)
    else:
        return
    raise typer.Exit(EXIT_REFUSED)


@contextmanager
def _notes_of_waiting(*, as_json: bool) -> Iterator[None]:
    if as_json:
        yield
        return
    logger, notes = logging.getLogger("clients.connection"), _Notes()
    level = logger.level
    logger.addHandler(notes)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(notes)
        logger.setLevel(level)


class _Notes(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        note(record.getMessage(), as_json=False)


def show_error(said: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a refusal on standard error, as `BourseError.as_dict` gives it."""
    if as_json:
        typer.echo(json.dumps({"error": said}, ensure_ascii=False), err=True)
        return
    lines = [f"Refused: {printable(said['message'])}"]
    for key, title in _ERROR_LINES:
        if said.get(key):
            lines.append(f"  {title + ':':<8} {printable(said[key])}")
    fields = [f"{one['field']}: {one['problem']}" for one in said.get("fields", ())]
    if "; ".join(fields) != said["message"]:
        lines += [f"  - {printable(field)}" for field in fields]
    if said.get("way_out"):
        lines.append(f"Way out: {printable(said['way_out'])}")
    lines.append(f"({said['reason']})")
    typer.echo("\n".join(lines), err=True)


def show_json(value: object) -> None:
    """Print one JSON object on standard output."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None))


def show_facts(title: str, facts: Mapping[str, object], *, as_json: bool) -> None:
    """Print one thing: its JSON object, or a line for each fact, unbroken so that it can be copied."""
    if as_json:
        show_json(facts)
        return
    told = {name: value for name, value in facts.items() if not _says_nothing(value)}
    shown = {name.replace("_", " "): words(value) for name, value in told.items()}
    width = max(map(len, shown), default=0)
    lines = [printable(title)]
    for name, text in shown.items():
        first, *more = text.split("\n")
        lines.append(f"  {name:<{width}}  {first}")
        lines += [f"  {'':<{width}}  {line}" for line in more]
    typer.echo("\n".join(lines))


def show_rows(
    title: str,
    rows: Sequence[Mapping[str, object]],
    columns: Sequence[str],
    *,
    as_json: bool,
    key: str = "items",
) -> None:
    """Print several things: a JSON object with all their facts under `key`, or a table of `columns`."""
    if as_json:
        show_json({key: rows})
        return
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415 - keeps `bourse --help` fast
    from rich.console import Console  # noqa: PLC0415 - as above
    from rich.table import Table  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    typer.echo(printable(f"{title} ({len(rows)})"))
    if not rows:
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for column in columns:
        table.add_column(Text(column.replace("_", " ")), overflow="fold", no_wrap=column in _UNBROKEN)
    for row in rows:
        table.add_row(*(Text(_short_name(words(row.get(column)))) for column in columns))
    known = sys.stdout.isatty() or "COLUMNS" in os.environ
    Console(width=None if known else PIPE_WIDTH).print(table)


def note(text: str, *, as_json: bool) -> None:
    """Print a remark for people on standard error; nothing with `--json`."""
    if not as_json:
        typer.echo(printable(text), err=True)


def confirm(question: str, *, yes: bool, as_json: bool) -> None:
    """Go on when the user agrees. Without a terminal or with `--json`, `--yes` must have been given."""
    if yes:
        return
    if as_json or not sys.stdin.isatty():
        raise typer.BadParameter("needs --yes where nobody can be asked", param_hint="--yes")
    typer.confirm(question, abort=True, err=True)


@contextmanager
def progress(*, as_json: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Yield a function (what, done, total) that draws progress bars on standard error."""
    if as_json or os.environ.get("BOURSE_NO_PROGRESS"):
        yield lambda _what, _done, _total: None
        return
    from rich.console import Console  # noqa: PLC0415 - keeps `bourse --help` fast
    from rich.progress import (  # noqa: PLC0415 - as above
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
    )

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    bars = Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True))
    tasks: dict[str, Any] = {}

    def draw(what: str, done: int, total: int) -> None:
        if what not in tasks:
            bars.start()
            tasks[what] = bars.add_task(what, total=total)
        bars.update(tasks[what], completed=done, total=total)

    try:
        yield draw
    finally:
        if tasks:
            bars.stop()


def words(value: object) -> str:
    """Return a value as plain text for people: lists by commas, tables by lines."""
    if isinstance(value, Mapping):
        return "\n".join(f"{key}: {printable(one)}" for key, one in value.items() if not _says_nothing(one))
    if isinstance(value, list | tuple) and any(isinstance(one, Mapping) for one in value):
        return "\n".join(printable(one) for one in value)
    return "" if value is None else printable(value)


def printable(value: object) -> str:
    """Return text that cannot move a terminal's cursor or change its colors, whoever wrote it."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {printable(one)}" for key, one in value.items() if not _says_nothing(one))
    if isinstance(value, list | tuple):
        return ", ".join(map(printable, value))
    return "".join(char if char.isprintable() or char == "\n" else " " for char in str(value))


def _says_nothing(value: object) -> bool:
    return value is None or value in ("", [], {}, ())


def _short_name(text: str) -> str:
    """Return a resource's name as a command takes it too, without its collection."""
    return _COLLECTION.sub("", text)

"""What commands print: tables for people, one JSON object for programs, errors that say the way out.

With `--json`, standard output holds one JSON object (or lines of them, where a command says so) and nothing
else; errors are one JSON object on standard error. Exit status: 0 done, 1 refused, 2 wrong usage.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.exceptions import TyperException

from clients.errors import BourseError

if TYPE_CHECKING:
    from rich.table import Table

EXIT_REFUSED = 1
PIPE_WIDTH = 160

HomeOption = Annotated[
    Path | None,
    typer.Option("--home", envvar="BOURSE_HOME", help="The home directory of the identity to act as."),
]
JSONFlag = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
YesFlag = Annotated[bool, typer.Option("--yes", help="Do not ask; agree to what is shown.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why, 1 to 500 characters; recorded.")]


@contextmanager
def refusals(*, as_json: bool) -> Iterator[None]:
    """Turn a refusal into words on standard error and exit status 1."""
    try:
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


def show_error(said: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a refusal on standard error, as `BourseError.as_dict` gives it."""
    if as_json:
        typer.echo(json.dumps({"error": said}, ensure_ascii=False), err=True)
        return
    lines = [f"Refused: {printable(said['message'])}"]
    for key, title in (("clause", "Clause"), ("limit", "Limit"), ("asked", "Asked")):
        if said.get(key):
            lines.append(f"  {title + ':':<8} {printable(said[key])}")
    lines += [f"  - {printable(one['field'])}: {printable(one['problem'])}" for one in said.get("fields", ())]
    if said.get("way_out"):
        lines.append(f"Way out: {printable(said['way_out'])}")
    lines.append(f"({said['reason']})")
    typer.echo("\n".join(lines), err=True)


def show_json(value: object) -> None:
    """Print one JSON object on standard output."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None))


def show_facts(title: str, facts: Mapping[str, object], *, as_json: bool) -> None:
    """Print one thing: its JSON object, or a table of its facts."""
    if as_json:
        show_json(facts)
        return
    table = _table(title, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        if value not in ("", None, [], {}, ()):
            table.add_row(name.replace("_", " "), words(value))
    _print(table)


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
    table = _table(f"{title} ({len(rows)})")
    for place, column in enumerate(columns):
        table.add_column(column.replace("_", " "), overflow="fold", no_wrap=place == 0)
    for row in rows:
        table.add_row(*(words(row.get(column)) for column in columns))
    _print(table)


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
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as bars:
        tasks: dict[str, Any] = {}

        def draw(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield draw


def words(value: object) -> Any:
    """Return a value as plain text for a table: lists by commas, tables by lines."""
    from rich.text import Text  # noqa: PLC0415 - keeps `bourse --help` fast

    if isinstance(value, Mapping):
        text = "\n".join(f"{key}: {printable(one)}" for key, one in value.items())
    elif isinstance(value, list | tuple):
        if any(isinstance(one, Mapping) for one in value):
            text = "\n".join(printable(one) for one in value)
        else:
            text = ", ".join(printable(one) for one in value)
    else:
        text = "" if value is None else printable(value)
    return Text(text)


def printable(value: object) -> str:
    """Return text that cannot move a terminal's cursor or change its colors, whoever wrote it."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {printable(one)}" for key, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(printable, value))
    return "".join(char if char.isprintable() or char == "\n" else " " for char in str(value))


def _table(title: str, *, show_header: bool = True) -> "Table":
    from rich.table import Table  # noqa: PLC0415 - keeps `bourse --help` fast
    from rich.text import Text  # noqa: PLC0415 - as above

    return Table(title=Text(printable(title)), title_justify="left", show_header=show_header)


def _print(table: "Table") -> None:
    from rich.console import Console  # noqa: PLC0415 - keeps `bourse --help` fast

    known = sys.stdout.isatty() or "COLUMNS" in os.environ
    Console(width=None if known else PIPE_WIDTH).print(table)

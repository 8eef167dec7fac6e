"""A terminal that types: shows each command, runs it in a process of its own, and tells what came of it."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from clients.errors import BourseError

COMMAND_SECONDS = 300
REFUSAL_LINES = (
    ("Refused", "message"),
    ("By", "server"),
    ("License", "license"),
    ("Clause", "clause"),
    ("Limit", "limit"),
    ("Asked", "asked"),
    ("Way out", "way_out"),
)


class StepError(BourseError):
    """A command of the demo did not end as it should."""

    def __init__(self, command: str, said: str) -> None:
        super().__init__(
            "DEMO", f"{command}: {said}", way_out="Run with --keep DIR and look at the logs there."
        )


class Terminal:
    """Types commands in the market's directory. One thread owns it."""

    def __init__(self, console: Console, directory: Path) -> None:
        self._console = console
        self._directory = directory
        self._bourse = Path(sys.executable).with_name("bourse")
        self._step = 0

    def heading(self, title: str) -> None:
        """Announce a step."""
        self._step += 1
        self._console.print()
        self._console.print(Text(f"{self._step}. {title}", style="bold"))

    def say(self, text: str, *, style: str = "") -> None:
        """Print a sentence."""
        self._console.print(Padding(Text(text, style=style), (0, 0, 0, 3)))

    def outcome(self, text: str) -> None:
        """Tell what a command brought."""
        self._console.print(Padding(Text(f"✓ {text}", style="green"), (0, 0, 0, 3)))

    def bourse(
        self,
        *arguments: str,
        home: str | None = None,
        json_flag: bool = True,
        write_to: str | None = None,
    ) -> dict[str, Any]:
        """Run `bourse` and return its JSON, also written to the file named. Raises StepError if refused."""
        shown, ended = self._typed(arguments, home, json_flag=json_flag, write_to=write_to)
        if ended.returncode != 0:
            raise StepError(shown, _said(ended))
        if write_to is not None:
            (self._directory / write_to).write_bytes(ended.stdout)
        return _object(shown, ended.stdout)

    def refused(self, *arguments: str, home: str) -> dict[str, Any]:
        """Run `bourse`, which must refuse; print and return the refusal. Raises StepError if it does not."""
        shown, ended = self._typed(arguments, home, json_flag=True, write_to=None)
        if ended.returncode == 0:
            raise StepError(shown, "was to be refused, and was not")
        error: dict[str, Any] = _object(shown, ended.stderr).get("error", {})
        if not error.get("clause"):
            raise StepError(shown, _said(ended))
        for title, key in REFUSAL_LINES:
            if error.get(key):
                self.say(f"{title + ':':<9}{error[key]}", style="red")
        return {key: error[key] for key in ("reason", "clause", "limit", "asked", "way_out")}

    def python(self, module: str, *arguments: str) -> bytes:
        """Run a server's command to its end and return what it printed. Raises StepError when it fails."""
        shown = self._show(["python", "-m", module, *arguments])
        ended = self._run([sys.executable, "-m", module, *arguments])
        if ended.returncode != 0:
            raise StepError(shown, _said(ended))
        return ended.stdout

    def background(self, command: str) -> None:
        """Show a command that goes on in the background; the market starts it."""
        self._show([*shlex.split(command), "&"])

    def copy(self, source: str, target: str) -> None:
        """Copy a file, as `cp` would."""
        self._show(["cp", source, target])
        shutil.copyfile(self._directory / source, self._directory / target)

    def write(self, name: str, text: str) -> None:
        """Write a small file, as an editor would."""
        (self._directory / name).write_text(text, encoding="utf-8")
        self.wrote(name)

    def wrote(self, name: str) -> None:
        """Tell that a file was written that a user would write in an editor."""
        self._console.print(Padding(Text(f"… wrote {name}", style="dim"), (0, 0, 0, 3)))

    def _typed(
        self, arguments: tuple[str, ...], home: str | None, *, json_flag: bool, write_to: str | None
    ) -> tuple[str, subprocess.CompletedProcess[bytes]]:
        typed = [*arguments, *(["--home", home] if home else [])]
        shown = self._show(["bourse", *typed], redirect=write_to)
        return shown, self._run([str(self._bourse), *typed, *(["--json"] if json_flag else [])])

    def _run(self, command: list[str]) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            command,
            cwd=self._directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=COMMAND_SECONDS,
            check=False,
            env={name: value for name, value in os.environ.items() if not name.startswith("BOURSE_")},
        )

    def _show(self, words: list[str], redirect: str | None = None) -> str:
        line = " ".join(word if word == "&" else shlex.quote(word) for word in words)
        shown = f"{line} > {redirect}" if redirect else line
        self._console.print(Text(f"   $ {shown}", style="cyan"), soft_wrap=True)
        return shown


def _object(shown: str, data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError:
        raise StepError(shown, "did not answer with JSON") from None
    if not isinstance(value, dict):
        raise StepError(shown, "did not answer with a JSON object")
    return value


def _said(ended: subprocess.CompletedProcess[bytes]) -> str:
    text = ended.stderr.decode(errors="replace").strip()
    try:
        error = json.loads(text)["error"]
        said = " ".join(error[key] for key in ("message", "way_out") if error.get(key))
    except (ValueError, KeyError, TypeError):
        said = text[-2000:]
    return f"ended with status {ended.returncode}: {said}"

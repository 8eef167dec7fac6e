"""Wrong usage under `--json`: one JSON object on standard error, as for every other error.

Without `--json`, Typer's own words and boxes stay.
"""

import sys
from collections.abc import Sequence
from typing import Any

from typer.core import TyperGroup
from typer.exceptions import Abort, TyperException

from clients.cli.output import EXIT_REFUSED, show_error


class CommandGroup(TyperGroup):
    """The group of all commands."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: FBT001, FBT002 - Typer's own signature
        windows_expand_args: bool = True,  # noqa: FBT001, FBT002 - as above
        **extra: Any,
    ) -> Any:
        """Run the command that `args` spell and exit with its status."""
        given = list(sys.argv[1:] if args is None else args)
        words = {"prog_name": prog_name, "complete_var": complete_var, **extra}
        words["windows_expand_args"] = windows_expand_args
        if not standalone_mode or "--json" not in given:
            return super().main(given, standalone_mode=standalone_mode, **words)
        try:
            status = super().main(given, standalone_mode=False, **words)
        except TyperException as error:
            show_error({"reason": "USAGE_WRONG", "message": error.format_message()}, as_json=True)
            status = error.exit_code
        except Abort:
            show_error({"reason": "ABORTED", "message": "Ended at the user's wish."}, as_json=True)
            status = EXIT_REFUSED
        sys.exit(status)

"""A bank's process that kills itself (SIGKILL) in the middle of a job.

python tests/dying_bank.py HOME SCORECARD ROWS MOMENT LICENSE...
"""

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from clients.bank import BankClient
from clients.jobs import Job
from clients.rows import read_rows
from clients.scorecard_file import load_scorecard

PLANNED = "planned"
ASKED = "asked"
RELEASED = "released"
WRITTEN = "written"
MOMENTS = (PLANNED, ASKED, RELEASED, WRITTEN)
"""Planned and nothing sent; one evaluation made at the node, its name not written down; the second block
released by its node, not written down; the second block written down."""


def die(*_: object) -> None:
    """End as nothing can prepare for."""
    os.kill(os.getpid(), signal.SIGKILL)


def second(then: Callable[..., None], before: Callable[..., None]) -> Callable[..., None]:
    """Do `before` at the first call and `then` at the next, which waits: providers are asked side by side."""
    calls = []
    lock = threading.Lock()

    def either(*arguments: Any) -> None:
        with lock:
            calls.append(arguments)
            (then if len(calls) > 1 else before)(*arguments)

    return either


def main(home: str, scorecard: str, rows: str, moment: str, *licenses: str) -> None:
    """Score and die at `moment`."""
    save_block = Job.save_block
    if moment == PLANNED:
        start = Job.start
        Job.start = lambda *arguments: (start(*arguments), die())  # type: ignore[method-assign]  # dies there
    elif moment == ASKED:
        Job.save_evaluation = die  # type: ignore[method-assign]  # dies there
    elif moment == RELEASED:
        Job.save_block = second(die, save_block)  # type: ignore[method-assign]  # dies there
    else:
        Job.save_block = second(  # type: ignore[method-assign]  # dies there
            lambda *arguments: (save_block(*arguments), die()), save_block
        )
    with BankClient.open(Path(home)) as bank:
        card = load_scorecard(Path(scorecard))
        bank.score(
            card,
            read_rows(Path(rows), id_column="id", columns=[own.column.name for own in card.own_columns]),
            consent_reference="vault 7",
            licenses=licenses,
        )


if __name__ == "__main__":
    main(*sys.argv[1:])

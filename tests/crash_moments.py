"""Moments of a release: when to freeze the servers, and what they hold then.

Both servers are stopped (SIGSTOP) before anything is read, and read before anybody is killed: their databases
then say exactly between which steps of the release the moment fell.
"""

import random
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

import pysqlite3.dbapi2 as sqlite

from clients.demo.market import Server

STOP_SECONDS = 10.0
READ_SECONDS = 20.0


class Step(IntEnum):
    """Where a release stood when both servers were frozen, in the order in which it gets there."""

    NOTHING = 0
    RESERVING = 1
    RESERVED = 2
    RECORDING = 3
    RECORDED = 4
    KEEPING = 5
    KEPT = 6
    ANSWERED = 7


WORDS = {
    Step.NOTHING: "before anything is reserved",
    Step.RESERVING: "in the write that reserves",
    Step.RESERVED: "reserved, not recorded",
    Step.RECORDING: "in the write that records",
    Step.RECORDED: "recorded, receipt not kept",
    Step.KEEPING: "in the write that keeps the receipt",
    Step.KEPT: "receipt kept, not answered",
    Step.ANSWERED: "answered",
}


@dataclass(frozen=True)
class Frozen:
    """What both databases hold while nobody runs."""

    node: str | None
    node_writes: bool
    recorded: bool
    exchange_writes: bool
    answered: bool

    @property
    def step(self) -> Step:
        """Where the release stands."""
        if self.answered:
            return Step.ANSWERED
        if self.node == "recorded":
            return Step.KEPT
        if self.node == "reserved":
            if self.recorded:
                return Step.KEEPING if self.node_writes else Step.RECORDED
            return Step.RECORDING if self.exchange_writes else Step.RESERVED
        return Step.RESERVING if self.node_writes else Step.NOTHING


@dataclass
class Moments:
    """Chooses when to kill, so that a step wanted is met: by what moments led to so far. In seconds."""

    duration: float
    seen: list[tuple[float, Step]] = field(default_factory=list)

    def moment_for(self, target: Step, rng: random.Random) -> float:
        """A moment after the call's beginning that may well fall into `target`."""
        recent = self.seen[-80:]
        met = [delay for delay, step in recent if step is target]
        if met and rng.random() < 0.5:
            return rng.choice(met[-8:]) * rng.uniform(0.9, 1.1)
        # Releases differ in speed, so moments of earlier and of later steps overlap: the target lies there.
        earlier = sorted(delay for delay, step in recent if step < target)[-8:] or [0.0]
        later = sorted(delay for delay, step in recent if step > target)[:8] or [self.duration]
        return rng.uniform(*sorted((rng.choice(earlier), rng.choice(later))))


def wanted(met: Mapping[Step, int], rng: random.Random) -> Step:
    """A step to aim at: the seldomer it was met, the likelier."""
    return rng.choices(list(Step), [_weight(step, met[step]) for step in Step])[0]


@contextmanager
def frozen(servers: Sequence[Server]) -> Iterator[None]:
    """No thread of these servers runs inside, from the first one on in this order; afterwards they go on."""
    processes = [server.process for server in servers if server.process is not None]
    try:
        for process in processes:
            process.send_signal(signal.SIGSTOP)
            _wait_until_stopped(process.pid)
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)


def reading(path: Path) -> sqlite.Connection:
    """A connection that changes nothing."""
    return sqlite.connect(f"file:{path}?mode=ro", uri=True, timeout=READ_SECONDS)


def being_written(path: Path) -> bool:
    """Whether somebody is inside a write transaction."""
    with closing(sqlite.connect(path, timeout=0, isolation_level=None)) as database:
        try:
            database.execute("BEGIN IMMEDIATE")
        except sqlite.OperationalError:
            return True
        database.execute("ROLLBACK")
        return False


def _weight(step: Step, met: int) -> float:
    """How much a step is wanted that was met so often; after the answer there is little to break."""
    return (0.3 if step is Step.ANSWERED else 1.0) / (1 + met)


def _wait_until_stopped(pid: int) -> None:
    """Return when every thread of a process has stopped: one inside the kernel ends its call first."""
    end = time.monotonic() + STOP_SECONDS
    while time.monotonic() < end:
        if set(_thread_states(pid)) == {"T"}:
            return
    raise TimeoutError(f"process {pid} did not stop within {STOP_SECONDS:g} seconds")


def _thread_states(pid: int) -> Iterator[str]:
    """The state letter of every thread, as Linux's proc(5) has it; of those that end meanwhile none."""
    for path in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError):
            yield (path / "stat").read_text().rpartition(")")[2].split()[0]

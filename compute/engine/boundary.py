"""The engine boundary: what a node asks an engine, and what it gets back.

A task names its sealed model by file and digest and carries everything else; the same task always gives the
same bytes. The mask stays inside the engine: a node derives it from the seed when it releases.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from compute.engine.errors import TaskError
from sealed.profiles import Profile, profile_named

_DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True)
class BlockTask:
    """One block to evaluate. Raises `TaskError` when its fields contradict each other.

    `c0_path` holds the packed columns of the sealed model, one after another, whose digest is `c0_digest`.
    `bins` are the gathered rows' bin indices, rows × attributes, one byte each, row after row.
    `columns` says which (attribute, bin) each licensed one-hot column is, in the order of the sealed model.
    `seed` is secret, fresh for this block and persisted before use; `place` is `sealed.block.place(...)`.
    """

    profile: str
    ctx: bytes
    c0_path: Path
    c0_digest: bytes
    bins: bytes = field(repr=False)
    attributes: int
    columns: tuple[tuple[int, int], ...]
    seed: bytes = field(repr=False)
    place: bytes

    def __post_init__(self) -> None:
        """Check what can be checked without the model."""
        ring = profile_named(self.profile)
        for name in ("ctx", "c0_digest", "seed", "place"):
            if len(getattr(self, name)) != _DIGEST_BYTES:
                raise TaskError(f"{name} must be {_DIGEST_BYTES} bytes")
        if self.attributes < 1 or len(self.bins) % self.attributes:
            raise TaskError("bins must hold one byte per row and attribute")
        if not 1 <= self.rows <= ring.N:
            raise TaskError(f"a block gathers between 1 and {ring.N} rows")
        if not self.columns or not all(0 <= a < self.attributes and 0 <= b <= 255 for a, b in self.columns):
            raise TaskError("every column must name one of the attributes and a bin between 0 and 255")

    @property
    def rows(self) -> int:
        """How many rows are gathered."""
        return len(self.bins) // self.attributes

    @property
    def ring(self) -> Profile:
        """The profile by value."""
        return profile_named(self.profile)


@dataclass(frozen=True, slots=True)
class BlockResult:
    """A sealed block: its packed bytes (2·L·N words, u32le), and their SHA-256."""

    block: bytes = field(repr=False)
    block_digest: bytes


class Engine(Protocol):
    """Evaluates sealed models on gathered rows."""

    async def start(self) -> None:
        """Return once blocks can be evaluated without delay; the health check says SERVING after this."""

    async def evaluate(self, task: BlockTask) -> BlockResult:
        """Return the sealed block of a task, or raise `EngineError`; never blocks the event loop.

        Evaluating a task again gives identical bytes.
        """

    async def close(self) -> None:
        """Finish or drop what runs, and leave no process behind."""

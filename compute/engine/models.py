"""Prepared models: what a worker keeps ready, and for how long.

Taking a sealed model into the engine costs about a millisecond per column, so a worker keeps those used last,
within a budget of bytes. The bytes on disk are checked against the digest each time they are read.
"""

from collections import OrderedDict
from collections.abc import Callable

from compute.engine.boundary import BlockTask
from compute.engine.errors import ModelFileError
from compute.engine.seal import PreparedModel, SealEngine
from sealed.packing import parse_column
from sealed.sealing import c0_digest, public_a

Key = tuple[bytes, bytes]
"""Context and digest of c0: together they fix every ciphertext."""


class ModelCache:
    """The prepared models used last, at most `budget` bytes of them, or one. Not thread-safe."""

    def __init__(self, budget: int) -> None:
        """`budget` in bytes; a model of 100 columns takes 58 MB under `score-v1`."""
        self._budget = budget
        self._models: OrderedDict[Key, tuple[int, PreparedModel]] = OrderedDict()

    def get(self, key: Key, size: int, prepare: Callable[[], PreparedModel]) -> PreparedModel:
        """Return the model of that key, preparing it (to take `size` bytes) when it is not kept.

        Room is made first, so that old and new together never exceed the budget while preparing.
        """
        if key not in self._models:
            while self._models and self.used + size > self._budget:
                self._models.popitem(last=False)
            self._models[key] = (size, prepare())
        self._models.move_to_end(key)
        return self._models[key][1]

    @property
    def used(self) -> int:
        """Bytes taken by the models kept."""
        return sum(size for size, _ in self._models.values())


def read_model(engine: SealEngine, task: BlockTask) -> PreparedModel:
    """Read a task's sealed model from its file, check it and prepare it.

    Raises `ModelFileError` unless the file holds exactly the packed columns whose digest the task names.
    """
    profile = task.ring
    count = len(task.columns) + profile.blinds
    expected = count * profile.column_bytes
    try:
        with task.c0_path.open("rb") as file:
            data = file.read(expected + 1)
    except OSError as error:
        raise ModelFileError(f"the sealed model's file cannot be read: {error.strerror}") from error
    if len(data) != expected:
        raise ModelFileError(f"the sealed model's file must hold {count} columns, {expected} bytes")
    columns = [data[i : i + profile.column_bytes] for i in range(0, expected, profile.column_bytes)]
    if c0_digest(columns) != task.c0_digest:
        raise ModelFileError("the sealed model's file has changed: its digest is not the one on record")
    return engine.prepare_sealed(
        (parse_column(profile, column), public_a(profile, task.ctx, j)) for j, column in enumerate(columns)
    )

"""A provider's block task and the bank's sealed model behind it, made from plain choices."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from compute.engine.boundary import BlockTask
from compute.engine.seal import SealEngine
from sealed.block import evaluate, open_rows, place, release
from sealed.packing import pack, parse_column
from sealed.profiles import Profile
from sealed.sealing import SealedModel, c0_digest, context, model_digest, seal

DROP = 9


@dataclass(frozen=True)
class Trade:
    """One block as both sides see it; `one_hot` (d, K) is what the task's bins mean."""

    profile: Profile
    weights: list[int]
    model: SealedModel
    task: BlockTask
    one_hot: np.ndarray

    def block_by_numpy(self) -> bytes:
        columns = [parse_column(self.profile, packed) for packed in self.model.packed()]
        task = self.task
        return pack(evaluate(self.profile, columns, task.ctx, self.one_hot, task.seed, task.place).block)

    def scores_in_clear(self) -> np.ndarray:
        return np.array(self.weights) @ self.one_hot

    def open(self, block: np.ndarray, mask: np.ndarray) -> np.ndarray:
        rows = range(self.task.rows)
        released = release(mask, rows, DROP)
        return open_rows(self.profile, block, self.model.secret, released, rows, DROP)


TradeMaker = Callable[..., Trade]


@pytest.fixture(scope="session")
def trade_of(tmp_path_factory) -> TradeMaker:
    folder = tmp_path_factory.mktemp("models")

    def make(profile: Profile, weights: list[list[int]], bins: np.ndarray, number: int = 0) -> Trade:
        """Seal weights per attribute and bin; `bins` (K, attributes) are the gathered rows'."""
        columns = tuple((a, b) for a, group in enumerate(weights) for b in range(len(group)))
        flat = [weight for group in weights for weight in group]
        ctx = context(
            profile,
            kind="named",
            license_digest=bytes(32),
            owner="providers/registry",
            owner_nonce=number.to_bytes(32, "big"),
            sealing=bytes(32),
            scale=DROP,
            drop=DROP,
            columns=[b"%d\x1f%d" % column for column in columns],
        )
        model = seal(profile, flat, model_digest(b"points"), bytes(32), ctx, DROP)
        packed = model.packed()
        digest = c0_digest(packed)
        path: Path = folder / digest.hex()
        path.write_bytes(b"".join(packed))
        task = BlockTask(
            profile=profile.name,
            ctx=ctx,
            c0_path=path,
            c0_digest=digest,
            bins=bins.astype(np.uint8).tobytes(),
            attributes=bins.shape[1],
            columns=columns,
            seed=bytes([number % 256]) * 32,
            place=place("jobs/1", number, bytes(32), 0, bytes(32)),
        )
        one_hot = np.stack([bins[:, a] == b for a, b in columns]).astype(np.int64)
        return Trade(profile, flat, model, task, one_hot)

    return make


@pytest.fixture(scope="session")
def engine_of() -> Callable[[Profile], SealEngine]:
    return cache(SealEngine)

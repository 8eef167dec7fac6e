"""Evaluating one block: from bin indices and a prepared model to packed bytes.

    block = Σ W_j·X_j + Σ Z_i·U_i + (B, 0)

X_j is 1 where a gathered row falls into column j's bin, else 0; U_i and B come from the block's key.
Source: docs/spec/block.md.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from compute.engine.boundary import BlockResult, BlockTask
from compute.engine.errors import TaskError
from compute.engine.seal import PreparedModel, SealEngine
from sealed import ring
from sealed.block import blind_polynomial, block_key, mask_polynomial
from sealed.packing import block_digest, pack


def evaluate_block(engine: SealEngine, model: PreparedModel, task: BlockTask) -> BlockResult:
    """Return the sealed block of `task`, whose model was prepared by the same engine."""
    profile = task.ring
    if len(model.ciphertexts) != len(task.columns) + profile.blinds:
        raise TaskError("the task must name as many columns as its sealed model has, less the blinds")
    key = block_key(task.seed, task.ctx, task.c0_digest, task.place)
    columns = (engine.prepare_plain(polynomial) for polynomial in polynomials(task, key))
    block = engine.multiply_accumulate(model, columns)
    block[0] = ring.add(profile, block[0], mask_polynomial(profile, key))
    packed = pack(block)
    return BlockResult(packed, block_digest(packed))


def polynomials(task: BlockTask, key: bytes) -> Iterator[NDArray[np.int64 | np.bool]]:
    """Yield what each column of the model is multiplied by: the one-hot columns, then the blinds."""
    yield from hot_columns(task)
    for i in range(task.ring.blinds):
        yield blind_polynomial(task.ring, key, i)


def hot_columns(task: BlockTask) -> Iterator[NDArray[np.bool]]:
    """Yield the task's one-hot columns (K,) in the model's order."""
    bins = np.frombuffer(task.bins, dtype=np.uint8).reshape(task.rows, task.attributes)
    by_attribute = np.ascontiguousarray(bins.T)
    for attribute, bin_index in task.columns:
        yield by_attribute[attribute] == bin_index

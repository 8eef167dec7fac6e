"""Rows per second of the node's evaluate, per core, by stage: `.venv/bin/python -m benchmarks.engine`.

One block of 8,192 rows under `score-v1`, at 20 and at 100 one-hot columns, in CPU time of one core.
Machines differ, ratios less: each figure is also given against the plain numpy evaluate and against copying
the operands once through memory, both measured in the same run. `--json FILE` writes all figures.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from compute.engine.boundary import BlockTask
from compute.engine.evaluation import evaluate_block, hot_columns
from compute.engine.seal import PreparedModel, SealEngine
from sealed import ring
from sealed.block import blind_polynomial, block_key, evaluate, mask_polynomial
from sealed.packing import block_digest, pack, parse_column
from sealed.profiles import SCORE_V1
from sealed.sealing import c0_digest, context, model_digest, public_a, seal

BINS = 5
REPETITIONS = 15
PROFILE = SCORE_V1


def medians(stages: dict[str, Callable[[], object]], repetitions: int) -> dict[str, float]:
    """Time every stage in turn, `repetitions` times, and return each one's median in CPU milliseconds."""
    times: dict[str, list[float]] = {name: [] for name in stages}
    for _ in range(repetitions + 1):
        for name, stage in stages.items():
            start = time.process_time()
            stage()
            times[name].append(1000 * (time.process_time() - start))
    return {name: median(taken[1:]) for name, taken in times.items()}


def measure(columns: int) -> dict[str, float]:
    """Return milliseconds per block of the whole path, each stage, and both yardsticks."""
    random = np.random.default_rng(columns)
    attributes = columns // BINS
    ctx = context(
        PROFILE,
        kind="named",
        license_digest=bytes(32),
        owner="providers/benchmark",
        owner_nonce=bytes(32),
        sealing=bytes(32),
        scale=9,
        drop=9,
        columns=[],
    )
    weights = random.integers(-50, 50, columns).tolist()
    packed = seal(PROFILE, weights, model_digest(b"benchmark"), bytes(32), ctx, scale=9).packed()
    sealed = [parse_column(PROFILE, column) for column in packed]
    digest = c0_digest(packed)
    bins = random.integers(0, BINS, (PROFILE.N, attributes), dtype=np.uint8)
    task = BlockTask(
        profile=PROFILE.name,
        ctx=ctx,
        c0_path=Path("not-read"),
        c0_digest=digest,
        bins=bins.tobytes(),
        attributes=attributes,
        columns=tuple((a, b) for a in range(attributes) for b in range(BINS)),
        seed=bytes(32),
        place=bytes(32),
    )
    engine = SealEngine(PROFILE)
    start = time.process_time()
    pairs = [(c0, public_a(PROFILE, ctx, j)) for j, c0 in enumerate(sealed)]
    derived = time.process_time()
    model = engine.prepare_sealed(pairs)
    prepared = time.process_time()

    first = PreparedModel(model.ciphertexts[:1])
    key = block_key(task.seed, ctx, digest, task.place)
    hot = list(hot_columns(task))
    blinds = [blind_polynomial(PROFILE, key, i) for i in range(PROFILE.blinds)]
    plaintexts = [engine.prepare_plain(values) for values in (*hot, *blinds)]
    block = engine.multiply_accumulate(model, plaintexts)
    operands = np.ones((len(sealed), engine.column_bytes // 8), dtype=np.uint64)
    copied = np.zeros_like(operands)
    gathered = np.stack(hot).astype(np.int64)
    expected = pack(evaluate(PROFILE, sealed, ctx, gathered, task.seed, task.place).block)
    if evaluate_block(engine, model, task).block != expected:
        raise SystemExit("the engine and the numpy evaluate disagree: nothing here is worth timing")
    figures = medians(
        {
            "whole block": lambda: evaluate_block(engine, model, task),
            "one-hot columns": lambda: list(hot_columns(task)),
            "prepare columns": lambda: [engine.prepare_plain(values) for values in hot],
            "sample blinds": lambda: [blind_polynomial(PROFILE, key, i) for i in range(PROFILE.blinds)],
            "prepare blinds": lambda: [engine.prepare_plain(values) for values in blinds],
            "multiply-accumulate, read back": lambda: engine.multiply_accumulate(model, plaintexts),
            "(one column, and read back)": lambda: engine.multiply_accumulate(first, plaintexts[:1]),
            "mask": lambda: ring.add(PROFILE, block[0], mask_polynomial(PROFILE, key)),
            "pack and digest": lambda: block_digest(pack(block)),
            "copy operands": lambda: np.copyto(copied, operands),
        },
        REPETITIONS,
    )
    figures |= medians(
        {"numpy evaluate": lambda: evaluate(PROFILE, sealed, ctx, gathered, task.seed, task.place)}, 3
    )
    figures["derive a, once per model"] = 1000 * (derived - start)
    figures["prepare model, once"] = 1000 * (prepared - derived)
    return figures


def report(columns: int, figures: dict[str, float]) -> None:
    """Print one table."""
    whole = figures["whole block"]
    print(f"\n{columns} one-hot columns, {PROFILE.blinds} blinds, {PROFILE.N} rows, {PROFILE.name}, one core")
    for name, milliseconds in figures.items():
        print(f"  {name:34s} {milliseconds:9.2f} ms   {milliseconds / whole:6.2f} of the block")
    print(f"  rows per second and core           {PROFILE.N / whole * 1000:9.0f}")
    print(f"  times faster than numpy evaluate   {figures['numpy evaluate'] / whole:9.2f}")
    print(f"  times slower than copying operands {whole / figures['copy operands']:9.2f}")


def on_one_core() -> None:
    """Go on bound to one core, in a process whose matrix library started one thread."""
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
        sys.exit(subprocess.run(sys.orig_argv, env=environment, check=False).returncode)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def main() -> None:
    """Measure, print, and write the figures when asked."""
    parser = argparse.ArgumentParser(description="Rows per second and core of the node's evaluate, by stage.")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    arguments = parser.parse_args()
    on_one_core()
    results = {columns: measure(columns) for columns in (20, 100)}
    for columns, figures in results.items():
        report(columns, figures)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""The node's evaluate beside TenSEAL's own way of scoring: `.venv/bin/python -m benchmarks.peers`.

TenSEAL's tutorial encrypts each person's features as a CKKS vector and takes its dot product with the
weights in clear. That answers another question (who holds what is the other way round, scores are
approximate, every person costs a ciphertext), and it is what the library offers for encrypted scoring.
Both are timed in one run, in CPU time of one core, at 20 features. `--json FILE` writes the figures.
"""

import argparse
import json
import time
from pathlib import Path
from statistics import median

import numpy as np
import tenseal

from benchmarks.engine import PROFILE, measure, on_one_core

FEATURES = 20
VECTORS = 40
ROUNDS = 5


def ckks_rows_per_second() -> tuple[float, int]:
    """Return rows per second of scoring encrypted vectors, nothing else, and bytes per row sent."""
    context = tenseal.context(
        tenseal.SCHEME_TYPE.CKKS, poly_modulus_degree=8192, coeff_mod_bit_sizes=[60, 40, 40, 60]
    )
    context.global_scale = 2**40
    context.generate_galois_keys()
    random = np.random.default_rng(1)
    weights = random.normal(size=FEATURES).tolist()
    rows = random.integers(0, 2, (VECTORS, FEATURES)).astype(float).tolist()
    vectors = [tenseal.ckks_vector(context, row) for row in rows]
    rates = []
    for _ in range(ROUNDS + 1):
        start = time.process_time()
        for vector in vectors:
            vector.dot(weights)
        rates.append(VECTORS / (time.process_time() - start))
    return median(rates[1:]), len(vectors[0].serialize())


def main() -> None:
    """Measure both and print their ratio."""
    parser = argparse.ArgumentParser(description="The node's evaluate beside TenSEAL's CKKS vectors.")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    arguments = parser.parse_args()
    on_one_core()
    ours = PROFILE.N / measure(FEATURES)["whole block"] * 1000
    theirs, size = ckks_rows_per_second()
    figures = {
        "rows per second and core, sealed query": round(ours),
        "rows per second and core, TenSEAL CKKS vectors": round(theirs),
        "ratio": round(ours / theirs, 1),
        "bytes per row, sealed block": round(PROFILE.block_bytes / PROFILE.N, 1),
        "bytes per row, TenSEAL CKKS vector": size,
    }
    print(f"\n{FEATURES} features, one core")
    for name, value in figures.items():
        print(f"  {name:48s} {value:12,}")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()

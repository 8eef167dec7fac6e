"""A file of scores names persons and what each provider knows of them: nobody else may read it."""

import os
import stat
from dataclasses import fields

import pytest

from clients.results import Results, write_results

SAID = {
    "job": "20260301-120000-00000000",
    "ids": ("4711", "4712"),
    "own": (3, 4),
    "parts": {"datasets/loans": (7, -2)},
    "charged": {"datasets/loans": {"rows": 2, "bits": 22}},
    "licenses": {"datasets/loans": "licenses/one"},
}
RESULTS = Results(**{field.name: SAID[field.name] for field in fields(Results)})


@pytest.mark.parametrize("name", ["scores.csv", "scores.parquet"])
def test_scores_are_readable_by_their_owner_alone(tmp_path, name):
    before = os.umask(0o022)
    try:
        write_results(RESULTS, tmp_path / name)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600

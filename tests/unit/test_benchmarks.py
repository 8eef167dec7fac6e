"""What the README's figures come from still runs; the times it measures are nobody's to assert."""

from benchmarks.engine import PROFILE, measure
from benchmarks.peers import ckks_rows_per_second


def test_a_block_is_measured_by_stage_beside_its_yardsticks():
    assert {"whole block", "prepare columns", "mask", "copy operands", "numpy evaluate"} <= measure(5).keys()


def test_a_sealed_block_takes_fewer_bytes_a_row_than_an_encrypted_vector():
    _, bytes_per_row = ckks_rows_per_second()
    assert bytes_per_row > PROFILE.block_bytes / PROFILE.N

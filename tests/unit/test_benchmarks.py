"""What the README's figures come from still runs; what it measures is nobody's to assert."""

from benchmarks import joint_score, peers
from benchmarks.engine import measure


def test_a_block_is_measured_by_stage_beside_its_yardsticks():
    assert {"whole block", "prepare columns", "mask", "copy operands", "numpy evaluate"} <= measure(5).keys()


def test_peers_and_whole_scores_can_be_measured():
    assert joint_score.APPLICANTS[0] == 1
    assert peers.FEATURES == 20

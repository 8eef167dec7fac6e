"""The benchmark of whole scores runs against the market as it is; its times are nobody's to assert."""

from benchmarks.joint_score import bare_call, score


def test_the_steps_of_a_joint_score_can_be_measured(market):
    market.deploy(market.license_both())
    assert {"ask", "evaluate", "release", "open", "all steps"} <= score(market, 1).keys()
    assert isinstance(bare_call(market), float)

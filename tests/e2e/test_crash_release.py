"""Node and exchange are killed at random moments of Release; `tests/crash_release.py` does it longer."""

import secrets

from crash_moments import Step
from crash_soak import begin_soak

ROUNDS = 20


def test_whatever_is_killed_during_release_there_is_one_charge_one_record_and_the_same_bytes(market):
    soak = begin_soak(market, secrets.randbelow(10**6), lambda _line: None)
    for number in range(1, ROUNDS + 1):
        soak.round(number)
    soak.assert_whole()
    fell = {outcome.step for outcome in soak.outcomes}
    assert fell - {Step.NOTHING, Step.ANSWERED}

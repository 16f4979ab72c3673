"""Every contender of every benchmark does all of its work: a few messages, and no look at the speed.

The client in C needs gcc and librabbitmq (bin/bootstrap bench); without them it is skipped, and
fails where CI is set.
"""

import os
from dataclasses import replace

import pytest

from benchmarks.cases import CASES
from benchmarks.contest import run_case
from benchmarks.ground import Arena


@pytest.mark.parametrize(
    ("case", "contender"),
    [pytest.param(case, each, id=f"{case.name}-{each.name}") for case in CASES for each in case.contenders],
)
def test_a_contender_does_all_of_its_work(case, contender, ordermq_stack):
    alone = replace(case, contenders=[contender])
    outcome = run_case(alone, Arena(ordermq_stack), rounds=1, n=case.smoke_n, say=lambda text: None)
    assert not outcome.failures
    if outcome.left_out:
        assert not os.environ.get("CI"), outcome.left_out
        pytest.skip(f"was not tried: {outcome.left_out[0]}")
    assert outcome.figures

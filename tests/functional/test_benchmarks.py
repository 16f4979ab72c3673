"""The contenders of every benchmark do all of their work: a few messages, and no look at the speed.

The client in C needs gcc and librabbitmq (bin/bootstrap bench); without them it is skipped, and
fails where CI is set.
"""

import os
import subprocess
import warnings
from dataclasses import replace
from types import SimpleNamespace

import pytest

from benchmarks.cases import CASES
from benchmarks.contest import run_case
from benchmarks.ground import Arena
from benchmarks.processes import MeasuredProcess
from ordermq.testing.stack.errors import StackError
from tests.support import forking
from tests.support.commands import ForkedProcess, run_program
from tests.support.forking import can_fork

#: The same program in another size, or those of the pipeline once more: each takes seconds to start.
REPEATED = {
    "publish-celery_16_threads", "publish-celery_64_threads", "publish-dramatiq_16_threads",
    "publish-dramatiq_64_threads", "consume-celery_solo", "consume-celery_threads_8", "effect-celery_solo",
    "effect-dramatiq_1_thread", "effect-dramatiq_8_threads", "latency-celery", "latency-dramatiq",
    "start-celery", "start-dramatiq", "scale-ordermq_1_process", "scale-ordermq_2_processes",
    "scale-ordermq_1_thread", "scale-ordermq_4_threads", "backlog-ordermq_inbox",
    "held-ordermq_free", "held-ordermq_held", "builds-other", "recovery-dramatiq", "recovery-pgmq",
    "recovery-dbos", "events-off",
}  # fmt: skip

PEERS = ("celery", "dbos", "dramatiq", "procrastinate")


@pytest.fixture(autouse=True)
def forked(monkeypatch):
    """Programs and processes of ordermq are forked: how fast they start is no question here."""

    def command(*argv, env):
        done = run_program(*argv, env=env, timeout_s=120.0)
        if done.returncode:
            raise StackError(f"{argv} ended with {done.returncode}: {done.stderr[-2000:]}")

    def run(argv, *, env, timeout, check, **others):
        if not can_fork(argv, env):
            return subprocess.run(argv, env=env, timeout=timeout, check=check, **others)
        code, output, errors = forking.run(argv, env=env, stdin=others["input"].encode(), timeout_s=timeout)
        return subprocess.CompletedProcess(argv, code, output.decode(), errors.decode())

    popen = {"run": run, "TimeoutExpired": subprocess.TimeoutExpired}
    monkeypatch.setattr("benchmarks.ground.subprocess", SimpleNamespace(**popen))
    monkeypatch.setattr("benchmarks.ground.run_command", command)
    monkeypatch.setattr(MeasuredProcess, "_open", ForkedProcess._open, raising=False)


EACH = {f"{case.name}-{each.name}": (case, each) for case in CASES for each in case.contenders}


@pytest.mark.filterwarnings("default:once more:UserWarning")
@pytest.mark.parametrize(
    ("case", "contender"),
    [pytest.param(*both, id=name) for name, both in EACH.items() if name not in REPEATED],
)
def test_a_contender_does_all_of_its_work(case, contender, ordermq_stack):
    alone = replace(case, contenders=[contender])
    outcome = run_case(alone, Arena(ordermq_stack), rounds=1, n=case.smoke_n, say=lambda text: None)
    if outcome.failures and contender.name.startswith(PEERS):
        # Theirs may lose an order: Celery's pipeline once did, in 130 times. Ours may not.
        warnings.warn(f"once more, after {outcome.failures}", stacklevel=1)
        outcome = run_case(alone, Arena(ordermq_stack), rounds=1, n=case.smoke_n, say=lambda text: None)
    assert not outcome.failures
    if outcome.left_out:
        assert not os.environ.get("CI"), outcome.left_out
        pytest.skip(f"was not tried: {outcome.left_out[0]}")
    assert outcome.figures


def test_what_is_left_out_as_repeated_is_there():
    assert EACH.keys() >= REPEATED

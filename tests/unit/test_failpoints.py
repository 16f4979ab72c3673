"""Failpoints: what the variable may say, and that every place is known and named once."""

import re
from pathlib import Path

import pytest

import ordermq
from ordermq import failpoints
from ordermq.cli.app import app
from ordermq.cli.run import run
from ordermq.errors import ConfigError
from ordermq.failpoints import POINTS, FailpointError, arm, failpoint


@pytest.fixture(autouse=True)
def none_left():
    yield
    arm("")


def test_without_the_variable_nothing_happens():
    arm("")
    for name in POINTS:
        failpoint(name)


def test_an_error_is_raised_at_the_asked_pass_only():
    arm("relay.after_claim:error@3, relay.before_commit:sleep=0")
    failpoint("relay.before_commit")
    failpoint("relay.after_claim")
    failpoint("relay.after_claim")
    with pytest.raises(FailpointError, match=r"relay\.after_claim"):
        failpoint("relay.after_claim")
    failpoint("relay.after_claim")


def test_a_message_type_narrows_it_down():
    arm("external.after_call/RefundPayment:error")
    failpoint("external.after_call", "CapturePayment")
    with pytest.raises(FailpointError):
        failpoint("external.after_call", "RefundPayment")


@pytest.mark.parametrize(
    "spec",
    [
        "relay.after_lunch:exit",
        "relay.after_claim",
        "relay.after_claim:explode",
        "relay.after_claim:sleep",
        "relay.after_claim:sleep=soon",
        "relay.after_claim:sleep=nan",
        "relay.after_claim:exit=1",
        "relay.after_claim:exit@0",
        "relay.after_claim:exit@often",
    ],
)
def test_what_cannot_be_meant_is_refused_and_sets_nothing(spec):
    arm("relay.after_claim:error")
    with pytest.raises(ConfigError, match="ORDERMQ_FAILPOINT"):
        arm(f"relay.before_commit:error,{spec}")
    failpoint("relay.before_commit")
    with pytest.raises(FailpointError):
        failpoint("relay.after_claim")


def test_an_unknown_name_is_answered_with_all_that_are_known():
    with pytest.raises(ConfigError) as refused:
        arm("relay.after_lunch:exit")
    assert all(name in str(refused.value) for name in POINTS)


def test_a_process_with_an_unknown_failpoint_does_not_start(monkeypatch, capsys):
    monkeypatch.setenv("ORDERMQ_FAILPOINT", "relay.after_lunch:exit")
    assert run(app, "ordermq", ["completion", "bash"]) == 78
    assert "relay.after_claim" in capsys.readouterr().err


def test_it_is_said_loudly_which_are_set(caplog):
    arm("relay.after_claim:exit@2,external.after_call/RefundPayment:sleep=1.5")
    failpoints.warn()
    assert "relay.after_claim:exit@2, external.after_call/RefundPayment:sleep=1.5@1" in caplog.text


def test_every_failpoint_in_the_code_is_registered_and_every_registered_one_is_in_the_code_once():
    root = Path(ordermq.__file__).parent
    found = [
        name
        for file in root.rglob("*.py")
        for name in re.findall(r'(?:failpoint|_pass)\(\s*"([^"]+)"', file.read_text())
    ]
    assert sorted(found) == sorted(POINTS)

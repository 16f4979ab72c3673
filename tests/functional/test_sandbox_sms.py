"""The SMS service of the sandbox, over HTTP as the shop uses it."""

import pytest

from ordermq.testing.stack.errors import StackError


def send(sandbox, to="+49 30 1234567", reference="order-1", timeout_s=10.0):
    """The answer's body; raises StackError for a refusal, and when no answer comes."""
    body = {"to": to, "text": "on its way", "reference": reference}
    return sandbox.call("POST", "/sms/v1/messages", body, timeout_s=timeout_s)


def count(sandbox):
    return sandbox.call("GET", "/sms/v1/messages/count")


def test_a_message_asked_for_twice_is_sent_twice_and_can_be_seen(sandbox):
    first, second = send(sandbox), send(sandbox)
    send(sandbox, reference="order-2")
    assert first["message_id"] != second["message_id"]
    assert count(sandbox) == {"count": 3, "references": 2, "repeated": 1}
    found = sandbox.call("GET", "/sms/v1/messages?reference=order-1")["messages"]
    assert [sent["message_id"] for sent in found] == [first["message_id"], second["message_id"]]
    assert [entry["n"] for entry in sandbox.ledger("sms")] == [1, 2, 3]


@pytest.mark.parametrize(
    ("ending", "first", "sent"),
    [("0002", "422", 0), ("0003", "does not answer", 1), ("0004", "does not answer", 0), ("0005", "503", 0)],
)
def test_the_ending_of_the_number_decides_what_goes_wrong(sandbox, ending, first, sent):
    with pytest.raises(StackError, match=first):
        send(sandbox, to=f"+49 30 {ending}", timeout_s=0.3)
    assert count(sandbox)["count"] == sent


def test_what_went_wrong_the_first_time_goes_well_the_second(sandbox):
    with pytest.raises(StackError, match="503"):
        send(sandbox, to="+49 30 0005")
    sandbox.restart()
    assert send(sandbox, to="+49 30 0005")["status"] == "accepted"


def test_a_rate_of_errors_can_be_set(sandbox):
    sandbox.behave("sms", error=1.0)
    with pytest.raises(StackError, match="503"):
        send(sandbox)
    sandbox.behave("sms")
    assert send(sandbox)["status"] == "accepted"


@pytest.mark.parametrize("path", ["/sms/v1/messages", "/sms/v1/messages?reference="])
def test_asking_without_a_reference_is_refused(sandbox, path):
    with pytest.raises(StackError, match="must name a reference"):
        sandbox.call("GET", path)


def test_a_number_that_is_none_is_refused(sandbox):
    with pytest.raises(StackError, match="400"):
        send(sandbox, to="call me")

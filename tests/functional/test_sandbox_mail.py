"""The mail server of the sandbox, over SMTP and HTTP."""

import smtplib
from email.message import EmailMessage
from email.policy import SMTP

import pytest


def send(sandbox, to="anna@example.com", message_id="<1@x.example>", timeout_s=10.0):
    message = EmailMessage(SMTP)
    message["Message-ID"], message["Subject"] = message_id, "Grüße"
    message.set_content("Text\n")
    with smtplib.SMTP("127.0.0.1", sandbox.smtp_port, "client", timeout_s) as server:
        return server.sendmail("shop@shop.example", [to], message.as_bytes())


def count(sandbox):
    return sandbox.call("GET", "/mail/v1/messages/count")


def test_a_message_sent_twice_arrives_twice_and_can_be_seen_after_a_restart(sandbox):
    send(sandbox)
    send(sandbox)
    send(sandbox, "bert@example.com", "<2@x.example>")
    sandbox.restart()
    assert count(sandbox) == {"count": 3, "references": 2, "repeated": 1}
    first, *_ = sandbox.ledger("mail")
    assert {name: first[name] for name in ("n", "message_id", "to", "subject", "text")} == {
        "n": 1, "message_id": "<1@x.example>", "to": "anna@example.com", "subject": "Grüße", "text": "Text\n",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("ending", "error", "code", "accepted"),
    [
        ("0002", smtplib.SMTPRecipientsRefused, 550, 0),
        ("0003", smtplib.SMTPServerDisconnected, None, 1),
        ("0004", smtplib.SMTPServerDisconnected, None, 0),
        ("0005", smtplib.SMTPRecipientsRefused, 451, 0),
        ("0006", smtplib.SMTPRecipientsRefused, 451, 0),
    ],
)
def test_the_ending_of_the_address_decides_what_goes_wrong(sandbox, ending, error, code, accepted):
    sandbox.behave("mail", hold_s=0.1)
    to = f"anna{ending}@example.com"
    with pytest.raises(error) as caught:
        send(sandbox, to)
    assert code is None or caught.value.recipients[to][0] == code
    assert count(sandbox)["count"] == accepted
    sandbox.restart()
    if ending in ("0004", "0005"):  # the first time only
        send(sandbox, to)
        assert count(sandbox)["count"] == 1


def test_a_rate_of_errors_can_be_set(sandbox):
    sandbox.behave("mail", error=1.0)
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        send(sandbox)
    sandbox.behave("mail")
    send(sandbox)

"""E-mail over SMTP: real servers with a private authority, and servers that misbehave on the wire."""

import re
import socket
import struct
import time
from contextlib import closing, contextmanager

import pytest

from ordermq.config.secret import Secret
from ordermq.errors import ConfigError, GatewayRefused, GatewayUnavailable, OutcomeUnknown
from ordermq.shop import ShopSettings
from ordermq.shop.gateways.email import Email
from ordermq.shop.gateways.smtp import SmtpGateway
from ordermq.shop.gateways.smtp_client import SmtpClient, SmtpServer
from tests.support.mail import PASSWORD, USER, Certificates, Script, mail_server

HELLO = (b"220 here\r\n", b"250 here\r\n", b"250 2.1.0 OK\r\n", b"250 2.1.5 OK\r\n")
TEXT = "Dear Anna,\n.\n.it\nis on its way.\n"
UNTIL_DATA = (*HELLO, b"354 go on\r\n")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("tls"))


def settings(port, **changes):
    fixed = {
        "smtp_host": "127.0.0.1", "smtp_port": port, "smtp_security": "none",
        "mail_from": "Our Shop <orders@shop.example>", "gateway_timeout_s": 5.0,
    }  # fmt: skip
    return ShopSettings(**(fixed | changes))


def an_email(to="anna@example.com", **changes):
    fixed = {"subject": "Your order", "text": TEXT, "html": "<p>It is.</p>\n"}
    return Email(to=to, reference="A-1.2:order_refunded:7", **(fixed | changes))


def send(port, email=None, *, timeout_s=None, **changes):
    gateway = SmtpGateway.from_settings(settings(port, **changes))
    return gateway.send(email or an_email(), timeout_s=timeout_s)


def send_raw(port, message, *, timeout_s):
    """Send more than the buffers of a connection take, which building an e-mail of takes too long."""
    client = SmtpClient(SmtpServer("127.0.0.1", port, None, False, "", Secret(), 1.0, 9.0))
    return client.send("a@b.example", "c@d.example", message, utf8=False, timeout_s=timeout_s)


def body(message, kind):
    return message.get_body((kind,)).get_content().replace("\r\n", "\n")


@contextmanager
def script(*answers):
    playing = Script(*answers)
    with closing(playing):
        yield playing


# --- a real server ------------------------------------------------------------


def test_a_message_arrives_with_its_headers_and_both_bodies():
    # MIM2
    with mail_server() as (port, received):
        assert send(port, mail_reply_to="help@shop.example") == "250 2.0.0"
    (message,), (envelope,) = received.messages, received.envelopes
    assert (envelope.mail_from, envelope.rcpt_tos) == ("orders@shop.example", ["anna@example.com"])
    assert message["From"] == "Our Shop <orders@shop.example>"
    assert (message["To"], message["Reply-To"]) == ("anna@example.com", "help@shop.example")
    assert (message["Subject"], message["Auto-Submitted"]) == ("Your order", "auto-generated")
    assert message["Message-ID"] == "<A-1=2/order_refunded/7/shop@shop.example>"
    assert message["Date"].datetime.tzinfo is not None
    assert message.get_content_type() == "multipart/alternative"
    assert body(message, "plain") == TEXT
    assert body(message, "html") == "<p>It is.</p>\n"


def test_text_of_any_script_arrives_as_it_was_sent():
    text = "Vielen Dank für Ihre Bestellung 注文 " + "ü" * 2000 + "\n"
    subject = "Danke für 12,99 € " + "ä" * 200
    with mail_server(utf8=False) as (port, received):
        send(port, an_email(text=text, subject=subject), mail_from="Lädchen <a@b.example>")
    (message,) = received.messages
    assert body(message, "plain") == text
    assert message["Subject"] == subject
    assert message["From"] == "Lädchen <a@b.example>"


def test_a_long_order_id_keeps_its_message_id_on_one_line():
    with mail_server() as (port, received):
        email = Email("a@example.com", "s", "t\n", "<p>t</p>\n", f"{'A.' * 31}A1:order_confirmed")
        send(port, email, mail_from=f"orders@{'shop.' * 20}example")
    raw = received.envelopes[0].original_content
    assert re.search(rb"(?im)^message-id: <(A=){31}A1/order_confirmed/shop@(shop\.){20}example>\r$", raw)


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_server_is_checked_against_the_private_authority_and_gets_the_login(certificates, security):
    # SMT3
    with mail_server(certificates, direct_tls=security == "tls", login=True) as (port, received):
        tls = {"smtp_security": security, "smtp_host": "localhost", "smtp_ca_file": certificates.ca_file}
        login = {"smtp_user": USER, "smtp_password": Secret(PASSWORD)}
        assert send(port, **tls, **login) == "250 2.0.0"
        with pytest.raises(GatewayUnavailable, match="is not trusted: IP address mismatch"):
            send(port, **(tls | login | {"smtp_host": "127.0.0.1"}))
        with pytest.raises(GatewayUnavailable, match="is not trusted: unable to get local issuer"):
            send(port, **(tls | login | {"smtp_ca_file": ""}))
        with pytest.raises(GatewayUnavailable, match="refused the login with 535"):
            send(port, **tls, smtp_user=USER, smtp_password=Secret("wrong"))  # SMT4
        if security == "starttls":
            with pytest.raises(GatewayUnavailable, match="answered 530"):
                send(port, **tls)
    assert len(received.messages) == 1


def test_a_password_changed_in_its_file_is_used_with_the_next_message(certificates, tmp_path):
    file = tmp_path / "password"
    file.write_text("old one\n")
    with mail_server(certificates, login=True) as (port, _):
        gateway = SmtpGateway.from_settings(
            settings(
                port, smtp_security="starttls", smtp_host="localhost", smtp_ca_file=certificates.ca_file,
                smtp_user=USER, smtp_password=Secret.in_file(file),
            )
        )  # fmt: skip
        with pytest.raises(GatewayUnavailable):
            gateway.send(an_email())
        file.write_text(f"{PASSWORD}\n")
        assert gateway.send(an_email()) == "250 2.0.0"


def test_a_server_without_starttls_gets_nothing_and_the_setting_is_named():
    # SMT3
    with mail_server() as (port, received):
        with pytest.raises(GatewayUnavailable, match=r"offers no STARTTLS.*shop\.smtp_security to tls"):
            send(port, smtp_security="starttls")
        with pytest.raises(GatewayUnavailable, match="before the message"):
            send(port, smtp_security="tls")
        with pytest.raises(GatewayUnavailable, match="offers no login"):
            send(port, smtp_user="shop")
    assert received.envelopes == []


@pytest.mark.parametrize(
    ("phase", "code", "error"),
    [
        ("MAIL", "451 4.3.0", GatewayUnavailable),
        ("MAIL", "550 5.7.1", GatewayUnavailable),  # SMT4
        ("RCPT", "450 4.2.1", GatewayUnavailable),
        ("RCPT", "530 5.7.0", GatewayUnavailable),
        ("RCPT", "550 5.1.1", GatewayRefused),
        ("DATA", "452 4.3.1", GatewayUnavailable),
        ("DATA", "554 5.7.1", GatewayRefused),
    ],
)
def test_an_answer_means_what_its_code_and_its_phase_say(phase, code, error):
    # SMT2: servers quote the address.
    with mail_server() as (port, received):
        received.answers[phase] = f"{code} <anna@example.com>: no"
        with pytest.raises(error, match=f"answered {code} to the") as caught:
            send(port)
    assert "anna" not in str(caught.value)
    assert "example" not in repr(caught.value)
    assert caught.value.__cause__ is None


def test_an_international_address_needs_a_server_that_takes_one():
    with mail_server() as (port, received):
        send(port, an_email("jürgen@bücher.example"))
    (message,), (envelope,) = received.messages, received.envelopes
    assert envelope.rcpt_tos == ["jürgen@bücher.example"]
    assert "SMTPUTF8" in envelope.mail_options
    assert message["To"] == "jürgen@bücher.example"
    refused = pytest.raises(GatewayRefused, match="does not offer SMTPUTF8")
    with mail_server(utf8=False) as (port, _), refused as caught:
        send(port, an_email("jürgen@bücher.example"))
    assert "rgen" not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    ["anna", "a b@c.d", "a@b@c", "<a@b>", "a@b\r\nRCPT TO:<x@y>", 'a"@b', "a..b@c", "a@b..c", "a@", "@b"],
)
def test_an_address_that_is_none_is_refused_before_anything_is_sent(address):
    # MIM1
    with pytest.raises(GatewayRefused, match="cannot be used"):
        send(1, an_email(address))


@pytest.mark.parametrize("subject", ["a\r\nBcc: x@y.example", "a\nb", "a\rb"])
def test_a_subject_with_a_line_end_is_refused(subject):
    # MIM1
    with pytest.raises(GatewayRefused, match="line end"):
        send(1, an_email(subject=subject))


# --- a server that misbehaves -------------------------------------------------


def hang_up(connection, lines):
    """Reset the connection."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def read_message(lines):
    while lines.readline() not in (b".\r\n", b""):
        pass


def hang_up_in_the_message(connection, lines):
    lines.readline()
    hang_up(connection, lines)


def hang_up_after_the_message(connection, lines):
    read_message(lines)
    hang_up(connection, lines)


def silent(connection, lines):
    read_message(lines)
    connection.recv(1)


def answers(text):
    def answer(connection, lines):
        read_message(lines)
        connection.sendall(text)
        connection.recv(1)

    return answer


@pytest.mark.parametrize("stage", range(len(UNTIL_DATA)))
def test_a_connection_lost_before_the_final_dot_is_certainly_not_sent(stage):
    with script(*UNTIL_DATA[:stage], hang_up) as server, pytest.raises(GatewayUnavailable) as caught:
        send(server.port)
    assert "anna" not in str(caught.value)


def test_a_connection_lost_in_mid_message_is_certainly_not_sent():
    with script(*UNTIL_DATA, hang_up_in_the_message) as server, pytest.raises(GatewayUnavailable):
        send_raw(server.port, b"x\r\n" * 5_000_000, timeout_s=5.0)


@pytest.mark.parametrize(
    "ending", [hang_up_after_the_message, silent, answers(b"what?\r\n"), answers(b"354 go on\r\n")],
    ids=["reset", "silence", "no code", "another code"],
)  # fmt: skip
def test_without_an_answer_to_the_whole_message_it_may_have_been_sent(ending):
    # SMT1
    with script(*UNTIL_DATA, ending) as server, pytest.raises(OutcomeUnknown, match="whole message"):
        send(server.port, timeout_s=0.5)


def test_what_was_accepted_is_accepted_even_if_the_farewell_fails():
    with script(*UNTIL_DATA, answers(b"250 2.0.0 ok\r\n")) as server:
        begun = time.monotonic()
        assert send(server.port) == "250 2.0.0"
        assert time.monotonic() - begun < 3


def drip(connection, lines):
    for _ in range(200):
        connection.sendall(b"2")
        time.sleep(0.05)


@pytest.mark.parametrize("stage", [0, 1, 4])
def test_a_server_that_answers_a_byte_at_a_time_does_not_outlast_the_deadline(stage):
    with script(*UNTIL_DATA[:stage], drip) as server:
        begun = time.monotonic()
        with pytest.raises(GatewayUnavailable, match="no answer in time"):
            send(server.port, timeout_s=0.4)
        assert time.monotonic() - begun < 6  # the server needs 10 s


def test_a_server_that_does_not_read_does_not_outlast_the_deadline():
    # It closes the connection after 2 s, which would be another error
    with (
        script(*UNTIL_DATA, lambda connection, lines: time.sleep(2)) as server,
        pytest.raises(GatewayUnavailable, match="no answer in time"),
    ):
        send_raw(server.port, b"x\r\n" * 20_000_000, timeout_s=0.5)


def test_nothing_listening_is_certainly_not_sent():
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(GatewayUnavailable, match=f"127.0.0.1:{port}, before the message: Connection refused"):
        send(port)


# --- settings -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"smtp_host": "mail.example"}, "addresses and the login would cross the network unencrypted"),
        ({"mail_from": ""}, "whom are the e-mails from"),
        ({"mail_from": "Our Shop"}, "mail_from = 'Our Shop': write an address in ASCII"),
        ({"mail_from": "jürgen@shop.example"}, "write an address in ASCII"),
        ({"mail_reply_to": "nobody"}, "mail_reply_to = 'nobody'"),
        ({"smtp_security": "tls", "smtp_ca_file": "/nowhere"}, "smtp_ca_file '/nowhere' cannot be used"),
    ],
)
def test_settings_that_cannot_work_are_named_at_the_start(changes, words):
    with pytest.raises(ConfigError, match=words):
        SmtpGateway.from_settings(settings(25, **changes))


def test_without_a_host_nothing_can_be_sent():
    assert SmtpGateway.from_settings(ShopSettings()).can_send is False

"""Passwords never print, and texts that hold one come back without it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ordermq.config import Secret, redact

PASSWORD = "s3cr3t-Pa55word"


def test_a_secret_never_prints_itself():
    secret = Secret(PASSWORD)

    assert PASSWORD not in f"{secret} {secret!r} {[secret]}"


@pytest.mark.parametrize(
    "text",
    [
        "amqp://user:{}@host:5672/vhost",
        "postgresql://user:{}@/orders?host=/run",
        "could not connect to [amqps://u:{}@h/,amqps://u:x@h2/]",
        "host=db user=u password={} dbname=x",
        "host=db password='{}' dbname=x",
        '{{"password": "{}"}}',
        "PASSWORD: {}",
        "ORDERMQ_BROKER_PASSWORD={}",
        "https://sms.example/send?to=1&api_key={}&text=x",
        "Authorization: Bearer {}",
        "Authorization: Basic {}",
    ],
)
def test_credentials_are_found_where_they_usually_stand(text):
    said = redact(text.format("never-revealed-by-a-Secret"))

    assert "never-revealed" not in said
    assert "***" in said


def test_what_surrounds_a_credential_is_kept():
    assert redact("refused amqp://user:pw@host:5672/v: 403") == "refused amqp://user:***@host:5672/v: 403"
    assert redact("host=db password=pw dbname=x") == "host=db password=*** dbname=x"


def test_text_without_credentials_is_kept_as_it_is():
    text = "queue orders.inventory: 12 messages, http://127.0.0.1:8080/healthz, a@b.example, 10:30"

    assert redact(text) == text


@given(st.text(), st.text())
def test_a_revealed_secret_is_found_in_any_text(before, after):
    Secret(PASSWORD).reveal()

    assert PASSWORD not in redact(before + PASSWORD + after)


@pytest.mark.timeout(5)
@pytest.mark.parametrize("hostile", ["://a:" * 40_000, "password=" * 20_000, "token" + " " * 200_000])
def test_hostile_text_is_searched_in_linear_time(hostile):
    assert len(redact(hostile)) <= len(hostile)

"""From settings and an address to connection parameters."""

import ssl
from dataclasses import replace

import pika.credentials
import pytest

from ordermq.amqp.parameters import parameters
from ordermq.config.settings import BrokerSettings, Secret
from ordermq.errors import ConfigError

SETTINGS = BrokerSettings(password=Secret("hunter2"))


def test_tls_verifies_certificate_and_host_name_and_nothing_older_than_1_2():
    made = parameters(replace(SETTINGS, tls=True), "rabbit.example.com", name="test")

    context = made.ssl_options.context
    assert made.ssl_options.server_hostname == "rabbit.example.com"
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("key", ["ca_file", "cert_file"])
def test_a_certificate_file_that_is_missing_is_named(key, tmp_path):
    settings = replace(SETTINGS, tls=True, **{key: str(tmp_path / "absent.pem")})

    with pytest.raises(ConfigError, match=rf"broker\.{key}.*absent\.pem"):
        parameters(settings, "rabbit", name="test")


def test_the_password_is_read_again_for_every_attempt():
    passwords = iter(["old", "new"])
    settings = replace(SETTINGS, password=Secret(lambda: next(passwords)))

    assert [parameters(settings, "localhost", name="test").credentials.password for _ in range(2)] == [
        "old",
        "new",
    ]


def test_timeouts_and_liveness_come_from_the_settings():
    made = parameters(SETTINGS, "localhost", name="ordermq relay")

    assert made.heartbeat == 10
    assert made.socket_timeout == made.stack_timeout == 10.0
    assert made.blocked_connection_timeout == 30.0
    assert made.connection_attempts == 1
    assert made.client_properties == {"connection_name": "ordermq relay"}
    assert made.tcp_options == {
        "TCP_USER_TIMEOUT": 10_000,
        "TCP_KEEPIDLE": 5,
        "TCP_KEEPINTVL": 2,
        "TCP_KEEPCNT": 3,
    }
    assert isinstance(made.credentials, pika.credentials.PlainCredentials)
    assert "hunter2" not in repr(made)

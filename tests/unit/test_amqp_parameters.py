"""From settings and an address to connection parameters."""

import ssl
from dataclasses import replace

import pika.credentials
import pytest

from ordermq.amqp.parameters import parameters, split_address
from ordermq.config.settings import BrokerSettings, Secret
from ordermq.errors import ConfigError

SETTINGS = BrokerSettings(password=Secret("hunter2"))


@pytest.mark.parametrize(
    ("address", "tls", "expected"),
    [
        ("rabbit", False, ("rabbit", 5672)),
        ("rabbit", True, ("rabbit", 5671)),
        ("rabbit:1234", False, ("rabbit", 1234)),
        ("127.0.0.1:5672", False, ("127.0.0.1", 5672)),
        ("[::1]", False, ("::1", 5672)),
        ("[::1]:1234", True, ("::1", 1234)),
    ],
)
def test_an_address_is_a_host_and_perhaps_a_port(address, tls, expected):
    assert split_address(address, tls=tls) == expected


@pytest.mark.parametrize(
    "address", ["", ":5672", "rabbit:", "rabbit:x", "rabbit:0", "rabbit:65536", "::1", "[::1]x", "rabbit:-1"]
)
def test_a_bad_address_is_refused_by_name(address):
    with pytest.raises(ConfigError, match=r"broker\.hosts"):
        split_address(address, tls=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.9.9.9"])
def test_a_password_may_stay_on_this_machine_in_the_clear(host):
    assert parameters(SETTINGS, host, name="test").ssl_options is None


@pytest.mark.parametrize("host", ["rabbit", "10.0.0.1", "localhost.example.com", "example"])
def test_a_password_leaves_this_machine_in_the_clear_only_on_request(host):
    with pytest.raises(ConfigError, match=r"broker\.tls.*another machine") as refused:
        parameters(SETTINGS, host, name="test")
    assert "hunter2" not in str(refused.value)

    assert parameters(replace(SETTINGS, allow_plaintext=True), host, name="test").host == host


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

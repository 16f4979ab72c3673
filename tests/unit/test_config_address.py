"""Addresses: one table of cases for both gates that keep a password from the network."""

from dataclasses import replace

import pytest

from ordermq.amqp.parameters import parameters
from ordermq.config.address import is_loopback, split_address
from ordermq.config.checks import clashes
from ordermq.config.settings import BrokerSettings, DatabaseSettings, Secret, Settings
from ordermq.errors import ConfigError

HERE = [
    "localhost", "LOCALHOST", "Localhost", "127.0.0.1", "127.9.9.9", "127.255.255.255",
    "::1", "0:0:0:0:0:0:0:1", "0000::0001", "::ffff:127.0.0.1", "::FFFF:7f00:1",
]  # fmt: skip
ELSEWHERE = [
    # names, whatever they resolve to
    "rabbit", "example", "localhost.", "localhost.example.org", "localhost.localdomain", "ip6-localhost",
    "127.example.org", "127.0.0.1.example.org", "ｌocalhost",
    # what looks like an address and is none
    "127.0.0.999", "127.1", "127.0.0.01", "127.0.0.1.", "2130706433", "0x7f000001", "127.0.0.١",
    # addresses
    "10.0.0.1", "0.0.0.0", "128.0.0.1", "::", "::2", "fe80::1", "::1%lo", "fe80::1%eth0", "::ffff:10.0.0.1",  # noqa: S104 # read, never bound
    "::127.0.0.1",
]  # fmt: skip
CASES = [(host, True) for host in HERE] + [(host, False) for host in ELSEWHERE]

BROKER = BrokerSettings(password=Secret("hunter2"))


@pytest.mark.parametrize(("host", "is_here"), CASES)
def test_a_password_may_stay_on_this_machine_in_the_clear_and_leaves_it_only_on_request(host, is_here):
    assert is_loopback(host) == is_here
    broker = replace(BROKER, hosts=(f"[{host}]" if ":" in host else host,))
    assert is_allowed_by_the_settings(broker) == is_here
    assert is_allowed_by_the_connection(broker) == is_here
    assert is_allowed_by_the_settings(replace(broker, allow_plaintext=True))
    assert is_allowed_by_the_connection(replace(broker, allow_plaintext=True))
    database = DatabaseSettings(host=host, sslmode="disable")
    assert (clashes(Settings(database=database)) == []) == is_here


def is_allowed_by_the_settings(broker):
    return clashes(Settings(broker=broker)) == []


def is_allowed_by_the_connection(broker):
    try:
        parameters(broker, broker.hosts[0], name="test")
    except ConfigError as exc:
        return "another machine" not in str(exc) or "hunter2" in str(exc)
    return True


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("mq", ("mq", 5672)),
        ("mq.example:1", ("mq.example", 1)),
        ("127.0.0.1:5672", ("127.0.0.1", 5672)),
        ("[::1]", ("::1", 5672)),
        ("[fe80::1]:65535", ("fe80::1", 65_535)),
        ("[fe80::1%eth0]:5673", ("fe80::1%eth0", 5673)),
        ("[::ffff:10.0.0.1]", ("::ffff:10.0.0.1", 5672)),
    ],
)
def test_an_address_is_a_host_with_or_without_port(address, parts):
    assert split_address(address, tls=False) == parts


def test_the_port_of_tls_is_another():
    assert split_address("mq", tls=True) == ("mq", 5671)
    assert split_address("[::1]:1234", tls=True) == ("::1", 1234)


@pytest.mark.parametrize(
    "address",
    [
        "", ":5672", "mq:", "mq:x", "mq:0", "mq:65536", "mq:-1", "mq:٣", "u:p@mq", "a b", "mq/", "mq\n",
        "::1", "[::1", "[::1]x", "[]", "[mq]", "[127.0.0.1]", "[:::1]", "[::1]:",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused_by_both_and_named(address):
    with pytest.raises(ConfigError) as refused:
        split_address(address, tls=False)
    assert repr(address) in str(refused.value)
    with pytest.raises(ConfigError):
        parameters(BROKER, address, name="test")
    [clash] = clashes(Settings(broker=replace(BROKER, hosts=(address,))))
    assert (clash.names, clash.why) == (("broker.hosts",), str(refused.value))

"""Settings that are each allowed but contradict each other."""

from dataclasses import replace

import pytest

from ordermq.config import Secret, Settings, load
from ordermq.config.checks import clashes
from ordermq.errors import ConfigError


def change(**sections: dict[str, object]) -> Settings:
    settings = Settings()
    return replace(
        settings, **{name: replace(getattr(settings, name), **values) for name, values in sections.items()}
    )


def test_the_defaults_do_not_clash():
    assert clashes(Settings()) == []


REMOTE = {"hosts": ("127.0.0.1:5672", "mq.example:5672"), "password": Secret("hunter2")}


@pytest.mark.parametrize(
    ("sections", "names"),
    [
        ({"broker": {"hosts": ()}}, "broker.hosts"),
        ({"broker": {"hosts": ("127.0.0.1:70000",)}}, "broker.hosts"),
        ({"broker": {"tls": True, "key_file": "k"}}, "broker.key_file broker.cert_file"),
        ({"broker": {"cert_file": "c"}}, "broker.tls broker.ca_file broker.crl_file broker.cert_file"),
        ({"broker": REMOTE}, "broker.hosts broker.tls"),
        ({"broker": {"reconnect_base_s": 31.0}}, "broker.unreachable_cap_s broker.reconnect_base_s"),
        ({"database": {"host": "db.example"}}, "database.host database.sslmode"),
        ({"database": {"sslmode": "verify-full"}}, "database.sslmode database.ca_file"),
        ({"database": {"key_file": "key.pem"}}, "database.key_file database.cert_file"),
        ({"database": {"crl_file": "crl.pem", "sslmode": "require"}}, "database.sslmode database.crl_file"),
        (
            {"database": {"cert_file": "cert.pem", "sslmode": "disable"}},
            "database.sslmode database.cert_file",
        ),
        ({"kafka": {"bootstrap_servers": ()}}, "kafka.bootstrap_servers"),
        ({"kafka": {"bootstrap_servers": ("kafka.example:9092",)}}, "kafka.bootstrap_servers kafka.tls"),
        ({"kafka": {"ca_file": "ca"}}, "kafka.tls kafka.ca_file kafka.cert_file kafka.key_file"),
        ({"kafka": {"tls": True, "cert_file": "c"}}, "kafka.key_file kafka.cert_file"),
        ({"database": {"lock_timeout_s": 16.0}}, "database.lock_timeout_s database.statement_timeout_s"),
        (
            {"retention": {"inbox_s": 864_000.0}},
            "retention.inbox_s retention.dead_letters_s",
        ),
        ({"consumer": {"prefetch": 10, "batch": 11}}, "consumer.prefetch consumer.batch"),
        ({"consumer": {"call_timeout_s": 31.0}}, "consumer.call_timeout_s consumer.lease_s"),
        (
            {"consumer": {"consumer_timeout_s": 119.0, "handler_deadline_s": 50.0}},
            "consumer.lease_s consumer.consumer_timeout_s",
        ),
        (
            {"consumer": {"handler_deadline_s": 901.0}},
            "consumer.handler_deadline_s consumer.consumer_timeout_s",
        ),
        (
            {"consumer": {"handler_deadline_s": 20.0}},
            "consumer.call_timeout_s consumer.handler_deadline_s",
        ),
        (
            {"consumer": {"handler_deadline_s": 30.0}, "database": {"statement_timeout_s": 30.0}},
            "database.statement_timeout_s consumer.handler_deadline_s",
        ),
        (
            {"consumer": {"consumer_timeout_s": 1000.0}, "broker": {"blocked_timeout_s": 501.0}},
            "broker.blocked_timeout_s consumer.consumer_timeout_s",
        ),
        (
            {"database": {"idle_in_transaction_s": 10.0}},
            "broker.confirm_timeout_s database.idle_in_transaction_s",
        ),
        ({"retry": {"base_s": 601.0}}, "retry.cap_s retry.base_s"),
        ({"relay": {"refused_base_s": 61.0}}, "relay.refused_cap_s relay.refused_base_s"),
    ],
)
def test_a_contradiction_names_the_settings_it_is_between(sections, names):
    assert [" ".join(clash.names) for clash in clashes(change(**sections))] == [names]


@pytest.mark.parametrize(
    "sections",
    [
        {"broker": {**REMOTE, "tls": True}},
        {"broker": {**REMOTE, "allow_plaintext": True}},
        {"broker": {**REMOTE, "password": Secret()}},
        {"broker": {"hosts": ("[::1]:5672", "localhost:5672"), "password": Secret("hunter2")}},
        {"database": {"host": "db.example", "sslmode": "require"}},
        {"database": {"host": "db.example", "allow_plaintext": True}},
        {"database": {"host": "/run/postgresql"}},
        {"consumer": {"prefetch": 10, "batch": 10}},
    ],
)
def test_what_is_safe_or_said_aloud_is_accepted(sections):
    assert clashes(change(**sections)) == []


def test_a_contradiction_is_reported_with_values_and_origins():
    with pytest.raises(ConfigError) as caught:
        load(environ={"ORDERMQ_CONFIG": "", "ORDERMQ_BROKER_UNREACHABLE_CAP_S": "0.25"})

    assert str(caught.value) == (
        "broker.unreachable_cap_s = 0.25 (ORDERMQ_BROKER_UNREACHABLE_CAP_S), "
        "broker.reconnect_base_s = 0.5 (default): the cap must be at least the base"
    )


def test_a_setting_that_was_refused_is_not_also_called_contradictory():
    environ = {
        "ORDERMQ_CONFIG": "",
        "ORDERMQ_BROKER_UNREACHABLE_CAP_S": "x",
        "ORDERMQ_BROKER_RECONNECT_BASE_S": "40",
    }

    with pytest.raises(ConfigError) as caught:
        load(environ=environ)

    assert len(str(caught.value).splitlines()) == 1

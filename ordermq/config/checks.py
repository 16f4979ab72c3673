"""Settings whose values are allowed one by one but contradict each other. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from ordermq.config.address import is_loopback, split_address
from ordermq.config.settings import (
    BrokerSettings,
    ConsumerSettings,
    DatabaseSettings,
    KafkaSettings,
    Settings,
)
from ordermq.config.tls import VERIFIES
from ordermq.errors import ConfigError


@dataclass(frozen=True)
class Clash:
    """The names of settings that contradict each other, and why they do."""

    names: tuple[str, ...]
    why: str


def clashes(settings: Settings) -> list[Clash]:
    """Return every contradiction in ``settings``. Reads the secrets to learn whether they are empty."""
    return [
        *_broker(settings.broker),
        *_database(settings.database),
        *_consumer(settings.consumer),
        *_kafka(settings.kafka),
        *_across(settings),
    ]


def _broker(broker: BrokerSettings) -> Iterator[Clash]:
    if not broker.hosts:
        yield Clash(("broker.hosts",), "at least one host is needed")
    if broker.key_file and not broker.cert_file:
        yield Clash(("broker.key_file", "broker.cert_file"), "a private key needs its certificate")
    if not broker.tls and (broker.ca_file or broker.crl_file or broker.cert_file):
        yield Clash(
            ("broker.tls", "broker.ca_file", "broker.crl_file", "broker.cert_file"),
            "certificates are used only with tls; set broker.tls",
        )
    is_remote = False
    for address in broker.hosts:
        try:
            is_remote |= not is_loopback(split_address(address, tls=broker.tls)[0])
        except ConfigError as exc:
            yield Clash(("broker.hosts",), str(exc))
    if is_remote and broker.password and not (broker.tls or broker.allow_plaintext):
        yield Clash(
            ("broker.hosts", "broker.tls"),
            "the password would cross the network unencrypted; set tls, or allow_plaintext to accept that",
        )
    if broker.unreachable_cap_s < broker.reconnect_base_s:
        yield Clash(
            ("broker.unreachable_cap_s", "broker.reconnect_base_s"), "the cap must be at least the base"
        )


def _database(database: DatabaseSettings) -> Iterator[Clash]:
    is_local = all(host == "" or host.startswith("/") or is_loopback(host) for host in database.hosts)
    is_plain = database.sslmode in ("disable", "prefer")
    if not is_local and is_plain and not database.allow_plaintext:
        yield Clash(
            ("database.host", "database.sslmode"),
            "data could cross the network unencrypted; set verify-full, or allow_plaintext to accept that",
        )
    if database.sslmode in VERIFIES and not database.ca_file:
        yield Clash(
            ("database.sslmode", "database.ca_file"),
            "to verify the server, the file of the certificate authority is needed",
        )
    if database.key_file and not database.cert_file:
        yield Clash(("database.key_file", "database.cert_file"), "a private key needs its certificate")
    if database.sslmode not in VERIFIES and database.crl_file:
        yield Clash(
            ("database.sslmode", "database.crl_file"),
            "revocation lists are used only where the server is verified; set verify-full",
        )
    if database.sslmode == "disable" and database.cert_file:
        yield Clash(
            ("database.sslmode", "database.cert_file"),
            "certificates are used only with TLS; set verify-full",
        )
    if database.lock_timeout_s > database.statement_timeout_s:
        yield Clash(
            ("database.lock_timeout_s", "database.statement_timeout_s"),
            "the statement would always time out before the lock; lower lock_timeout_s",
        )


def _consumer(consumer: ConsumerSettings) -> Iterator[Clash]:
    if 0 < consumer.prefetch < consumer.batch:
        yield Clash(("consumer.prefetch", "consumer.batch"), "a batch larger than prefetch is never full")
    if consumer.call_timeout_s > consumer.lease_s / 2:
        yield Clash(
            ("consumer.call_timeout_s", "consumer.lease_s"),
            "a call may start until half of its lease is over, so it may take at most the other half",
        )


def _kafka(kafka: KafkaSettings) -> Iterator[Clash]:
    if not kafka.bootstrap_servers:
        yield Clash(("kafka.bootstrap_servers",), "at least one broker is needed")
    is_remote = False
    for address in kafka.bootstrap_servers:
        try:
            is_remote |= not is_loopback(split_address(address, tls=kafka.tls)[0])
        except ConfigError as exc:
            yield Clash(("kafka.bootstrap_servers",), str(exc))
    if is_remote and not (kafka.tls or kafka.allow_plaintext):
        yield Clash(
            ("kafka.bootstrap_servers", "kafka.tls"),
            "events would cross the network unencrypted; set tls, or allow_plaintext to accept that",
        )
    if not kafka.tls and (kafka.ca_file or kafka.cert_file or kafka.key_file):
        yield Clash(
            ("kafka.tls", "kafka.ca_file", "kafka.cert_file", "kafka.key_file"),
            "certificates are used only with tls; set kafka.tls",
        )
    if bool(kafka.cert_file) != bool(kafka.key_file):
        yield Clash(
            ("kafka.key_file", "kafka.cert_file"), "a certificate and its private key need each other"
        )


def _across(settings: Settings) -> Iterator[Clash]:
    deadline_s = settings.consumer.handler_deadline_s
    shorter = {
        "consumer.call_timeout_s": settings.consumer.call_timeout_s,
        "database.statement_timeout_s": settings.database.statement_timeout_s,
    }
    for name, value_s in shorter.items():
        if value_s >= deadline_s:
            yield Clash(
                (name, "consumer.handler_deadline_s"),
                "it must be below the deadline that ends the process; raise consumer.handler_deadline_s",
            )
    if settings.broker.confirm_timeout_s >= settings.database.idle_in_transaction_s:
        yield Clash(
            ("broker.confirm_timeout_s", "database.idle_in_transaction_s"),
            "the relay's transaction is idle while it waits for confirms, and PostgreSQL must not end it",
        )
    if settings.retention.inbox_s < settings.retention.dead_letters_s:
        yield Clash(
            ("retention.inbox_s", "retention.dead_letters_s"),
            "the inbox would forget a message that still has a dead letter",
        )
    # After half of it the consumer closes its channel itself; see docs/architecture.md.
    half_s = settings.consumer.consumer_timeout_s / 2
    longest = {
        "consumer.lease_s": settings.consumer.lease_s,
        # A delivery waits for the one before it, then its own handler runs.
        "consumer.handler_deadline_s": settings.consumer.handler_deadline_s,
        "broker.blocked_timeout_s": settings.broker.blocked_timeout_s,
    }
    for name, value_s in longest.items():
        if value_s > half_s:
            yield Clash(
                (name, "consumer.consumer_timeout_s"),
                "it may be at most half of the broker's consumer_timeout",
            )
    pairs = (
        ("retry.cap_s", settings.retry.cap_s, "retry.base_s", settings.retry.base_s),
        (
            "relay.refused_cap_s",
            settings.relay.refused_cap_s,
            "relay.refused_base_s",
            settings.relay.refused_base_s,
        ),
    )
    for cap, cap_s, base, base_s in pairs:
        if cap_s < base_s:
            yield Clash((cap, base), "the cap must be at least the base")

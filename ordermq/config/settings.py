"""Every setting of the framework: its type, unit, default and limits, in one place.

A section is a frozen dataclass, a setting is a field made by ``setting()``. The
loader (``ordermq.config.load``) fills the sections from the file, the environment and
flags, and refuses values outside the limits written here. Durations are float
seconds (``_s``), sizes are bytes (``_bytes``). Other code takes a whole section as
its argument, never a single number.

The defaults come from RabbitMQ's heartbeat guide (5-20 s), from the TCP figures
measured in docs/configuration.md, and from PostgreSQL's own timeouts.
"""

from dataclasses import dataclass, field

from ordermq.config.declaration import MODULES, Limits, Shape, setting
from ordermq.config.secret import Secret
from ordermq.topology import names

__all__ = [
    "BrokerSettings",
    "ConsumerSettings",
    "DatabaseSettings",
    "KafkaSettings",
    "Limits",
    "MessageSettings",
    "ObserveSettings",
    "RelaySettings",
    "RetentionSettings",
    "RetrySettings",
    "Secret",
    "Settings",
    "Shape",
    "TopologySettings",
    "setting",
]


PREFIX = Shape("a small letter, then small letters, digits, dash, underscore: up to 60", names.PREFIX)
QUEUE = Shape("small letters, digits, dash, underscore: up to 60", names.QUEUE)
URI = Shape("a URI without spaces, or empty", r"[!-~]{0,200}")
URL = Shape("http[s]://host:port without credentials, or empty", r"(https?://[^\s/@]+(/\S*)?)?")


@dataclass(frozen=True)
class BrokerSettings:
    """``[broker]``: how to reach RabbitMQ, and when to give up."""

    hosts: tuple[str, ...] = setting(
        ("127.0.0.1:5672",),
        "host[:port] of each node; they are tried in turn. Default port: 5672, with tls 5671",
    )
    vhost: str = setting("/", "virtual host")
    username: str = setting("guest", "user name")
    password: Secret = setting(Secret, "password")
    tls: bool = setting(False, "connect with TLS 1.2 or newer; certificate and host name are verified")
    ca_file: str = setting("", "PEM file of the certificate authority; empty: those of the system")
    crl_file: str = setting(
        "", "PEM file of revocation lists, one of each authority in the chain; empty: none is asked for"
    )
    cert_file: str = setting(
        "", "PEM file of the client certificate; without a password its name logs in (EXTERNAL)"
    )
    key_file: str = setting("", "PEM file of the client's private key, not encrypted")
    allow_plaintext: bool = setting(False, "allow the password to be sent unencrypted to another machine")
    heartbeat_s: int = setting(10, "heartbeat interval to request from the broker", ge=2, le=60)
    connect_timeout_s: float = setting(
        10.0, "longest attempt to connect, with looking up the name", gt=0, le=20
    )
    tcp_user_timeout_s: float = setting(
        10.0, "data not acknowledged for this long breaks the connection", gt=0, le=300
    )
    keepalive_idle_s: int = setting(5, "TCP keepalive: idle time before the first probe", ge=1, le=300)
    keepalive_interval_s: int = setting(2, "TCP keepalive: time between probes", ge=1, le=60)
    keepalive_count: int = setting(3, "TCP keepalive: lost probes that break the connection", ge=1, le=20)
    blocked_timeout_s: float = setting(
        30.0, "longest resource alarm of the broker before the connection is reopened", gt=0, le=600
    )
    confirm_timeout_s: float = setting(10.0, "longest wait for a publisher confirm", gt=0, le=25)
    publish_window: int = setting(500, "most publishings that may wait for their confirms", ge=1, le=10_000)
    reconnect_base_s: float = setting(
        0.5, "longest wait before the first reconnect; doubles each time", gt=0, le=60
    )
    unreachable_cap_s: float = setting(
        1.5, "longest wait before a reconnect while no node answers", gt=0, le=300
    )
    reconnect_cap_s: float = setting(
        30.0, "longest wait after a refusal: login, vhost, permission, too many connections", gt=0, le=300
    )
    healthy_after_s: float = setting(60.0, "a connection open for this long resets the wait", gt=0, le=3600)
    give_up_after_s: float = setting(
        300.0, "a process without a connection for this long exits with 75", gt=0, le=86_400
    )


@dataclass(frozen=True)
class DatabaseSettings:
    """``[database]``: how to reach PostgreSQL. Host, port and names are not secrets; the password is."""

    host: str = setting(
        "127.0.0.1",
        "host name, address, or folder of a Unix socket; of several with commas the first that takes writes",
    )
    port: int = setting(5432, "TCP port", ge=1, le=65_535)
    name: str = setting("ordermq", "database name")
    username: str = setting("ordermq", "user name")
    password: Secret = setting(Secret, "password")
    sslmode: str = setting(
        "prefer",
        "sslmode of libpq; use verify-full to reach another machine",
        choices=("disable", "prefer", "require", "verify-ca", "verify-full"),
    )
    ca_file: str = setting("", "PEM file of the certificate authority (libpq sslrootcert); empty: none")
    crl_file: str = setting(
        "", "PEM file of revocation lists, one of each authority in the chain (sslcrl); empty: none"
    )
    cert_file: str = setting("", "PEM file of the client certificate (sslcert); empty: none")
    key_file: str = setting("", "PEM file of the client's private key, not encrypted (sslkey)")
    allow_plaintext: bool = setting(False, "allow an sslmode below require to another machine")
    connect_timeout_s: int = setting(5, "longest time for one connection attempt", ge=2, le=60)
    statement_timeout_s: float = setting(15.0, "longest time one statement may run", gt=0, le=600)
    lock_timeout_s: float = setting(5.0, "longest wait for a lock", gt=0, le=600)
    idle_in_transaction_s: float = setting(30.0, "longest time a transaction may be idle", gt=0, le=600)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts that ``host`` names."""
        return tuple(each.strip() for each in self.host.split(","))


@dataclass(frozen=True)
class TopologySettings:
    """``[topology]``: what ``ordermq topology apply`` declares."""

    prefix: str = setting("orders", "name of the exchange and prefix of every queue", shape=PREFIX)
    queue_type: str = setting("quorum", "type of the work queues", choices=("quorum", "classic"))
    queues: tuple[str, ...] = setting((), "queues in addition to those of the handlers", shape=QUEUE)
    events: bool = setting(
        False,
        "declare the topic exchange PREFIX.events and the stream PREFIX.events.log, and have the relay "
        "publish each event there; docs/events.md",
    )
    management_url: str = setting(
        "",
        "RabbitMQ management API for 'topology verify', relay and consumers; empty: bindings and policies "
        "are not checked",
        shape=URL,
    )


@dataclass(frozen=True)
class ConsumerSettings:
    """``[consumer]``: how a consumer process handles the messages of its queue."""

    threads: int = setting(4, "number of worker threads", ge=1, le=256)
    prefetch: int = setting(
        0,
        "most deliveries held unacknowledged; 0: 2 x batch, with external handlers 128 or 4 x threads,"
        " fewer if call_timeout_s is long",
        ge=0,
        le=10_000,
    )
    batch: int = setting(0, "largest batch; 0: the handler decides", ge=0, le=5_000)
    drain_deadline_s: float = setting(25.0, "longest time from SIGTERM to exit", gt=0, le=600)
    lease_s: float = setting(
        60.0, "lease of an external call; no call starts in its second half", ge=1, le=3600
    )
    call_timeout_s: float = setting(20.0, "longest time one external call may take", gt=0, le=1800)
    breaker_failures: int = setting(5, "failed calls in a row after which a queue pauses", ge=1, le=1000)
    breaker_cap_s: float = setting(30.0, "longest wait between probes of a service that fails", gt=0, le=3600)
    handler_deadline_s: float = setting(
        300.0, "a handler or a call that runs longer ends the process with 75", gt=0, le=43_200
    )
    consumer_timeout_s: float = setting(1800.0, "consumer_timeout of the broker", ge=10, le=86_400)


@dataclass(frozen=True)
class RetrySettings:
    """``[retry]``: when a failed message is tried again or given up. A handler may say otherwise."""

    attempts: int = setting(8, "attempts before a message becomes a dead letter", ge=1, le=100)
    base_s: float = setting(1.0, "longest wait before the second attempt; doubles each time", gt=0, le=3600)
    cap_s: float = setting(600.0, "longest wait before an attempt", gt=0, le=86_400)
    postpone_s: float = setting(
        1.0, "first wait of a postponed message; it doubles each time, up to cap_s", gt=0, le=3600
    )
    max_age_s: float = setting(
        86_400.0, "a message retried for longer than this becomes a dead letter", gt=0, le=2_592_000
    )
    immediate: int = setting(2, "retries without a wait after a deadlock or a lock timeout", ge=0, le=10)


@dataclass(frozen=True)
class MessageSettings:
    """``[message]``: how a consumer knows that a message comes from ordermq."""

    signing_keys_file: str = setting(
        "",
        "file of the keys that sign and verify messages, read again when it changes; empty: neither; "
        "docs/message-signing.md",
    )
    unsigned: str = setting(
        "reject",
        "with keys, what becomes of a message without a signature: reject makes it a dead letter",
        choices=("reject", "accept"),
    )


@dataclass(frozen=True)
class RelaySettings:
    """``[relay]``: how outbox rows reach the broker."""

    batch: int = setting(
        2000, "most rows claimed at once; fewer if their bodies are over 16 MiB", ge=1, le=10_000
    )
    poll_busy_s: float = setting(0.05, "wait between claims after a claim found rows", gt=0, le=5)
    poll_idle_s: float = setting(0.5, "wait between claims after a claim found none", gt=0, le=60)
    standby_s: float = setting(2.0, "wait between a standby relay's attempts to become active", gt=0, le=60)
    refused_base_s: float = setting(
        1.0, "first wait of a row that the broker returned or nacked", gt=0, le=600
    )
    refused_cap_s: float = setting(60.0, "longest wait of a row that the broker returned", gt=0, le=3600)
    nacked_cap_s: float = setting(
        5.0, "longest wait of a row that was nacked: the queue has no leader, or is full", gt=0, le=3600
    )


@dataclass(frozen=True)
class KafkaSettings:
    """``[kafka]``: where ``ordermq events forward --to kafka`` writes the events of the history."""

    bootstrap_servers: tuple[str, ...] = setting(
        ("127.0.0.1:9092",), "host:port of some brokers of the cluster"
    )
    topic: str = setting(
        "",
        "topic, which must exist; empty: PREFIX.events",
        shape=Shape("a topic's name", r"[a-zA-Z0-9._-]{0,249}"),
    )
    mode: str = setting(
        "binary",
        "how a record holds a CloudEvent: attributes in headers, or all in one JSON document",
        choices=("binary", "structured"),
    )
    tls: bool = setting(False, "connect with TLS; certificate and host name are verified")
    ca_file: str = setting("", "PEM file of the certificate authority; empty: those of the system")
    cert_file: str = setting("", "PEM file of the client certificate; empty: none")
    key_file: str = setting("", "PEM file of the client's private key, not encrypted")
    username: str = setting("", "user name for SASL; empty: no login")
    password: Secret = setting(Secret, "password for SASL")
    sasl_mechanism: str = setting(
        "SCRAM-SHA-512", "how to log in", choices=("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN")
    )
    allow_plaintext: bool = setting(False, "allow events, and a login, to cross the network unencrypted")
    compression: str = setting(
        "lz4", "how batches are compressed", choices=("none", "gzip", "snappy", "lz4", "zstd")
    )
    batch: int = setting(2000, "most records of the history read and sent at once", ge=1, le=10_000)
    max_message_bytes: int = setting(
        1_000_000, "largest record; not above the topic's max.message.bytes", ge=1000, le=100_000_000
    )
    delivery_timeout_s: float = setting(
        10.0,
        "longest wait for the acknowledgements of a batch; at most half of database.idle_in_transaction_s",
        ge=1,
        le=300,
    )
    poll_s: float = setting(0.5, "wait before the next look when all was forwarded", gt=0, le=60)
    retry_cap_s: float = setting(10.0, "longest wait between attempts while Kafka is away", gt=0, le=600)


@dataclass(frozen=True)
class EventsSettings:
    """``[events]``: what other systems read, if ``topology.events`` is true."""

    source: str = setting("", "how the source of each event begins, a URI; empty: /PREFIX", shape=URI)
    max_age_s: float = setting(
        604_800.0,
        "the stream keeps an event for about this long; in force when the stream is declared",
        ge=60,
        le=315_360_000,
    )
    max_bytes: int = setting(
        2_000_000_000,
        "largest size of the stream; the oldest events go first; in force when the stream is declared",
        ge=100_000_000,
        le=2**50,
    )


@dataclass(frozen=True)
class RetentionSettings:
    """``[retention]``: how long rows are kept by ``ordermq db prune``."""

    inbox_s: float = setting(
        2_592_000.0,
        "the inbox remembers a settled message for this long; at least dead_letters_s",
        ge=86_400,
        le=315_360_000,
    )
    dead_letters_s: float = setting(
        2_592_000.0, "a replayed or discarded dead letter is kept for this long", ge=86_400, le=315_360_000
    )


@dataclass(frozen=True)
class ObserveSettings:
    """``[observe]``: logs and the health and metrics port."""

    log_format: str = setting("json", "json for machines, text for people", choices=("json", "text"))
    log_level: str = setting(
        "INFO", "lowest level that is logged", choices=("DEBUG", "INFO", "WARNING", "ERROR")
    )
    handled_lines_per_s: float = setting(
        1.0,
        "INFO lines a second and process about messages that were handled or wait, ten at once; 0: none",
        ge=0,
    )
    trace_continues: bool = setting(
        False,
        "the spans of a message that is handled alone belong to its trace; otherwise they are a trace of "
        "their own, with links; docs/tracing.md",
    )
    http_host: str = setting("127.0.0.1", "address that serves /metrics, /healthz and /readyz")
    http_port: int = setting(
        0, "port of http_host; 0: a free one, which is logged; -1: none", ge=-1, le=65_535
    )
    tables_every_s: float = setting(
        15.0, "how often the active relay reads what metrics say of tables and queues", ge=0.1, le=3600
    )


@dataclass(frozen=True)
class Settings:
    """What stands above the first section of the file, and all sections of the framework."""

    modules: tuple[str, ...] = setting((), MODULES.limits.doc, shape=MODULES.limits.shape)
    broker: BrokerSettings = field(default_factory=BrokerSettings)
    database: DatabaseSettings = field(default_factory=DatabaseSettings)
    topology: TopologySettings = field(default_factory=TopologySettings)
    consumer: ConsumerSettings = field(default_factory=ConsumerSettings)
    retry: RetrySettings = field(default_factory=RetrySettings)
    message: MessageSettings = field(default_factory=MessageSettings)
    relay: RelaySettings = field(default_factory=RelaySettings)
    kafka: KafkaSettings = field(default_factory=KafkaSettings)
    events: EventsSettings = field(default_factory=EventsSettings)
    retention: RetentionSettings = field(default_factory=RetentionSettings)
    observe: ObserveSettings = field(default_factory=ObserveSettings)

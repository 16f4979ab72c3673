"""Every setting of the framework: its type, unit, default and limits, in one place.

A section is a frozen dataclass, a setting is a field made by ``setting()``. The
loader (``ordermq.config.load``) fills them from the file, the environment and
flags, and refuses what is outside the limits written here. Durations are float
seconds (``_s``), sizes bytes (``_bytes``). Other code takes a whole section as
its argument and never a bare number.

Sources of the defaults: RabbitMQ's heartbeat guide (5-20 s), the TCP figures
measured in docs/configuration.md, and PostgreSQL's own timeouts.
"""

from dataclasses import dataclass, field
from typing import Any

from ordermq.config.secret import Secret
from ordermq.topology import names

__all__ = [
    "BrokerSettings",
    "ConsumerSettings",
    "DatabaseSettings",
    "Limits",
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


@dataclass(frozen=True)
class Shape:
    """How a text, or each item of a list, must look."""

    words: str
    pattern: str  # of the whole text


PREFIX = Shape("a small letter, then small letters, digits, dash, underscore: up to 60", names.PREFIX)
QUEUE = Shape("small letters, digits, dash, underscore: up to 60", names.QUEUE)
MODULE = Shape("a dotted module name", r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
URL = Shape("http[s]://host:port without credentials, or empty", r"(https?://[^\s/@]+(/\S*)?)?")


@dataclass(frozen=True)
class Limits:
    """What a setting may be, and what an operator reads about it."""

    doc: str
    unit: str = ""
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    choices: tuple[str, ...] = ()
    shape: Shape | None = None


def setting(
    default: Any,
    doc: str,
    *,
    unit: str = "",
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    choices: tuple[str, ...] = (),
    shape: Shape | None = None,
) -> Any:
    """Declare one setting; its type is the field's annotation.

    The types are str, int, float, bool, ``tuple[str, ...]`` and Secret; a secret's
    default is the class, which means empty.
    """
    limits = Limits(doc, unit, ge, gt, le, choices, shape)
    if default is Secret:
        return field(default_factory=Secret, metadata={"limits": limits})
    return field(default=default, metadata={"limits": limits})


@dataclass(frozen=True)
class BrokerSettings:
    """``[broker]``: how to reach RabbitMQ and when to give a connection up."""

    hosts: tuple[str, ...] = setting(
        ("127.0.0.1:5672",), "host[:port] of each node, tried in turn; the port is 5672, with tls 5671"
    )
    vhost: str = setting("/", "virtual host")
    username: str = setting("guest", "user name")
    password: Secret = setting(Secret, "password")
    tls: bool = setting(False, "connect with TLS 1.2 or newer, verifying certificate and host name")
    ca_file: str = setting("", "PEM file of the certificate authority; empty: the system's")
    cert_file: str = setting("", "PEM file of the client certificate; empty: none")
    key_file: str = setting("", "PEM file of the client's private key")
    allow_plaintext: bool = setting(False, "permit a password over an unencrypted link to another machine")
    heartbeat_s: int = setting(10, "heartbeat interval asked of the broker", unit="s", ge=2, le=60)
    connect_timeout_s: float = setting(10.0, "one attempt, name to open connection", unit="s", gt=0, le=20)
    tcp_user_timeout_s: float = setting(10.0, "unacknowledged data breaks the link", unit="s", gt=0, le=300)
    keepalive_idle_s: int = setting(5, "TCP keepalive: idle time before probing", unit="s", ge=1, le=300)
    keepalive_interval_s: int = setting(2, "TCP keepalive: time between probes", unit="s", ge=1, le=60)
    keepalive_count: int = setting(3, "TCP keepalive: lost probes that break the link", ge=1, le=20)
    blocked_timeout_s: float = setting(
        30.0, "broker alarm tolerated before reconnecting", unit="s", gt=0, le=600
    )
    confirm_timeout_s: float = setting(10.0, "longest wait for a publisher confirm", unit="s", gt=0, le=25)
    publish_window: int = setting(500, "publishings in flight before waiting for confirms", ge=1, le=10_000)
    reconnect_base_s: float = setting(0.5, "backoff before the first reconnect", unit="s", gt=0, le=60)
    unreachable_cap_s: float = setting(
        1.5, "longest backoff while nothing answers or the link breaks", unit="s", gt=0, le=300
    )
    reconnect_cap_s: float = setting(
        30.0, "longest wait after a refusal: login, vhost, permission, too many", unit="s", gt=0, le=300
    )
    healthy_after_s: float = setting(60.0, "open this long resets the backoff", unit="s", gt=0, le=3600)
    give_up_after_s: float = setting(
        300.0, "down this long ends the process with 75", unit="s", gt=0, le=86_400
    )


@dataclass(frozen=True)
class DatabaseSettings:
    """``[database]``: how to reach PostgreSQL. Host, port and names are not secrets; the password is."""

    host: str = setting("127.0.0.1", "host name, address, or folder of a Unix socket")
    port: int = setting(5432, "TCP port", ge=1, le=65_535)
    name: str = setting("ordermq", "database name")
    username: str = setting("ordermq", "user name")
    password: Secret = setting(Secret, "password")
    sslmode: str = setting(
        "prefer",
        "libpq's sslmode; use verify-full off the machine",
        choices=("disable", "prefer", "require", "verify-ca", "verify-full"),
    )
    ca_file: str = setting("", "PEM file of the certificate authority (libpq sslrootcert); empty: none")
    allow_plaintext: bool = setting(False, "permit sslmode below require to another machine")
    connect_timeout_s: int = setting(5, "one connection attempt", unit="s", ge=2, le=60)
    statement_timeout_s: float = setting(15.0, "longest statement", unit="s", gt=0, le=600)
    lock_timeout_s: float = setting(5.0, "longest wait for a lock", unit="s", gt=0, le=600)
    idle_in_transaction_s: float = setting(30.0, "a transaction may idle this long", unit="s", gt=0, le=600)


@dataclass(frozen=True)
class TopologySettings:
    """``[topology]``: what ``ordermq topology apply`` declares."""

    prefix: str = setting("orders", "name of the exchange and prefix of every queue", shape=PREFIX)
    queue_type: str = setting("quorum", "type of the work queues", choices=("quorum", "classic"))
    queues: tuple[str, ...] = setting((), "queues besides those the handlers name", shape=QUEUE)
    events: bool = setting(False, "declare the topic exchange PREFIX.events")
    management_url: str = setting(
        "",
        "RabbitMQ management API for verify; empty: bindings are not read",
        shape=URL,
    )


@dataclass(frozen=True)
class ConsumerSettings:
    """``[consumer]``: how a consumer process works its queue."""

    threads: int = setting(4, "worker threads", ge=1, le=256)
    prefetch: int = setting(
        0,
        "deliveries held unacked; 0: 2 x batch, of external handlers 128 or 4 x threads,"
        " fewer if call_timeout_s is long",
        ge=0,
        le=10_000,
    )
    batch: int = setting(0, "largest batch; 0: what the handler says", ge=0, le=5_000)
    drain_deadline_s: float = setting(25.0, "SIGTERM to exit", unit="s", gt=0, le=600)
    lease_s: float = setting(
        60.0, "lease on an external call; not started past half of it", unit="s", ge=1, le=3600
    )
    call_timeout_s: float = setting(20.0, "deadline of one external call", unit="s", gt=0, le=1800)
    breaker_failures: int = setting(5, "failed calls in a row that pause a queue", ge=1, le=1000)
    breaker_cap_s: float = setting(
        30.0, "longest backoff between probes of a service that fails", unit="s", gt=0, le=3600
    )
    handler_deadline_s: float = setting(
        300.0, "a handler or a call that runs longer ends the process with 75", unit="s", gt=0, le=43_200
    )
    consumer_timeout_s: float = setting(1800.0, "the broker's consumer_timeout", unit="s", ge=10, le=86_400)


@dataclass(frozen=True)
class RetrySettings:
    """``[retry]``: when a failed message comes back or is given up, unless its handler says otherwise."""

    attempts: int = setting(8, "attempts before a message is dead", ge=1, le=100)
    base_s: float = setting(1.0, "backoff before the second attempt", unit="s", gt=0, le=3600)
    cap_s: float = setting(600.0, "longest backoff", unit="s", gt=0, le=86_400)
    postpone_s: float = setting(
        1.0, "first wait of a postponed message; doubles each time, up to cap_s", unit="s", gt=0, le=3600
    )
    max_age_s: float = setting(
        86_400.0, "sent again for this long, a message is dead", unit="s", gt=0, le=2_592_000
    )
    immediate: int = setting(2, "retries at once after a deadlock or a lock timeout", ge=0, le=10)


@dataclass(frozen=True)
class RelaySettings:
    """``[relay]``: how outbox rows reach the broker."""

    batch: int = setting(
        2000, "most rows claimed at once; of large ones fewer, 16 MiB of bodies", ge=1, le=10_000
    )
    poll_busy_s: float = setting(0.05, "wait between claims while there was work", unit="s", gt=0, le=5)
    poll_idle_s: float = setting(0.5, "wait between claims while there was none", unit="s", gt=0, le=60)
    standby_s: float = setting(2.0, "wait of a standby relay", unit="s", gt=0, le=60)
    refused_base_s: float = setting(1.0, "backoff of a returned or nacked row", unit="s", gt=0, le=600)
    refused_cap_s: float = setting(60.0, "longest backoff of a returned row", unit="s", gt=0, le=3600)
    nacked_cap_s: float = setting(
        5.0, "longest backoff of a nacked row: no leader yet, or a full queue", unit="s", gt=0, le=3600
    )


@dataclass(frozen=True)
class RetentionSettings:
    """``[retention]``: what ``ordermq db prune`` leaves."""

    inbox_s: float = setting(
        2_592_000.0,
        "a message is known for this long after it was settled; at least dead_letters_s",
        unit="s",
        ge=86_400,
        le=315_360_000,
    )
    dead_letters_s: float = setting(
        2_592_000.0,
        "a dead letter is kept for this long after it was replayed or discarded",
        unit="s",
        ge=86_400,
        le=315_360_000,
    )


@dataclass(frozen=True)
class ObserveSettings:
    """``[observe]``: logs and the health and metrics port."""

    log_format: str = setting("json", "json, or text for a person", choices=("json", "text"))
    log_level: str = setting("INFO", "lowest level written", choices=("DEBUG", "INFO", "WARNING", "ERROR"))
    http_host: str = setting("127.0.0.1", "address of /metrics, /healthz and /readyz")
    http_port: int = setting(0, "their port; 0: any free one, written to the log; -1: none", ge=-1, le=65_535)


@dataclass(frozen=True)
class Settings:
    """What stands above the first section of the file, and all sections of the framework."""

    modules: tuple[str, ...] = setting(
        (), "Python modules that each hold a Module: handlers, tables, settings, commands", shape=MODULE
    )
    broker: BrokerSettings = field(default_factory=BrokerSettings)
    database: DatabaseSettings = field(default_factory=DatabaseSettings)
    topology: TopologySettings = field(default_factory=TopologySettings)
    consumer: ConsumerSettings = field(default_factory=ConsumerSettings)
    retry: RetrySettings = field(default_factory=RetrySettings)
    relay: RelaySettings = field(default_factory=RelaySettings)
    retention: RetentionSettings = field(default_factory=RetentionSettings)
    observe: ObserveSettings = field(default_factory=ObserveSettings)

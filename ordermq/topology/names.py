"""Names of queues: the one place that makes and checks them. Pure: no I/O.

    payment          the short name: in ``@handler(queue=)``, a Command, a log line, a row of the
                     database; it is also the routing key
    orders.payment   the same queue's name on the broker: prefix, dot, short name
    orders.dead      ordermq's own, like everything under orders.events; no handler may take it

A short name holds no dot, so it cannot be taken for a name on the broker. It is short enough
for AMQP's 255 bytes with every prefix, and lower case, because RabbitMQ tells cases apart and
people do not.
"""

import re

from ordermq.errors import ConfigError

PREFIX = r"[a-z][a-z0-9_-]{0,59}"
QUEUE = r"[a-z0-9_-]{1,60}"

DEAD = "dead"  # <prefix>.dead holds what the broker dead-letters
EVENTS = "events"  # <prefix>.events is the exchange of events

_PREFIX = re.compile(PREFIX)
_QUEUE = re.compile(QUEUE)
_RESERVED = frozenset({DEAD, EVENTS})


def check_prefix(prefix: str) -> None:
    """Raise ConfigError unless ``prefix`` can begin the names of queues and exchanges."""
    if not _PREFIX.fullmatch(prefix):
        raise ConfigError(f"topology prefix {prefix!r} does not match {PREFIX}")


def check_queue(name: str) -> None:
    """Raise ConfigError unless ``name`` can be the short name of a queue that handlers take."""
    if not _QUEUE.fullmatch(name):
        raise ConfigError(f"queue name {name!r} does not match {QUEUE}")
    if name in _RESERVED:
        raise ConfigError(f"queue name {name!r} is taken: <prefix>.{name} is ordermq's own")


def is_queue(name: str) -> bool:
    """Return whether ``name`` has the form of a short name; it may be one of ordermq's own."""
    return _QUEUE.fullmatch(name) is not None


def queue_name(prefix: str, queue: str) -> str:
    """Return the name on the broker of the queue with the short name ``queue``."""
    return f"{prefix}.{queue}"


def event_log(prefix: str) -> str:
    """Return the name on the broker of the stream of events."""
    return f"{queue_name(prefix, EVENTS)}.log"


def short_name(prefix: str, name: str) -> str:
    """Return the short name of ``name``, a name on the broker; any other name comes back as it is."""
    return name.removeprefix(f"{prefix}.")

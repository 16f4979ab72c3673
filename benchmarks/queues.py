"""Queues of a sample: ordermq's for whoever chooses its own, and what a queue really holds."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from threading import Event

import pika

from benchmarks.case import Wrong
from benchmarks.ground import Ground
from benchmarks.programs import orders
from benchmarks.programs.pipeline import connect
from ordermq.amqp import ConnectionManager, apply
from ordermq.testing.wait import wait_until
from ordermq.topology import build

SETTLED_WITHIN_S = 20.0


def declare(ground: Ground) -> None:
    """Declare ordermq's topology with one queue: quorum queues, as everybody's are."""
    with closing(ConnectionManager(ground.broker, name="bench")) as connection:
        connection.connect(Event())
        apply(connection, build(orders.PREFIX, [orders.QUEUE]))


def holds(ground: Ground, queue: str, messages: int) -> None:
    """Check that ``queue`` holds so many messages, none of them in somebody's hands. Raises Wrong."""
    found = _settled(ground, queue)
    if found != messages:
        raise Wrong(f"queue {queue} holds {found} messages, not {messages}")


def _settled(ground: Ground, queue: str) -> int:
    """Return how many messages are ready, once nobody consumes: what was not acked is ready again then."""
    with _channel(ground) as channel:

        def declared() -> pika.spec.Queue.DeclareOk:
            return channel.queue_declare(queue, passive=True).method

        wait_until(lambda: declared().consumer_count == 0, SETTLED_WITHIN_S, what=f"nobody consumes {queue}")
        return int(declared().message_count)


@contextmanager
def _channel(ground: Ground) -> Iterator[pika.adapters.blocking_connection.BlockingChannel]:
    with connect(ground.job()) as connection:
        yield connection.channel()

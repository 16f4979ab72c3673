"""Queues of a sample: ordermq's for a contender that chooses its own, and what a queue really holds."""

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

SETTLED_WITHIN_S = 10.0


def declare(ground: Ground) -> None:
    """Declare ordermq's topology with one queue: quorum queues, as those of all contenders are."""
    with closing(ConnectionManager(ground.broker, name="bench")) as connection:
        connection.connect(Event())
        apply(connection, build(orders.PREFIX, [orders.QUEUE]))


def holds(ground: Ground, queue: str, messages: int) -> None:
    """Check that ``queue`` holds so many messages once there is no consumer. Raises Wrong.

    What was not acked is ready again then. The broker counts a little behind what it does, so it
    is asked again for a while; a message that is lost or too many stays so.
    """
    found = -1
    with open_channel(ground) as channel:

        def is_as_wanted() -> bool:
            nonlocal found
            declared = channel.queue_declare(queue, passive=True).method
            found = int(declared.message_count)
            return declared.consumer_count == 0 and found == messages

        try:
            wait_until(is_as_wanted, SETTLED_WITHIN_S, what=f"{queue} holds {messages}")
        except TimeoutError as exc:
            raise Wrong(f"queue {queue} holds {found} messages, not {messages}") from exc


@contextmanager
def open_channel(ground: Ground) -> Iterator[pika.adapters.blocking_connection.BlockingChannel]:
    with connect(ground.job()) as connection:
        yield connection.channel()

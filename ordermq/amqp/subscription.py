"""A consumer on a queue, for the thread that owns the connection.

Invariants
    SUB1  A subscription owns its channel and ends with it. After a reconnect a new
        subscription with a higher epoch takes over.
    SUB2  Every delivery is taken once, in the order the broker sent it.
    SUB3  Acks are written to the buffer; ``ConnectionManager.tick`` sends them.
"""

from collections.abc import Mapping

from ordermq.amqp._pika import Channel
from ordermq.amqp.connection import ConnectionManager
from ordermq.clock import Deadline
from ordermq.errors import QueueMissing
from ordermq.message.envelope import Delivery


def subscribe(
    manager: ConnectionManager,
    queue: str,
    *,
    prefetch: int,
    consumer_tag: str,
    epoch: int,
    timeout_s: float | None = None,
    arguments: Mapping[str, object] | None = None,
) -> "Subscription":
    """Consume ``queue`` on a channel of its own, with acks and at most ``prefetch`` unacked.

    ``arguments`` are those of the consumer: ``x-stream-offset`` says where to begin in a stream.
    Declares nothing. Blocks until the broker has confirmed the consumer, at most
    ``timeout_s`` (the settings' connect timeout if None). Raises QueueMissing,
    AccessRefused, or ConnectionLost.
    """
    deadline = Deadline(manager.settings.connect_timeout_s if timeout_s is None else timeout_s)
    channel = manager.open_channel(deadline.left_s)
    try:
        channel.call("queue_declare", deadline.left_s, queue=queue, passive=True)
    except QueueMissing as exc:
        raise QueueMissing(f"queue {queue} does not exist; `ordermq topology apply` creates it") from exc
    channel.call("basic_qos", deadline.left_s, prefetch_count=prefetch)
    subscription = Subscription(manager, channel, queue, consumer_tag, epoch)
    channel.consume(
        queue, consumer_tag, subscription.receive, deadline.left_s, epoch=epoch, arguments=arguments
    )
    return subscription


class Subscription:
    """Deliveries in, acks out. Made by ``subscribe``; not thread-safe."""

    def __init__(
        self, manager: ConnectionManager, channel: Channel, queue: str, consumer_tag: str, epoch: int
    ) -> None:
        self.queue = queue
        self.consumer_tag = consumer_tag
        self.epoch = epoch
        self._manager = manager
        self._channel = channel
        self._arrived: list[Delivery] = []

    @property
    def is_alive(self) -> bool:
        """False once the channel closed, the connection broke, or the broker cancelled the consumer."""
        return self._channel.is_alive

    def check(self) -> None:
        """Raise why it is not alive: ChannelLost after a cancel by the broker. Nothing if it is alive."""
        self._channel.check()

    def take(self) -> list[Delivery]:
        """Return the deliveries since the last call, oldest first; often none."""
        arrived, self._arrived = self._arrived, []
        return arrived

    def ack(self, tag: int, *, multiple: bool = False) -> None:
        """Ack ``tag``, or with ``multiple`` every delivery up to it. Raises ChannelLost."""
        self._channel.ack(tag, multiple=multiple)

    def nack(self, tag: int, *, requeue: bool = True) -> None:
        """Give a delivery back to the queue. Raises ChannelLost."""
        self._channel.nack(tag, requeue=requeue)

    def reject(self, tag: int, *, requeue: bool = False) -> None:
        """Refuse a delivery; without ``requeue`` the broker dead-letters it. Raises ChannelLost."""
        self._channel.reject(tag, requeue=requeue)

    def cancel(self, timeout_s: float) -> None:
        """Stop deliveries; blocks until the broker's cancel-ok, at most ``timeout_s``.

        Deliveries that arrived before it can still be taken, and unacked ones be acked.
        Raises ChannelLost or ConnectionLost.
        """
        self._channel.cancel(self.consumer_tag, timeout_s)

    def close(self, timeout_s: float) -> None:
        """Close the channel: the broker requeues unacked deliveries. The connection lives on."""
        self._manager.close_channel(self._channel, timeout_s)

    def receive(self, delivery: Delivery) -> None:
        """Keep a delivery for ``take``. Called by the channel, inside ``tick``."""
        self._arrived.append(delivery)
        self._channel.interrupt()

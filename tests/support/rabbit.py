"""What a test does to a virtual host: look into queues, delete them, cut connections."""

from ordermq.amqp import subscribe
from ordermq.clock import Deadline, monotonic_s
from tests.support.connection import manager_of


class Rabbit:
    """One virtual host of the private broker. Counts are the broker's own, not sampled statistics."""

    def __init__(self, broker, settings):
        self._broker = broker
        self._settings = settings
        self._manager = None
        self._used_s = 0.0

    def depth(self, queue):
        """Messages ready in ``queue``; those a consumer holds do not count."""
        channel = self._open().open_channel()
        try:
            return channel.call("queue_declare", 5.0, queue=queue, passive=True).message_count
        finally:
            self._open().close_channel(channel, 5.0)

    def publish(self, *publishings):
        """Publish as a foreign client might, with whatever properties; blocks until confirmed."""
        manager = self._open()
        channel = manager.open_channel()
        waiting = set(range(1, len(publishings) + 1))

        def confirmed(tag, multiple, is_nack):
            assert not is_nack
            waiting.difference_update(range(1, tag + 1) if multiple else [tag])

        channel.confirm(confirmed, lambda *returned: None, 5.0)
        for publishing in publishings:
            channel.write(channel.encode(publishing))
        deadline = Deadline(10.0)
        while waiting:
            assert not deadline.has_passed, f"{len(waiting)} of {len(publishings)} not confirmed"
            manager.tick(0.05)
        manager.close_channel(channel, 5.0)

    def reject(self, queue, count=1):
        """Take messages off ``queue`` and refuse them for good, as another client might."""
        subscription = subscribe(self._open(), queue, prefetch=count, consumer_tag="rejecting", epoch=1)
        deadline = Deadline(10.0)
        while count:
            assert not deadline.has_passed, f"{count} messages never came"
            self._open().tick(0.05)
            for delivery in subscription.take():
                subscription.reject(delivery.tag, requeue=False)
                count -= 1
        self._open().tick(0.0)
        subscription.close(5.0)

    def delete_queue(self, queue):
        channel = self._open().open_channel()
        channel.call("queue_delete", 5.0, queue=queue)
        self._open().close_channel(channel, 5.0)

    def declare_bound(self, queue, exchange, routing_key, arguments):
        """Declare a durable queue with ``arguments`` and bind it."""
        channel = self._open().open_channel()
        channel.call("queue_declare", 5.0, queue=queue, durable=True, arguments=arguments)
        channel.call("queue_bind", 5.0, queue=queue, exchange=exchange, routing_key=routing_key)
        self._open().close_channel(channel, 5.0)

    def close_connections(self):
        """Have the broker close every connection to the virtual host (320 CONNECTION_FORCED)."""
        self.close()
        self._broker.ctl("close_all_connections", "--vhost", self._settings.vhost, "a test asked for it")

    def close(self):
        if self._manager is not None:
            self._manager.close(2.0)
            self._manager = None

    def _open(self):
        # Nobody answers heartbeats between two calls: the broker closes what is left alone for two of them.
        if monotonic_s() - self._used_s > self._settings.heartbeat_s:
            self.close()
        if self._manager is None:
            self._manager = manager_of(self._settings)
        self._used_s = monotonic_s()
        return self._manager

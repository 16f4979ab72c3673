"""What a test does to a virtual host: look into queues, delete them, cut connections."""

from ordermq.clock import Deadline
from tests.support.connection import manager_of


class Rabbit:
    """One virtual host of the private broker. Counts are the broker's own, not sampled statistics."""

    def __init__(self, broker, settings):
        self._broker = broker
        self._settings = settings
        self._manager = None

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
            channel.publish(publishing)
        deadline = Deadline(10.0)
        while waiting:
            assert not deadline.has_passed, f"{len(waiting)} of {len(publishings)} not confirmed"
            manager.tick(0.05)
        manager.close_channel(channel, 5.0)

    def delete_queue(self, queue):
        channel = self._open().open_channel()
        channel.call("queue_delete", 5.0, queue=queue)
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
        if self._manager is None:
            self._manager = manager_of(self._settings)
        return self._manager

"""What a test does to a virtual host: look into queues, delete them, cut connections."""

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
        """Publish as a foreign client might: whatever properties, no confirm asked."""
        channel = self._open().open_channel()
        for publishing in publishings:
            channel.publish(publishing)
        self._open().close_channel(channel, 5.0)  # its close-ok proves that all before it arrived

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

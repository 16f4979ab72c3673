"""An open connection for what only a test does to the broker."""

import threading

from ordermq.amqp import ConnectionManager


def manager_of(settings):
    """Return a ConnectionManager that is open."""
    manager = ConnectionManager(settings, name="test")
    assert manager.connect(threading.Event())
    return manager

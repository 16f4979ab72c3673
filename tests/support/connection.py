"""An open connection for what only a test does to the broker."""

import threading

from ordermq.amqp import ConnectionManager


def manager_of(settings):
    """Return a ConnectionManager that is open. Raises what the broker answers."""
    manager = ConnectionManager(settings, name="test")
    try:
        assert manager.connect(threading.Event())
    except BaseException:
        manager.close()
        raise
    return manager

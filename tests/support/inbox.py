"""What a consumer asks the inbox."""

from ordermq.store import leases


def settled(tx, queue, messages):
    """Return the ids of ``messages``, (message_id, hop), that need no more work."""
    return leases.take(tx, queue, [], owner="test", lease_s=0.0, asked=messages).settled

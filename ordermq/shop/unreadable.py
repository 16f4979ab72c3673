"""A message no handler could read, which says it is about an order: somebody has to look at that order.

Nothing of such a message is trusted, for whoever may publish may name any order. So nothing is
compensated and no step ends by it; an order that needs a person already is left as it is, so that
however many such messages name it, it gets one event, one line and one text until it is resolved.
"""

from ordermq.message import Envelope
from ordermq.shop.events import EventType
from ordermq.shop.journal import Journal
from ordermq.task import Transaction


def ask_for_person(queue: str, envelope: Envelope, reason: str, tx: Transaction) -> None:
    """The shop's on_unreadable. It writes nothing about an order that does not exist."""
    order_id = envelope.correlation_id
    journal = Journal(tx, [order_id])
    if order_id not in journal.orders or journal.attention(order_id) is not None:
        return
    why = f"a message of queue {queue} could not be read: {reason}"
    journal.record(order_id, EventType.ATTENTION_RAISED, attention=why)
    journal.write()

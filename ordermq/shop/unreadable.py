"""A message that names an order and that no handler could read: a person has to look at the order.

Such a message is not trusted, because every client that may publish can name any order. So it
compensates nothing and ends no step. An order that needs a person already is left as it is: many
such messages cause one event, one log line and one text until the order is resolved. So is an order whose
events are archived: it is over.
"""

from ordermq.message import Envelope
from ordermq.shop.events import EventType
from ordermq.shop.journal import Journal
from ordermq.task import Transaction


def ask_for_person(queue: str, envelope: Envelope, reason: str, tx: Transaction) -> None:
    """The shop's on_unreadable. It writes nothing about an order that does not exist."""
    order_id = envelope.correlation_id
    journal = Journal(tx, [order_id])
    order = journal.orders.get(order_id)
    if order is None or order.archive_id is not None or journal.attention(order_id) is not None:
        return
    why = f"a message of queue {queue} could not be read: {reason}"
    journal.record(order_id, EventType.ATTENTION_RAISED, attention=why)
    journal.write()

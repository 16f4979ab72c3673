"""What an order's customer is told more than once: each refund, and each card that was declined.

An occasion is an event of the order's history. A notification tells of every occasion up to its own
that no other has told of, so two refunds soon after each other may be one message with their sum.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from ordermq.shop.commands import Template
from ordermq.shop.events import EventType
from ordermq.shop.recorded import read_body
from ordermq.shop.saga import Status
from ordermq.task import Transaction

_OF_EVENT = {
    EventType.PAYMENT_REFUNDED: Template.ORDER_REFUNDED,
    EventType.REFUNDED_BY_HAND: Template.ORDER_REFUNDED,
    EventType.CARD_DECLINED: Template.PAYMENT_DUE,
}
NUMBERED = frozenset(_OF_EVENT.values())
"""The templates that an order may need several times."""

_READ = """
    SELECT order_id, e.version, convert_from(e.body, 'UTF8'), o.due_until
      FROM shop.order_events AS e JOIN shop.orders AS o USING (order_id)
     WHERE order_id = ANY(%s) AND e.type IN ('payment_refunded', 'refunded_by_hand', 'card_declined')
     ORDER BY order_id, e.version
"""


@dataclass(frozen=True, slots=True)
class Occasion:
    """One of an order's refunds or declined cards; ``number`` counts them from 1, by template.

    ``due_at`` is until when another card may be given.
    """

    number: int
    version: int
    amount_minor: int
    due_at: datetime | None


class Occasions:
    """The occasions of some orders, read when this object is made; no statement if none can have any.

    For one transaction, in which the orders are locked.
    """

    def __init__(self, wanted: Iterable[tuple[str, Template]], tx: Transaction) -> None:
        self._found: defaultdict[tuple[str, Template], list[Occasion]] = defaultdict(list)
        order_ids = sorted({order_id for order_id, template in wanted if template in NUMBERED})
        if not order_ids:
            return
        for order_id, version, body, due_at in tx.fetch_all(_READ, (order_ids,)):
            event = read_body(body, version, order_id)
            if event.type is EventType.REFUNDED_BY_HAND and event.status != Status.REFUNDED:
                continue  # of a paid order: the customer agreed it with a person, or took it back
            found = self._found[order_id, _OF_EVENT[event.type]]
            found.append(Occasion(len(found) + 1, version, event.data.get("amount_minor", 0), due_at))

    def number(self, order_id: str, template: Template, version: int) -> int | None:
        """Return the number of the newest occasion up to event ``version``, 0 meaning the newest of all.

        0 for a notification that an order needs once; None if there is no such occasion.
        """
        if template not in NUMBERED:
            return 0
        numbers = [
            each.number for each in self._found[order_id, template] if each.version <= version or version == 0
        ]
        return max(numbers, default=None)

    def newest(self, order_id: str, template: Template) -> int:
        """Return the number of the newest occasion; 0 without any."""
        return len(self._found[order_id, template])

    def between(self, order_id: str, template: Template, after: int, until: int) -> list[Occasion]:
        """Return the occasions from number ``after`` + 1 to ``until``."""
        return self._found[order_id, template][after:until]

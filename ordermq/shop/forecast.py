"""What messages about orders do outside if they are sent now: asked before dead letters are replayed."""

from collections.abc import Container, Sequence
from typing import Any

from ordermq.shop.commands import AlertOperator, step_of_message
from ordermq.shop.effects import ALERTS, EMAILS, TEXTS, AtStake, effect_of, inside_of
from ordermq.shop.events import EMAIL_OF, NOTIFY, EventType
from ordermq.shop.journal import state_of
from ordermq.shop.saga import State, can_happen
from ordermq.shop.settings import SECTION
from ordermq.task import Transaction
from ordermq.task.forecast import Effect, PlannedMessage

_ORDERS = """
    SELECT order_id, status, pending, charge, notify, total_minor, refunded_minor, currency
      FROM shop.orders WHERE order_id = ANY(%s)
"""

_GIVEN_UP = """
    SELECT DISTINCT order_id, CASE channel WHEN 'text' THEN 'notify_' ELSE 'email_' END
                              || replace(template, 'order_', '')
      FROM shop.notifications WHERE order_id = ANY(%s) AND state = 'failed'
"""


def forecast(tx: Transaction, config: Any, messages: Sequence[PlannedMessage]) -> list[Effect | None]:
    """Return the effect of each message; None for one that does nothing outside.

    A step is done if it is pending, as the handlers see it; a notification also if it was given up. An alert
    is a text to the operator at most: one text may count many orders.
    """
    inside = inside_of(config.section(SECTION))
    order_ids = sorted({each.correlation_id for each in messages})
    orders = {row[0]: (state_of(*row[1:5]), AtStake(*row[5:])) for row in tx.fetch_all(_ORDERS, (order_ids,))}
    given_up = set(tx.fetch_all(_GIVEN_UP, (order_ids,)))
    found = [
        _effect(each, *orders[each.correlation_id], given_up) if each.correlation_id in orders else None
        for each in messages
    ]
    return [None if each in inside else each for each in found]


def _effect(
    message: PlannedMessage, state: State, money: AtStake, given_up: Container[tuple[str, str]]
) -> Effect | None:
    if message.type == AlertOperator.__name__:
        return ALERTS
    step = step_of_message(message.type, message.body)
    if step is None:
        return None
    if step in state.pending:
        return effect_of(step, state, money)
    is_late = (message.correlation_id, step) in given_up and can_happen(state, EventType.NOTIFICATION_SENT)
    if step in NOTIFY and is_late:
        return TEXTS if step in EMAIL_OF else EMAILS
    return None

"""Closing the request for a person: somebody has looked at the order, and says so."""

from collections.abc import Sequence
from dataclasses import dataclass

from ordermq.errors import OrderConflict, OrderNotFound
from ordermq.shop.commands import command_of
from ordermq.shop.events import FAILED, EventType, Step
from ordermq.shop.journal import Journal
from ordermq.store import StoreTransaction, actions, dead_letters
from ordermq.store.dead_letters import DeadLetter, Filter

_GIVEN_UP = "SELECT DISTINCT step FROM shop.order_events WHERE order_id = %s AND type = ANY(%s)"


@dataclass(frozen=True, slots=True)
class Resolved:
    """Why the order needed a person, None if it did not, and the dead letters that were discarded.

    ``pending`` are the steps that the order still waits for.
    """

    order_id: str
    attention_reason: str | None
    discarded: list[int]
    pending: list[str]


def resolve_order(order_id: str, tx: StoreTransaction, *, by: str, reason: str) -> Resolved:
    """Record that an order needs no person any more, in the caller's transaction.

    Writes the event, discards the order's open dead letters for the same reason, and
    records the action. ``by`` and ``reason`` are kept in the history and hold nothing
    personal. An order that needs no person is left as it is. Raises OrderNotFound, or
    OrderConflict while a step that was given up must still be done: only a replay ends it.
    """
    journal = Journal(tx, [order_id])
    order = journal.orders.get(order_id)
    if order is None:
        raise OrderNotFound(f"no order {order_id[:80]!r}")
    attention = journal.attention(order_id)
    if attention is None:
        return Resolved(order_id, None, [], sorted(order.state.pending))
    letters = dead_letters.select(tx, Filter(correlation_id=order_id), limit=1000)
    failed = {row[0] for row in tx.fetch_all(_GIVEN_UP, (order_id, [each.value for each in FAILED.values()]))}
    if left := sorted(order.state.pending & {Step(each) for each in failed}):
        raise OrderConflict(_not_yet(order_id, left, letters))
    journal.record(order_id, EventType.ATTENTION_RESOLVED, by=by, reason=reason[:200])
    journal.write()
    discarded = dead_letters.discard(tx, [each.dead_letter_id for each in letters], by=by, reason=reason)
    actions.record(tx, by, "order.resolve", [f"order {order_id}"], reason)
    actions.record(tx, by, "dead.discard", [f"dead_letter {each}" for each in sorted(discarded)], reason)
    return Resolved(order_id, attention, sorted(discarded), sorted(order.state.pending))


def _not_yet(order_id: str, left: Sequence[Step], letters: Sequence[DeadLetter]) -> str:
    """Return the error's text, with the command to type instead: a replay, which asks the gateway first."""
    steps = ", ".join(left)
    types = {type(command_of(step, order_id, 1).payload).__name__ for step in left}
    if wanted := [each for each in reversed(letters) if each.type in types]:
        numbers = " ".join(str(each.dead_letter_id) for each in wanted)
        todo = f'ordermq dead replay {numbers} --reason "..."'
    else:
        todo = f'unless it is being tried already: ordermq-publish replay --order {order_id} --reason "..."'
    if Step.REFUND in left:
        by_hand = f"ordermq order refunded {order_id} --by-hand AMOUNT --reference R"
        todo += f'; if the money went back at the payment service itself: {by_hand} --reason "..."'
    return f"order {order_id}: {steps} was given up and must still be done; repair the cause, then {todo}"

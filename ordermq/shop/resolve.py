"""Closing the request for a person: somebody has looked at the orders, and says so."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from ordermq.errors import EventUnreadable, OrderConflict, OrderMQError, OrderNotFound
from ordermq.shop.commands import command_of
from ordermq.shop.events import FAILED, EventType, Step
from ordermq.shop.journal import Journal, LockedOrder
from ordermq.shop.recorded import read_columns
from ordermq.store import StoreTransaction, actions, dead_letters
from ordermq.store.dead_letters import LetterKey

_ATTENTION = """
    SELECT order_id, attention_reason FROM shop.orders
     WHERE order_id = ANY(%s) AND attention_reason IS NOT NULL
"""

_GIVEN_UP = """
    SELECT order_id, version, type, step FROM shop.order_events
     WHERE order_id = ANY(%s) AND type = ANY(%s)
"""


@dataclass(frozen=True, slots=True)
class Resolved:
    """Why the order needed a person, None if it did not, and the dead letters that were discarded.

    ``pending`` are the steps that the order still waits for. ``refused`` is why it cannot be resolved.
    """

    order_id: str
    attention_reason: str | None
    discarded: list[int]
    pending: list[str]
    refused: OrderMQError | None = None


def resolve_order(order_id: str, tx: StoreTransaction, *, by: str, reason: str) -> Resolved:
    """Like ``resolve_orders`` of one. Raises OrderNotFound, or OrderConflict: why it is refused."""
    [resolved] = resolve_orders([order_id], tx, by=by, reason=reason)
    if resolved.refused is not None:
        raise resolved.refused
    return resolved


def resolve_orders(order_ids: Sequence[str], tx: StoreTransaction, *, by: str, reason: str) -> list[Resolved]:
    """Record that orders need no person any more, in the caller's transaction; return an answer for each.

    Writes the events, discards the orders' open dead letters for the same reason, and records the
    actions. ``by`` and ``reason`` are kept in the history and hold nothing personal. An order that needs no
    person is left as it is. One is refused while a step that was given up must still be done: only a
    replay ends it.
    """
    journal = Journal(tx, order_ids, by=by)
    attention: dict[str, str] = dict(tx.fetch_all(_ATTENTION, (list(order_ids),)))
    given_up, unreadable = _given_up(list(attention), tx)
    letters: defaultdict[str, list[LetterKey]] = defaultdict(list)
    for letter in dead_letters.open_about(tx, list(attention)):
        letters[letter.correlation_id].append(letter)
    answers = [
        _answer(each, journal.orders.get(each), attention.get(each), given_up[each], letters[each])
        for each in order_ids
    ]
    answers = [
        replace(each, discarded=[], refused=unreadable[each.order_id])
        if each.order_id in unreadable
        else each
        for each in answers
    ]
    resolved = [each for each in answers if each.attention_reason is not None and each.refused is None]
    for each in resolved:
        journal.record(each.order_id, EventType.ATTENTION_RESOLVED, by=by, reason=reason[:200])
    journal.write()
    numbers = [number for each in resolved for number in each.discarded]
    gone = set(dead_letters.discard(tx, numbers, by=by, reason=reason))
    actions.record(tx, by, "order.resolve", [f"order {each.order_id}" for each in resolved], reason)
    actions.record(tx, by, "dead.discard", [f"dead_letter {each}" for each in sorted(gone)], reason)
    # A letter that somebody has replayed meanwhile was not discarded.
    return [replace(each, discarded=[n for n in each.discarded if n in gone]) for each in answers]


def _given_up(
    order_ids: list[str], tx: StoreTransaction
) -> tuple[defaultdict[str, set[Step | None]], dict[str, EventUnreadable]]:
    """Return the steps of each order that were given up, and why the events of others cannot be read."""
    steps: defaultdict[str, set[Step | None]] = defaultdict(set)
    unreadable: dict[str, EventUnreadable] = {}
    failed = [each.value for each in FAILED.values()]
    for order_id, version, event_type, step in tx.fetch_all(_GIVEN_UP, (order_ids, failed)):
        try:
            steps[order_id].add(read_columns(event_type, step, version, order_id).step)
        except EventUnreadable as exc:
            unreadable[order_id] = exc
    return steps, unreadable


def _answer(
    order_id: str,
    order: LockedOrder | None,
    attention: str | None,
    given_up: Collection[Step | None],
    letters: Sequence[LetterKey],
) -> Resolved:
    """Return what becomes of an order. Pure."""
    if order is None:
        return Resolved(order_id, None, [], [], OrderNotFound(f"no order {order_id[:80]!r}"))
    pending = sorted(order.state.pending)
    if attention is None:
        return Resolved(order_id, None, [], list(pending))
    left = [each for each in pending if each in given_up]
    refused = OrderConflict(_not_yet(order_id, left, letters)) if left else None
    numbers = [] if left else sorted(each.dead_letter_id for each in letters)
    return Resolved(order_id, attention, numbers, list(pending), refused)


def _not_yet(order_id: str, left: Sequence[Step], letters: Sequence[LetterKey]) -> str:
    """Return the error's text, with the command to type instead: a replay, which asks the gateway first."""
    steps = ", ".join(left)
    types = {type(command_of(step, order_id, 1).payload).__name__ for step in left}
    if wanted := [each for each in letters if each.type in types]:
        numbers = " ".join(str(each.dead_letter_id) for each in wanted)
        todo = f'ordermq dead replay {numbers} --reason "..."'
    else:
        todo = f'unless it is being tried already: ordermq-publish replay --order {order_id} --reason "..."'
    if Step.REFUND in left:
        by_hand = f"ordermq order refunded {order_id} --by-hand AMOUNT --reference R"
        todo += f'; if the money went back at the payment service itself: {by_hand} --reason "..."'
    return f"order {order_id}: {steps} was given up and must still be done; repair the cause, then {todo}"

"""Putting orders back to an earlier step, as after a night in which the payment service refused everything.

    to step    what happens                                   of which orders
    reserve    begun anew, as ``order reopen`` does           cancelled or refunded, at rest, no money left
    capture    reserved, and its capture is sent again;       cancelled because its payment was given up,
               stock that was released is reserved again,     and no money is known to be taken or to be
               or else the order stays as it is               on its way back

A rewind is an event, so the history keeps everything. It withdraws what undid the order: a release, a
refund or a message to the customer that has not ended, and the order's open dead letters. A capture
that may have happened is found by its key before another is asked for, as in every capture.

Invariants
    RWD1  An order is put back to its capture only while no refund of it can have happened or be under
        way: otherwise the money could go back after the order went on. Money that was taken is taken
        once, by its key.
    RWD2  An order in ``reserved`` has its stock: rows that were released are reserved in the
        transaction of the rewind, all of the order's or none.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ordermq.errors import OrderConflict, OrderNotFound
from ordermq.shop import reservations
from ordermq.shop.commands import PAYMENT
from ordermq.shop.effects import effect_of
from ordermq.shop.events import NOTIFY, EventType, Step
from ordermq.shop.history import CANCELLING, cause_of
from ordermq.shop.journal import Journal, LockedOrder
from ordermq.shop.payments import Payment, Payments, PaymentState
from ordermq.shop.refunds import Refunds, RefundState
from ordermq.shop.reopen import forget_cancellations, reopen_order
from ordermq.shop.replay import stake_of
from ordermq.shop.saga import State, Status, can_happen
from ordermq.shop.stock import allocate
from ordermq.store import StoreTransaction, actions, dead_letters
from ordermq.task.forecast import Effect

TARGETS = (Step.RESERVE, Step.CAPTURE)

_CAUSES = """
    SELECT order_id, array_agg(type ORDER BY version) FROM shop.order_events
     WHERE order_id = ANY(%s) AND type = ANY(%s) GROUP BY order_id
"""

# A refund that was tried may have happened, unless it was refused and given up.
_REFUNDING = """
    SELECT DISTINCT e.order_id
      FROM (SELECT order_id, order_id || ':' || version || ':' || %(queue)s AS message_id
              FROM shop.order_events
             WHERE order_id = ANY(%(order_ids)s) AND type IN ('payment_failed', 'payment_captured')) AS e
      LEFT JOIN ordermq.leases AS l ON l.queue = %(queue)s AND l.message_id = e.message_id
      LEFT JOIN ordermq.inbox AS i ON i.queue = %(queue)s AND i.message_id = e.message_id
     WHERE l.message_id IS NOT NULL OR i.outcome IN ('retry', 'postponed')
"""

_HELD = """
    SELECT DISTINCT order_id FROM shop.reservations
     WHERE order_id = ANY(%(order_ids)s) AND state = 'reserved'
"""

_KNOWN = frozenset({PaymentState.CAPTURED, PaymentState.DECLINED, PaymentState.REFUNDED})


class RewindOutcome(StrEnum):
    """What became of an order; ``unchanged``: it is at this step already."""

    REWOUND = "rewound"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Rewound:
    """The answer for one order; ``note`` says what was undone for it, or why nothing was done."""

    order_id: str
    outcome: RewindOutcome
    note: str
    effect: Effect | None = None


def why_not_capture(state: State, cause: EventType | None) -> str | None:
    """Return why an order cannot be put back to its capture; None if the saga lets it. Pure.

    ``cause`` is the event that cancelled it.
    """
    if state.status is not Status.CANCELLED:
        return f"it is {state.status}, not cancelled"
    if cause is not EventType.PAYMENT_FAILED:
        return f"it was cancelled by {cause}, not because its payment was given up"
    if Step.CAPTURE in state.pending:
        return "its capture has not ended"
    return None if can_happen(state, EventType.ORDER_REWOUND) else "no card of it is charged"


def why_not_money(payment: Payment | None, *, is_refunding: bool) -> str | None:
    """Return why the money of an order keeps it from its capture; None if it does not (RWD1). Pure."""
    if is_refunding:
        return "its refund is being tried"
    if payment is not None and payment.state in _KNOWN:
        return f"its payment is {payment.state}"
    return None


def rewind_orders(
    order_ids: Sequence[str], to: Step, tx: StoreTransaction, *, by: str, reason: str
) -> list[Rewound]:
    """Put these orders back to step ``to``, in the caller's transaction; return an answer for each."""
    if to is Step.RESERVE:
        return [_reopened(each, tx, by=by, reason=reason) for each in order_ids]
    return _Rewind(order_ids, tx, by).to_capture(reason=reason)


def _reopened(order_id: str, tx: StoreTransaction, *, by: str, reason: str) -> Rewound:
    try:
        opened = reopen_order(order_id, tx, by=by, reason=reason)
    except (OrderConflict, OrderNotFound) as exc:
        return Rewound(order_id, RewindOutcome.REFUSED, str(exc))
    if opened.is_duplicate:
        return Rewound(order_id, RewindOutcome.UNCHANGED, f"it is {opened.status}, not cancelled")
    return Rewound(order_id, RewindOutcome.REWOUND, "begun anew, with the reservation of its stock")


class _Rewind:
    """Orders of one transaction, locked, and what their rewind depends on."""

    def __init__(self, order_ids: Sequence[str], tx: StoreTransaction, by: str) -> None:
        self._tx = tx
        self._by = by
        self._ids = list(dict.fromkeys(order_ids))
        self._journal = Journal(tx, self._ids, by=by)
        self._payments = Payments(self._ids, tx, settles_s=0.0).rows
        kinds = [each.value for each in CANCELLING]
        self._causes: Mapping[str, EventType | None] = {
            order_id: cause_of(EventType(each) for each in types)
            for order_id, types in tx.fetch_all(_CAUSES, (self._ids, kinds))
        }
        self._refunds = Refunds(self._ids, tx)
        self._refunding = self._these(_REFUNDING)
        self._held = self._these(_HELD)

    def to_capture(self, *, reason: str) -> list[Rewound]:
        """Put back those that may be; write what follows."""
        refused = {each: self._why_not(each) for each in self._ids}
        wanted = [each for each in self._ids if refused[each] is None]
        short = self._reserve([each for each in wanted if each not in self._held])
        going = [each for each in wanted if each not in short]
        letters: defaultdict[str, list[int]] = defaultdict(list)
        for letter in dead_letters.open_about(self._tx, going):
            letters[letter.correlation_id].append(letter.dead_letter_id)
        answers = []
        for order_id in self._ids:
            why = refused[order_id] or short.get(order_id)
            if why is None:
                order = self._journal.orders[order_id]
                answers.append(self._put_back(order, letters[order_id], reason=reason))
            else:
                outcome = RewindOutcome.UNCHANGED if self._is_there(order_id) else RewindOutcome.REFUSED
                answers.append(Rewound(order_id, outcome, why))
        self._journal.write()
        self._refunds.write()
        discarded = [number for each in going for number in letters[each]]
        dead_letters.discard(self._tx, discarded, by=self._by, reason=reason)
        forget_cancellations(going, self._tx)
        changed = [f"order {each.order_id}" for each in answers if each.outcome is RewindOutcome.REWOUND]
        actions.record(self._tx, self._by, "order.rewind", changed, reason)
        return answers

    def _these(self, sql: str) -> Collection[str]:
        params = {"order_ids": self._ids, "queue": PAYMENT}
        return {row[0] for row in self._tx.fetch_all(sql, params)}

    def _why_not(self, order_id: str) -> str | None:
        order = self._journal.orders.get(order_id)
        if order is None:
            return "no such order"
        if self._is_there(order_id):
            return "it waits for its capture already; see 'ordermq-publish replay'"
        if (archived := self._journal.archived(order_id)) is not None:
            return str(archived)
        why = why_not_capture(order.state, self._causes.get(order_id))
        why = why or why_not_money(self._payments.get(order_id), is_refunding=order_id in self._refunding)
        return f"{why}; {legal_targets(order.state)}" if why else None

    def _is_there(self, order_id: str) -> bool:
        order = self._journal.orders.get(order_id)
        return order is not None and order.state.status is Status.RESERVED

    def _reserve(self, order_ids: Sequence[str]) -> dict[str, str]:
        """Reserve the stock of orders again (RWD2); return why not, of those that are short of it."""
        if not order_ids:
            return {}
        wanted, on_hand = reservations.wanted_stock(order_ids, self._tx)
        short: dict[str, str] = {}
        for order_id, units in wanted.items():
            if missing := allocate(units, on_hand):
                short[order_id] = f"not enough stock of {', '.join(missing)}; it stays as it is"
        granted = {each: units for each, units in wanted.items() if each not in short}
        reservations.forget_released(list(granted), self._tx)
        reservations.reserve(granted, self._tx)
        return short

    def _put_back(self, order: LockedOrder, letters: Sequence[int], *, reason: str) -> Rewound:
        order_id, stock = order.order_id, "kept" if order.order_id in self._held else "reserved again"
        undone = [f"stock {stock}", *(f"{_word(step)} withdrawn" for step in sorted(order.state.pending))]
        undone += [f"dead letter {each} discarded" for each in letters]
        self._journal.record(
            order_id, EventType.ORDER_REWOUND, to=Step.CAPTURE, stock=stock, by=self._by, reason=reason[:200]
        )
        if (refund := self._refunds.open(order_id)) is not None:
            self._refunds.change(refund._replace(state=RefundState.SKIPPED))
        effect = effect_of(Step.CAPTURE, order.state, stake_of(order))
        return Rewound(order_id, RewindOutcome.REWOUND, ", ".join(undone), effect)


def legal_targets(state: State) -> str:
    """Return what may be done to an order instead."""
    if can_happen(state, EventType.ORDER_REOPENED) and not state.pending:
        return "it may be rewound to: reserve"
    return "it may be rewound to no step now"


def _word(step: Step) -> str:
    return "message to the customer" if step in NOTIFY else step.value

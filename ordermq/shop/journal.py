"""Orders locked in one transaction, and the events recorded for them there.

A handler reads the states of its orders, records events, and writes once at the end.
That takes two statements for a whole batch: one for events and states, one for commands.

Invariants
    JRN1  An order's events are added only while its row is locked. So their versions have
        no gap, and the stored status and pending steps are what the events add up to.
    JRN2  Order rows are locked before any other row, sorted by order_id. So two
        transactions that share orders cannot deadlock on them.
    JRN3  A state, its event and the commands that follow commit together. If a person has
        to look, the alert's message does too; it is logged and counted after the commit.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ordermq.clock import utc_now
from ordermq.errors import OrderArchived
from ordermq.message import Command
from ordermq.observe import metrics, trace
from ordermq.shop import events
from ordermq.shop.alerts import Alert
from ordermq.shop.archives.restoring import why_archived
from ordermq.shop.commands import command_of
from ordermq.shop.events import Event, EventType, Step, StoredEvent
from ordermq.shop.saga import Readiness, State, Status, advance, readiness, terms_of
from ordermq.store.arrays import array_of, arrays_of
from ordermq.task import Transaction

MAX_ATTENTION_CHARS = 500
_TERMINAL = frozenset({Status.COMPLETED, Status.CANCELLED, Status.REFUNDED})

order_critical_time = metrics.bulk_seconds(
    "order_critical_time",
    "From placing an order to its end, by the database's clock; without those that waited for their customer,"
    " for another card or to confirm a payment. Orders that were held, reopened or rewound count in full",
    "status",
    worry="p99 above what customers bear",
)

_LOCK = """
    SELECT order_id, status, pending, charge, notify, version, traceparent, customer_id, currency,
           total_minor, refunded_minor,
           CASE WHEN due_until IS NULL
                 AND NOT EXISTS (SELECT FROM shop.payments AS p
                                  WHERE p.order_id = orders.order_id AND p.action_at IS NOT NULL)
                THEN date_part('epoch', clock_timestamp() - accepted_at) END, archive_id
      FROM shop.orders WHERE order_id = ANY(%s) ORDER BY order_id COLLATE "C" FOR NO KEY UPDATE
"""

_ATTENTION = "SELECT attention_reason FROM shop.orders WHERE order_id = %s"

# Migration 0017 has the function. It takes the columns of orders and of events.
_WRITE = f"SELECT shop.write_journal({', '.join(['%s'] * 13)})"

_SAVE_DUE = """
    UPDATE shop.orders AS o SET due_until = clock_timestamp() + v.left_s * interval '1 second'
      FROM (VALUES %s) AS v (order_id, left_s) WHERE o.order_id = v.order_id
"""


@dataclass(slots=True)
class LockedOrder:
    """An order's row, locked until the transaction ends.

    ``refunded_minor`` is what went back to the customer of the money that was taken last; a change
    of it is written with the order's next event. ``age_s`` is how long ago it was placed, by the database's
    clock; None if it waited for its customer. ``archive_id``: its events are in a file, so nothing can be
    recorded. ``attention`` is a reason raised in this transaction. ``is_resolved`` says that a person has
    resolved whatever reason was raised before it.
    """

    order_id: str
    state: State
    version: int
    traceparent: str
    customer_id: str
    currency: str
    total_minor: int
    refunded_minor: int
    age_s: float | None = None
    archive_id: int | None = None
    attention: str | None = None
    is_resolved: bool = False

    def readiness(self, step: Step) -> Readiness:
        """Say whether a command for ``step`` is to be carried out now."""
        return readiness(self.state, step)


class Journal:
    """The orders of one transaction: locked when this object is made, changed by ``write()``.

    ``orders`` holds those that exist, by order_id. ``by`` is the person who acts; without one it is the
    transaction's actor. Each event says who made it.
    """

    def __init__(self, tx: Transaction, order_ids: Iterable[str], *, by: str = "") -> None:
        self._tx = tx
        self._actor = by or tx.actor
        self._events: list[StoredEvent] = []
        self._commands: list[Command] = []
        self._alerts: list[Alert] = []
        self._due_s: dict[str, float] = {}
        self._ended: list[tuple[Status, float | None]] = []
        self.orders: dict[str, LockedOrder] = {
            row[0]: LockedOrder(row[0], state_of(*row[1:5]), *row[5:])
            for row in tx.fetch_all(_LOCK, (array_of(sorted(set(order_ids))),))
        }

    def attention(self, order_id: str) -> str | None:
        """Return why the order needed a person before this transaction; None if it did not."""
        row = self._tx.fetch_one(_ATTENTION, (order_id,))
        return row[0] if row else None

    def archived(self, order_id: str) -> OrderArchived | None:
        """Return the error with which ``record`` refuses a locked order; None if it takes an event."""
        order = self.orders[order_id]
        return None if order.archive_id is None else why_archived(order_id, self._tx)

    def record(
        self,
        order_id: str,
        event_type: EventType,
        step: Step | None = None,
        *,
        attention: str = "",
        expires_s: float = 0.0,
        **data: Any,
    ) -> None:
        """Add an event to a locked order, and the commands that follow. Nothing is written yet.

        ``data`` holds ids and amounts only. ``attention`` is the reason that a person
        reads if the saga asks for one. An expiry that follows is sent in ``expires_s`` seconds, and until
        then ``due_until`` says so.
        Raises IllegalEvent, and OrderArchived if the order's events are in a file.
        """
        order = self.orders[order_id]
        if (why := self.archived(order_id)) is not None:
            raise why
        # "" lets the transaction fill in the trace of the message that is being handled. Without
        # such a message the commands continue the trace of the order.
        handled = self._tx.traces.get(order_id)
        traceparent = order.traceparent if handled is None else ""
        event = Event(event_type, step)
        move = advance(order.state, event)
        if move.state.status in _TERMINAL and order.state.status not in _TERMINAL:
            self._ended.append((move.state.status, order.age_s))
        order.state = move.state
        order.version += 1
        if move.attention:
            order.attention = order.attention or f"{event_type}: {attention}"[:MAX_ATTENTION_CHARS]
            self._alerts.append(Alert(order_id, order.version, event, attention, traceparent))
        elif move.attention is False:
            order.attention, order.is_resolved = None, True
        row = events.stored(
            order_id, order.version, event, status=move.state.status, occurred_at=utc_now(), data=data,
            actor=self._actor, trace_id=_other_trace(handled, order.traceparent),
        )  # fmt: skip
        self._events.append(row)
        for each in move.sends:
            command = command_of(each, order_id, order.version, traceparent)
            if each is Step.EXPIRE:
                self._due_s[order_id] = expires_s
                command = replace(command, delay_s=expires_s)
            self._commands.append(command)

    def write(self) -> None:
        """Write the recorded events, the new states and the commands."""
        changed = sorted({event.order_id for event in self._events})
        rows = [
            (
                order.order_id, str(order.state.status), " ".join(sorted(order.state.pending)), order.version,
                order.refunded_minor, order.attention, order.is_resolved,
            )
            for order in (self.orders[order_id] for order_id in changed)
        ]  # fmt: skip
        if rows:
            self._tx.write(_WRITE, (*arrays_of(rows), *arrays_of(self._events)))
        if self._due_s:
            self._tx.write_values(_SAVE_DUE, sorted(self._due_s.items()))
        self._tx.send([*self._commands, *(each.command() for each in self._alerts)])
        for each in self._alerts:
            self._tx.after_commit(each.announce)
        if self._ended:
            self._tx.after_commit(partial(_note_ended, self._ended))
        self._events, self._commands, self._alerts, self._due_s, self._ended = [], [], [], {}, []


def _other_trace(handled: str | None, traceparent: str) -> str | None:
    """Return the trace id of a message that is being handled, None if the order's trace is the same."""
    own, order = trace.trace_id_of(handled or traceparent), trace.trace_id_of(traceparent)
    return None if own == order else own


def _note_ended(ended: Iterable[tuple[Status, float | None]]) -> None:
    """Count how long orders took from being placed to their end."""
    by_status: dict[str, list[float]] = {}
    for status, age_s in ended:
        if age_s is not None:
            by_status.setdefault(str(status), []).append(age_s)
    for name, ages_s in by_status.items():
        order_critical_time.observe_many(name, ages_s)


def state_of(status: str, pending: list[str], charge: str, notify: str) -> State:
    """Return an order's state from its columns."""
    return State(Status(status), frozenset(Step(each) for each in pending), terms_of(charge, notify))

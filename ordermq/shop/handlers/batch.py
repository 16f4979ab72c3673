"""What the handlers of many orders share: which orders to work on, and each message's outcome."""

import logging
from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from ordermq.shop.events import FAILED, EventType, Step
from ordermq.shop.journal import Journal, LockedOrder
from ordermq.shop.saga import Readiness, can_happen
from ordermq.task import DONE, Dead, Outcome, Postpone, Transaction

log = logging.getLogger(__name__)

BATCH = 200

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")


class StepBatch:
    """The orders of one batch of commands for ``step``, locked.

    ``ready`` are the orders to do the step for, each once, as their messages came.
    A command that was done before or is no longer wanted is Done; one that came too
    early is postponed; one of an order nobody knows is Dead. ``late`` is an event that
    still counts when the step has ended, because it was given up and then replayed.
    """

    def __init__(
        self, messages: Sequence[Any], step: Step, tx: Transaction, *, late: EventType | None = None
    ) -> None:
        self._step = step
        self._journal = Journal(tx, (message.order_id for message in messages))
        self._outcomes = [
            outcome_from_state(self._journal, message.order_id, step, late) for message in messages
        ]
        self.ready = list(
            dict.fromkeys(
                message.order_id
                for message, outcome in zip(messages, self._outcomes, strict=True)
                if outcome is None
            )
        )

    def order(self, order_id: str) -> LockedOrder:
        return self._journal.orders[order_id]

    def record(self, order_id: str, event_type: EventType, **data: Any) -> None:
        """Let the step of an order end with an event."""
        self._journal.record(order_id, event_type, self._step, **data)

    def write(self) -> list[Outcome]:
        """Write what was recorded; return one outcome for each message, in their order."""
        self._journal.write()
        return [outcome or DONE for outcome in self._outcomes]


def outcome_from_state(
    journal: Journal, order_id: str, step: Step, late: EventType | None = None
) -> Outcome | None:
    """Return what becomes of a command without doing its step; None if the step is to be done."""
    order = journal.orders.get(order_id)
    if order is None:
        return Dead(f"no order {order_id[:80]!r}")
    match order.readiness(step):
        case Readiness.READY:
            return None
        case Readiness.MOVED_ON:
            return None if late and can_happen(order.state.status, late) else DONE
        case Readiness.TOO_EARLY:
            return Postpone(f"order is {order.state.status}: too early to {step}")


def once_each(keys: Iterable[K], answers: Mapping[K, R | Outcome]) -> list[R | Outcome]:
    """Return what each message of a batch is answered; its key says what it wants done.

    A request is given to one message: another that wants the same is Done, because the
    first carries it on.
    """
    left = dict(answers)
    given = []
    for key in keys:
        given.append(left[key])
        if not isinstance(left[key], Outcome):
            left[key] = DONE
    return given


def give_up(step: Step, message: Any, reason: str, tx: Transaction) -> None:
    """The ``on_dead`` of every step: record that it was given up, and what follows from that.

    A step that is not pending changes nothing in the order, but a dead letter of a
    known order always gets a human's attention. One of an order nobody knows is only logged.
    """
    journal = Journal(tx, [message.order_id])
    order = journal.orders.get(message.order_id)
    if order is None:
        tx.after_commit(partial(log.critical, "dead letter of an order nobody knows: %s", reason))
        return
    if step in order.state.pending:
        journal.record(order.order_id, FAILED[step], step, attention=reason)
    else:
        journal.record(order.order_id, EventType.ATTENTION_RAISED, attention=f"{step} is dead: {reason}")
    journal.write()

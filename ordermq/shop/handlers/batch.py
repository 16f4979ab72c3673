"""What the shop's handlers share: the orders of a batch, and the outcomes of its messages."""

import logging
from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

from ordermq.errors import GatewayRefused, GatewayUnavailable, OrderArchived
from ordermq.shop.events import FAILED, EventType, Step
from ordermq.shop.journal import Journal, LockedOrder
from ordermq.shop.saga import Readiness, can_happen
from ordermq.task import DONE, Dead, Outcome, Postpone, RetryOptions, Transaction

log = logging.getLogger(__name__)

BATCH = 200

KEPT_IF_ARCHIVED = RetryOptions(fatal=(OrderArchived,))
"""The message of an order whose events are archived becomes a dead letter at once, without another try."""

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")


class AboutOrder(Protocol):
    """A payload that names its order."""

    @property
    def order_id(self) -> str:
        """The order that the message is about."""


class StepBatch:
    """The locked orders of one batch of commands for ``step``.

    ``ready`` are the orders to do the step for, each once, in the order of their messages.
    A command that was done before or is no longer wanted is Done, one that came too early
    is postponed, and one of an unknown order is Dead. ``late`` is an event that still
    counts after the step has ended, because the step was given up and then replayed. An archived order can
    get none: its command is Dead, to be replayed once the archive was restored.
    """

    def __init__(
        self, messages: Sequence[AboutOrder], step: Step, tx: Transaction, *, late: EventType | None = None
    ) -> None:
        self._step = step
        self._messages = messages
        self._postponed: dict[str, Outcome] = {}
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
        """Return one of the orders."""
        return self._journal.orders[order_id]

    def record(self, order_id: str, event_type: EventType, **data: Any) -> None:
        """Record the event that ends the step of an order."""
        self._journal.record(order_id, event_type, self._step, **data)

    def postpone(self, order_id: str, reason: str, delay_s: float | None = None) -> None:
        """Have the messages of a ready order come again later."""
        self._postponed[order_id] = Postpone(reason, delay_s)

    def write(self) -> list[Outcome]:
        """Write the recorded events; return one outcome for each message, in their order."""
        self._journal.write()
        return [
            outcome or self._postponed.get(message.order_id, DONE)
            for message, outcome in zip(self._messages, self._outcomes, strict=True)
        ]


def outcome_from_state(
    journal: Journal, order_id: str, step: Step, late: EventType | None = None
) -> Outcome | None:
    """Return the outcome of a command whose step is not to be done; None if it is to be done."""
    order = journal.orders.get(order_id)
    if order is None:
        return Dead(f"no order {order_id[:80]!r}")
    match order.readiness(step):
        case Readiness.READY:
            return None
        case Readiness.MOVED_ON if late is None or not can_happen(order.state, late):
            return DONE
        case Readiness.MOVED_ON:
            archived = journal.archived(order_id)
            return None if archived is None else Dead(f"{archived}, then ordermq dead replay")
        case Readiness.TOO_EARLY:
            return Postpone(f"order is {order.state.status}: too early to {step}")


def outcome_of_failed(error: GatewayRefused | GatewayUnavailable) -> Dead | Postpone:
    """Return the outcome of a message whose call had no effect: Dead if another one is refused too."""
    if isinstance(error, GatewayRefused):
        return Dead(str(error))
    return Postpone(str(error), error.retry_after_s)


def raise_attention(journal: Journal, order_id: str, attention: str) -> Outcome:
    """Record that a person has to look, and why. Of an archived order the dead letter says so."""
    if (archived := journal.archived(order_id)) is not None:
        return Dead(f"{attention} ({archived})")
    journal.record(order_id, EventType.ATTENTION_RAISED, attention=attention)
    return DONE


def once_each(keys: Iterable[K], answers: Mapping[K, R | Outcome]) -> list[R | Outcome]:
    """Return the answer to each message of a batch; messages with the same key want the same.

    Only the first of them gets the request. The others are Done, because the first does
    the work for them.
    """
    left = dict(answers)
    given = []
    for key in keys:
        given.append(left[key])
        if not isinstance(left[key], Outcome):
            left[key] = DONE
    return given


def give_up(step: Step, message: AboutOrder, reason: str, tx: Transaction) -> None:
    """The ``on_dead`` of every step: record that the step was given up, and what follows from it.

    If the step is not pending, the order only asks for a person: a dead letter always
    does. A dead letter of an unknown or archived order is only logged.
    """
    journal = Journal(tx, [message.order_id])
    order = journal.orders.get(message.order_id)
    if order is None or order.archive_id is not None:
        which = "an unknown" if order is None else "an archived"
        tx.after_commit(partial(log.critical, "dead letter of %s order: %s", which, reason))
        return
    if step in order.state.pending:
        journal.record(order.order_id, FAILED[step], step, attention=reason)
    else:
        journal.record(order.order_id, EventType.ATTENTION_RAISED, attention=f"{step} is dead: {reason}")
    journal.write()

"""What telling a customer by text and by e-mail have in common: at most once, whatever happens.

The services have no idempotency keys, so a message that may have been sent is never sent
again: it is recorded as unknown, and a person has to look.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from ordermq.errors import GatewayRefused, GatewayUnavailable
from ordermq.shop import notifications
from ordermq.shop.commands import SendEmail, SendNotification, Template
from ordermq.shop.events import EventType, Step
from ordermq.shop.handlers import batch
from ordermq.shop.journal import Journal, LockedOrder
from ordermq.shop.notifications import NotificationChannel, NotificationKey, Notifications, NotificationState
from ordermq.shop.occasions import NUMBERED, Occasions
from ordermq.shop.saga import Status
from ordermq.shop.templates import Facts
from ordermq.task import DONE, CallFailure, Claim, ExternalHandler, Finished, Outcome, Postpone, Transaction
from ordermq.task.retry import describe

NotificationCommand = SendNotification | SendEmail
P = TypeVar("P", SendNotification, SendEmail)
Request = TypeVar("Request")


@dataclass(frozen=True, slots=True)
class Delivered:
    """The service accepted the message under this id."""

    provider_id: str


def step_of(template: Template, channel: NotificationChannel) -> Step:
    """Return the step that tells the customer by this channel."""
    return template.step if channel is NotificationChannel.TEXT else template.email_step


def give_up(channel: NotificationChannel, message: NotificationCommand, reason: str, tx: Transaction) -> None:
    """The ``on_dead`` of a notification: the order goes on, and a person has to look."""
    batch.give_up(step_of(message.template, channel), message, reason, tx)
    occasions = Occasions([(message.order_id, message.template)], tx)
    number = occasions.number(message.order_id, message.template, message.version)
    if number is not None:
        notifications.give_up(
            NotificationKey(message.order_id, message.template, number), channel, reason, tx
        )


class NotificationHandler(ExternalHandler[P, Request, Delivered], Generic[P, Request]):
    """Sends one message to the customer for each command. One instance serves all threads."""

    channel: ClassVar[NotificationChannel]

    def prepare(self, claims: Sequence[Claim[P]], tx: Transaction) -> list[Request | Outcome]:
        """Write which messages are about to be sent; return them."""
        telling = _Telling(self.channel, [claim.message for claim in claims], tx, with_addresses=True)
        known = telling.notified.addresses
        claimed = {telling.key(claim.message): claim for claim in claims}
        answers = {
            key: self._begin(key, known.get(key.order_id), telling, claim.deadline_s)
            for key, claim in claimed.items()
        }
        telling.write()
        return batch.once_each((telling.key(claim.message) for claim in claims), answers)

    def complete(self, finished: Sequence[Finished[P, Delivered]], tx: Transaction) -> list[Outcome]:
        """Write the result of each message."""
        telling = _Telling(self.channel, [each.claim.message for each in finished], tx)
        outcomes = [_end(telling.key(each.claim.message), each.result, telling) for each in finished]
        telling.write()
        return outcomes

    @abstractmethod
    def _reason_to_skip(self, address: str | None) -> str | None:
        """Return why nothing can be sent to the customer; None if it can."""

    @abstractmethod
    def _request(self, address: str, facts: Facts, reference: str, timeout_s: float) -> Request:
        """Return what to hand to the service."""

    def _begin(
        self, key: NotificationKey, address: str | None, telling: "_Telling", timeout_s: float
    ) -> Request | Outcome:
        outcome = telling.outcome(key)
        if outcome is not None:
            return outcome
        match telling.notified.state(key):
            case NotificationState.SENT:
                # The customer has it: it was adopted from the service's ledger after a backup, or was
                # sent before the order was reopened.
                telling.record(key, EventType.NOTIFICATION_SENT)
            case NotificationState.SKIPPED:
                telling.record(key, EventType.NOTIFICATION_SKIPPED)
            case NotificationState.UNKNOWN:
                telling.mark_unknown(key, "it may have been sent before the order was reopened")
            case NotificationState.SENDING:
                # The worker that wrote this may have sent it, and died before it wrote the result.
                telling.mark_unknown(key, "its sender did not come back")
            case state:  # NTF2: none or failed
                return self._send(key, address, telling, timeout_s, is_new=state is None)
        return DONE

    def _send(
        self,
        key: NotificationKey,
        address: str | None,
        telling: "_Telling",
        timeout_s: float,
        *,
        is_new: bool,
    ) -> Request | Outcome:
        if telling.notified.is_another_sending(key):
            return Postpone(f"another {key.template} of the order is being sent")  # NTF4
        reason = telling.reason_to_skip(key) or self._reason_to_skip(address)
        if reason is not None or address is None:
            telling.skip(key, reason or "", is_new=is_new)
            return DONE
        facts = telling.facts(key)
        telling.notified.set(key, NotificationState.SENDING)
        return self._request(address, facts, key.reference, timeout_s)


class _Telling:
    """The orders of a batch, locked, with their notifications by one channel and what there is to tell."""

    def __init__(
        self,
        channel: NotificationChannel,
        messages: Sequence[NotificationCommand],
        tx: Transaction,
        *,
        with_addresses: bool = False,
    ) -> None:
        order_ids = {message.order_id for message in messages}
        self._channel = channel
        self._journal = Journal(tx, order_ids)
        self._occasions = Occasions([(each.order_id, each.template) for each in messages], tx)
        self.notified = Notifications(order_ids, channel, tx, with_addresses=with_addresses)

    def key(self, message: NotificationCommand) -> NotificationKey:
        """Return the key of a message's notification; number 0 where there is nothing to tell."""
        number = self._occasions.number(message.order_id, message.template, message.version)
        return NotificationKey(message.order_id, message.template, number or 0)

    def outcome(self, key: NotificationKey) -> Outcome | None:
        """Return the outcome of a message that is not to be sent; None if it is."""
        step = step_of(key.template, self._channel)
        outcome = batch.outcome_from_state(self._journal, key.order_id, step, EventType.NOTIFICATION_SENT)
        if outcome is not None:
            return outcome
        state, is_pending = self.notified.state(key), self._is_pending(key)
        if key.template not in NUMBERED:
            return None if is_pending or state is NotificationState.FAILED else DONE
        if state in (None, NotificationState.FAILED):  # NTF4: another number may have told of it
            return None if key.number > self.notified.settled_until(key) else DONE
        return None if is_pending or state is NotificationState.SENDING else DONE

    def reason_to_skip(self, key: NotificationKey) -> str | None:
        """Return why the customer need not be told any more; None otherwise."""
        if key.template is not Template.PAYMENT_DUE:
            return None
        is_newest = key.number == self._occasions.newest(key.order_id, key.template)
        is_due = self._order(key).state.status is Status.PAYMENT_DUE
        return None if is_due and is_newest else "the order does not wait for this payment any more"

    def facts(self, key: NotificationKey) -> Facts:
        """Return what the notification tells."""
        order = self._order(key)
        since = self.notified.settled_until(key)
        news = self._occasions.between(key.order_id, key.template, since, key.number)
        if key.template is Template.ORDER_REFUNDED:
            amount_minor = sum(each.amount_minor for each in news)
        else:
            amount_minor = order.total_minor
        due_at = news[-1].due_at if news else None
        return Facts(key.template, key.order_id, amount_minor, order.currency, due_at)

    def skip(self, key: NotificationKey, reason: str, *, is_new: bool) -> None:
        """Record that nothing is sent. What failed before stays as it is, unless its step is pending."""
        if is_new or self._is_pending(key):
            self.notified.set(key, NotificationState.SKIPPED, reason=reason)
            self.record(key, EventType.NOTIFICATION_SKIPPED)

    def mark_unknown(self, key: NotificationKey, reason: str) -> None:
        """Record that the message was perhaps sent, and ask for a person."""
        self.notified.set(key, NotificationState.UNKNOWN, reason=reason)
        self.record(key, EventType.NOTIFICATION_UNKNOWN, attention=reason)

    def record(
        self, key: NotificationKey, event_type: EventType, *, attention: str = "", **data: Any
    ) -> None:
        """Record an event. It ends the step unless a message is on its way that has more to tell."""
        is_last = key.number >= self._occasions.newest(key.order_id, key.template)
        step = step_of(key.template, self._channel) if is_last else None
        data |= {"template": key.template, "channel": self._channel}
        self._journal.record(key.order_id, event_type, step, attention=attention, **data)

    def write(self) -> None:
        """Write the rows, the events and what follows from them."""
        self.notified.write()
        self._journal.write()

    def _is_pending(self, key: NotificationKey) -> bool:
        return step_of(key.template, self._channel) in self._order(key).state.pending

    def _order(self, key: NotificationKey) -> LockedOrder:
        return self._journal.orders[key.order_id]


def _end(key: NotificationKey, result: Delivered | CallFailure, telling: _Telling) -> Outcome:
    match result:
        case Delivered(provider_id):
            is_news = telling.notified.state(key) is not NotificationState.SENT
            telling.notified.set(key, NotificationState.SENT, provider_id=provider_id)
            if is_news:
                telling.record(key, EventType.NOTIFICATION_SENT, provider_id=provider_id)
        case GatewayRefused() | GatewayUnavailable():
            telling.notified.set(key, NotificationState.FAILED, reason=str(result))
            return batch.outcome_of_failed(result)
        case _:  # OutcomeUnknown
            telling.mark_unknown(key, describe(result))
    return DONE

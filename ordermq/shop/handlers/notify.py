"""Queue ``notify``: tell the customer by SMS, at most once an order and template.

The service has no idempotency keys, so whatever may have been sent is never sent
again: it is recorded as unknown, and a human gets to see it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from ordermq.config import Loaded
from ordermq.errors import GatewayRefused, GatewayUnavailable
from ordermq.shop import notifications
from ordermq.shop.commands import NOTIFY, SendNotification
from ordermq.shop.events import EventType
from ordermq.shop.gateways import SmsGateway
from ordermq.shop.handlers import batch
from ordermq.shop.journal import Journal
from ordermq.shop.notifications import Key, Notifications, NotificationState
from ordermq.shop.settings import SECTION, ShopSettings
from ordermq.shop.templates import render
from ordermq.task import (
    DONE,
    CallFailure,
    Claim,
    Dead,
    ExternalHandler,
    Finished,
    Outcome,
    Postpone,
    Transaction,
    external,
)
from ordermq.task.retry import describe


@dataclass(frozen=True, slots=True)
class SmsRequest:
    """One message to send."""

    to: str = field(repr=False)
    text: str = field(repr=False)
    reference: str
    timeout_s: float


@dataclass(frozen=True, slots=True)
class SmsSent:
    """The service took it under this id."""

    provider_id: str


def give_up(message: SendNotification, reason: str, tx: Transaction) -> None:
    """The ``on_dead`` of a notification: the order goes on, and a human gets to see it."""
    batch.give_up(message.template.step, message, reason, tx)
    notifications.give_up(message.order_id, message.template, reason, tx)


@external(queue=NOTIFY, message=SendNotification, key="order_id", on_dead=give_up, dependency="sms")
class SendNotificationHandler(ExternalHandler[SendNotification, SmsRequest, SmsSent]):
    """Sends one SMS for each message. One instance serves all threads."""

    def __init__(self, gateway: SmsGateway) -> None:
        self._gateway = gateway

    @classmethod
    def from_config(cls, config: Loaded) -> Self:
        settings: ShopSettings = config.section(SECTION)
        return cls(SmsGateway.from_settings(settings))

    def prepare(
        self, claims: Sequence[Claim[SendNotification]], tx: Transaction
    ) -> list[SmsRequest | Outcome]:
        """Write what is being sent; return what to send."""
        claimed = {_key(claim.message): claim for claim in claims}
        order_ids = {order_id for order_id, _ in claimed}
        journal = Journal(tx, order_ids)
        told = Notifications(order_ids, tx)
        phones = notifications.phones(order_ids, tx)
        answers = {
            key: _begin(key, phones.get(key[0]), journal, told, claim.deadline_s)
            for key, claim in claimed.items()
        }
        told.write()
        journal.write()
        return batch.once_each((_key(claim.message) for claim in claims), answers)

    def call(self, request: SmsRequest) -> SmsSent:
        return SmsSent(
            self._gateway.send(
                request.to, request.text, reference=request.reference, timeout_s=request.timeout_s
            )
        )

    def complete(
        self, finished: Sequence[Finished[SendNotification, SmsSent]], tx: Transaction
    ) -> list[Outcome]:
        """Write what became of each."""
        results = [(_key(each.claim.message), each.result) for each in finished]
        order_ids = {order_id for (order_id, _), _ in results}
        journal = Journal(tx, order_ids)
        told = Notifications(order_ids, tx)
        outcomes = [_end(key, result, journal, told) for key, result in results]
        told.write()
        journal.write()
        return outcomes


def _key(message: SendNotification) -> Key:
    return message.order_id, message.template


def _begin(
    key: Key, phone: str | None, journal: Journal, told: Notifications, timeout_s: float
) -> SmsRequest | Outcome:
    order_id, template = key
    outcome = batch.outcome_from_state(journal, order_id, template.step, EventType.NOTIFICATION_SENT)
    if outcome is not None:
        return outcome
    order = journal.orders[order_id]
    state = told.state(key)
    if template.step not in order.state.pending and state is not NotificationState.FAILED:
        return DONE  # only what was given up unsent may be sent late
    if state is NotificationState.SENT:
        # Adopted from the service's books: the database is from a backup, the customer knows.
        journal.record(order_id, EventType.NOTIFICATION_SENT, template.step, template=template)
    elif phone is None:
        if state is None:
            told.set(key, NotificationState.SKIPPED, reason="no phone number")
            journal.record(order_id, EventType.NOTIFICATION_SKIPPED, template.step, template=template)
    elif state is NotificationState.SENDING:
        # Whoever wrote that may have called and not lived to tell.
        _unknown(key, "its sender did not come back", journal, told)
    elif state in (None, NotificationState.FAILED):  # NTF2
        told.set(key, NotificationState.SENDING)
        text = render(template, order_id=order_id, amount_minor=order.total_minor, currency=order.currency)
        return SmsRequest(phone, text, f"{order_id}:{template}", timeout_s)
    return DONE


def _end(
    key: Key,
    result: SmsSent | CallFailure,
    journal: Journal,
    told: Notifications,
) -> Outcome:
    order_id, template = key
    match result:
        case SmsSent(provider_id):
            is_news = told.state(key) is not NotificationState.SENT
            told.set(key, NotificationState.SENT, provider_id=provider_id)
            if is_news:
                journal.record(
                    order_id, EventType.NOTIFICATION_SENT, template.step,
                    template=template, provider_id=provider_id,
                )  # fmt: skip
        case GatewayUnavailable():
            told.set(key, NotificationState.FAILED, reason=str(result))
            return Postpone(str(result), result.retry_after_s)
        case GatewayRefused():
            told.set(key, NotificationState.FAILED, reason=str(result))
            return Dead(str(result))
        case _:  # OutcomeUnknown
            _unknown(key, describe(result), journal, told)
    return DONE


def _unknown(key: Key, reason: str, journal: Journal, told: Notifications) -> None:
    order_id, template = key
    told.set(key, NotificationState.UNKNOWN, reason=reason)
    journal.record(
        order_id, EventType.NOTIFICATION_UNKNOWN, template.step, attention=reason, template=template
    )

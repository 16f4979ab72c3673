"""Queue ``notify``: send the customer a text, at most once for each order and template.

The service has no idempotency keys, so a text that may have been sent is never sent
again: it is recorded as unknown, and a person has to look.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from ordermq.config import Loaded
from ordermq.errors import GatewayRefused, GatewayUnavailable
from ordermq.shop import notifications
from ordermq.shop.commands import NOTIFY, SendNotification
from ordermq.shop.events import EventType
from ordermq.shop.gateways import TextGateway
from ordermq.shop.gateways.chosen import text_gateway
from ordermq.shop.handlers import batch
from ordermq.shop.journal import Journal
from ordermq.shop.notifications import Key, Notifications, NotificationState
from ordermq.shop.phone import check_region, dialable
from ordermq.shop.settings import SECTION, ShopSettings
from ordermq.shop.templates import render
from ordermq.task import (
    DONE,
    CallFailure,
    Claim,
    ExternalHandler,
    Finished,
    Outcome,
    Transaction,
    external,
)
from ordermq.task.retry import describe


@dataclass(frozen=True, slots=True)
class SmsRequest:
    """One text to send."""

    to: str = field(repr=False)
    text: str = field(repr=False)
    reference: str
    timeout_s: float


@dataclass(frozen=True, slots=True)
class NoNumber:
    """There is no number to text, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class SmsSent:
    """The service accepted the text under this id."""

    provider_id: str


def give_up(message: SendNotification, reason: str, tx: Transaction) -> None:
    """The ``on_dead`` of a notification: the order goes on, and a person has to look."""
    batch.give_up(message.template.step, message, reason, tx)
    notifications.give_up(message.order_id, message.template, reason, tx)


@external(queue=NOTIFY, message=SendNotification, key="order_id", on_dead=give_up, dependency="sms")
class SendNotificationHandler(ExternalHandler[SendNotification, SmsRequest, SmsSent]):
    """Sends one text for each message. One instance serves all threads."""

    def __init__(self, gateway: TextGateway, *, region: str = "") -> None:
        self._gateway = gateway
        self._region = region

    @classmethod
    def from_config(cls, config: Loaded) -> Self:
        settings: ShopSettings = config.section(SECTION)
        check_region(settings.phone_region)
        return cls(text_gateway(config), region=settings.phone_region)

    def prepare(
        self, claims: Sequence[Claim[SendNotification]], tx: Transaction
    ) -> list[SmsRequest | Outcome]:
        """Write which texts are about to be sent; return them."""
        claimed = {_key(claim.message): claim for claim in claims}
        order_ids = {order_id for order_id, _ in claimed}
        journal = Journal(tx, order_ids)
        notified = Notifications(order_ids, tx)
        phones = notifications.phones(order_ids, tx)
        answers = {
            key: _begin(key, self._number(phones.get(key[0])), journal, notified, claim.deadline_s)
            for key, claim in claimed.items()
        }
        notified.write()
        journal.write()
        return batch.once_each((_key(claim.message) for claim in claims), answers)

    def _number(self, phone: str | None) -> str | NoNumber:
        if phone is None:
            return NoNumber("no phone number")
        return dialable(phone, self._region) or NoNumber("the phone number cannot be used")

    def call(self, request: SmsRequest) -> SmsSent:
        """Send the text."""
        return SmsSent(
            self._gateway.send(
                request.to, request.text, reference=request.reference, timeout_s=request.timeout_s
            )
        )

    def complete(
        self, finished: Sequence[Finished[SendNotification, SmsSent]], tx: Transaction
    ) -> list[Outcome]:
        """Write the result of each text."""
        results = [(_key(each.claim.message), each.result) for each in finished]
        order_ids = {order_id for (order_id, _), _ in results}
        journal = Journal(tx, order_ids)
        notified = Notifications(order_ids, tx)
        outcomes = [_end(key, result, journal, notified) for key, result in results]
        notified.write()
        journal.write()
        return outcomes


def _key(message: SendNotification) -> Key:
    return message.order_id, message.template


def _begin(
    key: Key, phone: str | NoNumber, journal: Journal, notified: Notifications, timeout_s: float
) -> SmsRequest | Outcome:
    order_id, template = key
    outcome = batch.outcome_from_state(journal, order_id, template.step, EventType.NOTIFICATION_SENT)
    if outcome is not None:
        return outcome
    order = journal.orders[order_id]
    state = notified.state(key)
    if template.step not in order.state.pending and state is not NotificationState.FAILED:
        return DONE  # after its step only a text that was certainly not sent may be sent
    if state is NotificationState.SENT:
        # The customer has the text: it was adopted from the service's ledger after a backup, or was sent
        # before the order was reopened.
        journal.record(order_id, EventType.NOTIFICATION_SENT, template.step, template=template)
    elif state is NotificationState.SKIPPED or (isinstance(phone, NoNumber) and state is None):
        if isinstance(phone, NoNumber) and state is None:
            notified.set(key, NotificationState.SKIPPED, reason=phone.reason)
        journal.record(order_id, EventType.NOTIFICATION_SKIPPED, template.step, template=template)
    elif isinstance(phone, NoNumber):
        return DONE
    elif state is NotificationState.UNKNOWN:
        _unknown(key, "it may have been sent before the order was reopened", journal, notified)
    elif state is NotificationState.SENDING:
        # The worker that wrote this may have sent the text, and died before it wrote the result.
        _unknown(key, "its sender did not come back", journal, notified)
    elif state in (None, NotificationState.FAILED):  # NTF2
        notified.set(key, NotificationState.SENDING)
        text = render(template, order_id=order_id, amount_minor=order.total_minor, currency=order.currency)
        return SmsRequest(phone, text, f"{order_id}:{template}", timeout_s)
    return DONE


def _end(
    key: Key,
    result: SmsSent | CallFailure,
    journal: Journal,
    notified: Notifications,
) -> Outcome:
    order_id, template = key
    match result:
        case SmsSent(provider_id):
            is_news = notified.state(key) is not NotificationState.SENT
            notified.set(key, NotificationState.SENT, provider_id=provider_id)
            if is_news:
                journal.record(
                    order_id, EventType.NOTIFICATION_SENT, template.step,
                    template=template, provider_id=provider_id,
                )  # fmt: skip
        case GatewayRefused() | GatewayUnavailable():
            notified.set(key, NotificationState.FAILED, reason=str(result))
            return batch.outcome_of_failed(result)
        case _:  # OutcomeUnknown
            _unknown(key, describe(result), journal, notified)
    return DONE


def _unknown(key: Key, reason: str, journal: Journal, notified: Notifications) -> None:
    order_id, template = key
    notified.set(key, NotificationState.UNKNOWN, reason=reason)
    journal.record(
        order_id, EventType.NOTIFICATION_UNKNOWN, template.step, attention=reason, template=template
    )

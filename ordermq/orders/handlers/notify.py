"""Queue ``notify``: tell the customer by SMS, at most once an order and template.

The service has no idempotency keys, so whatever may have been sent is never sent
again: it is recorded as unknown, and a human gets to see it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ordermq.errors import GatewayRefused, GatewayUnavailable
from ordermq.orders import notifications
from ordermq.orders.commands import NOTIFY, SendNotification
from ordermq.orders.events import EventType
from ordermq.orders.gateways import SmsGateway
from ordermq.orders.handlers import batch
from ordermq.orders.journal import Journal
from ordermq.orders.notifications import NotificationState
from ordermq.orders.settings import SECTION, ShopSettings
from ordermq.orders.templates import render
from ordermq.store import Transaction
from ordermq.task import DONE, Claim, Dead, Finished, Outcome, Retry, external
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


@external(queue=NOTIFY, message=SendNotification, key="order_id", on_dead=give_up)
class SendNotificationHandler:
    """Sends one SMS for each message. One instance serves all threads."""

    def __init__(self, gateway: SmsGateway) -> None:
        self._gateway = gateway

    @classmethod
    def from_config(cls, config: Any) -> "SendNotificationHandler":
        settings: ShopSettings = config.section(SECTION)
        return cls(SmsGateway.from_settings(settings))

    def prepare(
        self, claims: Sequence[Claim[SendNotification]], tx: Transaction
    ) -> list[SmsRequest | Outcome]:
        return [self._prepare(claim, tx) for claim in claims]

    def _prepare(self, claim: Claim[SendNotification], tx: Transaction) -> SmsRequest | Outcome:
        """Write that it is being sent; return what to send."""
        order_id, template = claim.message.order_id, claim.message.template
        journal = Journal(tx, [order_id])
        outcome = batch.outcome_of(journal, order_id, template.step, EventType.NOTIFICATION_SENT)
        if outcome is not None:
            return outcome
        is_pending = template.step in journal.orders[order_id].state.pending
        if not is_pending and notifications.state(order_id, template, tx) is not NotificationState.FAILED:
            return DONE  # only what was given up unsent may be sent late
        to = notifications.recipient(order_id, tx)
        if to is None or to.phone is None:
            return self._skip(journal, claim.message, tx)
        before = notifications.begin(order_id, template, tx)
        if before is None:
            text = render(template, order_id=order_id, amount_minor=to.amount_minor, currency=to.currency)
            return SmsRequest(to.phone, text, f"{order_id}:{template}", claim.deadline_s)
        if before is NotificationState.SENDING:
            # Whoever wrote that may have called and not lived to tell.
            self._unknown(journal, claim.message, "its sender did not come back", tx)
        return DONE

    def call(self, request: SmsRequest) -> SmsSent:
        return SmsSent(
            self._gateway.send(
                request.to, request.text, reference=request.reference, timeout_s=request.timeout_s
            )
        )

    def complete(self, finished: Sequence[Finished[SendNotification]], tx: Transaction) -> list[Outcome]:
        return [self._complete(each.claim, each.result, tx) for each in finished]

    def _complete(self, claim: Claim[SendNotification], result: Any, tx: Transaction) -> Outcome:
        """Write what became of it."""
        order_id, template = claim.message.order_id, claim.message.template
        journal = Journal(tx, [order_id])
        match result:
            case SmsSent(provider_id):
                before = notifications.state(order_id, template, tx)
                notifications.save(order_id, template, NotificationState.SENT, tx, provider_id=provider_id)
                if before is not NotificationState.SENT:
                    journal.record(
                        order_id, EventType.NOTIFICATION_SENT, template.step,
                        template=template, provider_id=provider_id,
                    )  # fmt: skip
                    journal.write()
            case GatewayUnavailable():
                notifications.save(order_id, template, NotificationState.FAILED, tx, reason=str(result))
                return Retry(str(result), result.retry_after_s)
            case GatewayRefused():
                notifications.save(order_id, template, NotificationState.FAILED, tx, reason=str(result))
                return Dead(str(result))
            case _:
                self._unknown(journal, claim.message, describe(result), tx)
        return DONE

    def _skip(self, journal: Journal, message: SendNotification, tx: Transaction) -> Outcome:
        order_id, template = message.order_id, message.template
        if notifications.state(order_id, template, tx) is None:
            notifications.save(order_id, template, NotificationState.SKIPPED, tx, reason="no phone number")
            journal.record(order_id, EventType.NOTIFICATION_SKIPPED, template.step, template=template)
            journal.write()
        return DONE

    def _unknown(self, journal: Journal, message: SendNotification, reason: str, tx: Transaction) -> None:
        order_id, template = message.order_id, message.template
        notifications.save(order_id, template, NotificationState.UNKNOWN, tx, reason=reason)
        journal.record(
            order_id, EventType.NOTIFICATION_UNKNOWN, template.step, attention=reason, template=template
        )
        journal.write()

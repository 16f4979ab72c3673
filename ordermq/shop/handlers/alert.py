"""Queue ``notify``: text the operator that an order needs a person.

A text to the operator is sent at least once, unlike a customer's: a missing text does
harm, a second one does not. A thousand would. So when many orders fail together, the
first alert is sent at once, and one later text says how many others there are. Nothing
is written to the order.

Invariants
    ALR1  An alert is done without a text of its own only if it was waiting already when a text
        was made that has been sent since, because that text counted its order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from ordermq.clock import monotonic_s, utc_now
from ordermq.config import Loaded
from ordermq.errors import GatewayRefused, GatewayUnavailable
from ordermq.shop import queries
from ordermq.shop.commands import NOTIFY, AlertOperator
from ordermq.shop.gateways import TextGateway
from ordermq.shop.gateways.chosen import text_gateway
from ordermq.shop.handlers.batch import outcome_of_failed
from ordermq.shop.handlers.notify import SmsRequest
from ordermq.shop.settings import SECTION, ShopSettings
from ordermq.shop.templates import render_alert
from ordermq.task import (
    DONE,
    CallFailure,
    Claim,
    ExternalHandler,
    Finished,
    Outcome,
    Postpone,
    Retry,
    Transaction,
    external,
)
from ordermq.task.retry import describe


@dataclass(frozen=True, slots=True)
class AlertRequest:
    """A text to the operator; it counts the orders that waited at ``made_at``."""

    sms: SmsRequest
    made_at: datetime


@dataclass(frozen=True, slots=True)
class AlertSent:
    """The service accepted the text that was made at ``made_at``."""

    made_at: datetime


@external(queue=NOTIFY, message=AlertOperator, key="order_id", dependency="sms")
class AlertOperatorHandler(ExternalHandler[AlertOperator, AlertRequest, AlertSent]):
    """Sends texts to ``shop.alert_phone``; without one there is nothing to do.

    Owned by the thread that prepares calls.
    """

    def __init__(self, gateway: TextGateway, phone: str, *, every_s: float) -> None:
        self._gateway = gateway
        self._phone = phone
        self._every_s = every_s
        self._next_s = 0.0  # monotonic: the earliest time of the next text
        self._covered_until: datetime | None = None  # when the newest of the texts that were sent was made

    @classmethod
    def from_config(cls, config: Loaded) -> Self:
        settings: ShopSettings = config.section(SECTION)
        return cls(text_gateway(config), settings.alert_phone, every_s=settings.alert_every_s)

    def prepare(
        self, claims: Sequence[Claim[AlertOperator]], tx: Transaction
    ) -> list[AlertRequest | Outcome]:
        """Send one text for all alerts that wait; until it is due they wait."""
        if not self._phone:
            return [DONE for _ in claims]  # without a phone an alert is a log line only
        answers: list[AlertRequest | Outcome] = []
        for claim in claims:
            now_s = monotonic_s()
            if self._is_covered(claim):
                answers.append(DONE)
            elif now_s < self._next_s:
                answers.append(Postpone("waits for the next text", self._next_s - now_s))
            else:
                self._next_s = now_s + self._every_s
                answers.append(self._request(claim, tx))
        return answers

    def call(self, request: AlertRequest) -> AlertSent:
        """Send the text."""
        sms = request.sms
        self._gateway.send(sms.to, sms.text, reference=sms.reference, timeout_s=sms.timeout_s)
        return AlertSent(request.made_at)

    def complete(
        self, finished: Sequence[Finished[AlertOperator, AlertSent]], tx: Transaction
    ) -> list[Outcome]:
        """Remember which alerts the texts that were sent have covered (ALR1)."""
        for each in finished:
            if isinstance(each.result, AlertSent):
                made_at = each.result.made_at
                self._covered_until = max(self._covered_until or made_at, made_at)
        return [_outcome(each.result) for each in finished]

    def _is_covered(self, claim: Claim[AlertOperator]) -> bool:
        waits_since = claim.envelope.first_failed_at
        if waits_since is None or self._covered_until is None:
            return False
        return waits_since < self._covered_until

    def _request(self, claim: Claim[AlertOperator], tx: Transaction) -> AlertRequest:
        alert, made_at = claim.message, utc_now()  # before the count, which then holds all that wait now
        others = max(queries.count_attention(tx) - 1, 0)
        text = render_alert(order_id=alert.order_id, event=alert.event, others=others)
        reference = f"alert:{alert.order_id}:{alert.version}"
        return AlertRequest(SmsRequest(self._phone, text, reference, claim.deadline_s), made_at)


def _outcome(result: AlertSent | CallFailure) -> Outcome:
    match result:
        case AlertSent():
            return DONE
        case GatewayRefused() | GatewayUnavailable():
            return outcome_of_failed(result)
        case _:  # OutcomeUnknown
            return Retry(describe(result))  # perhaps sent; twice is better than never

"""Queue ``notify``: text the operator that an order needs a person.

At least once, unlike what customers are told: a second text does no harm, a missing
one does. But a thousand do: when many orders fail together, the first is told at once,
and one text later how many there are. Writes nothing of the order.

Invariants
    ALR1  An alert is done without a text of its own only if it waited already when a text was
        made that has been sent since: that text counted its order.
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
from ordermq.shop.gateways import SmsGateway
from ordermq.shop.handlers.notify import SmsRequest
from ordermq.shop.settings import SECTION, ShopSettings
from ordermq.shop.templates import render_alert
from ordermq.task import (
    DONE,
    CallFailure,
    Claim,
    Dead,
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
    """A text to the operator; ``made_at``: it tells of what was known then."""

    sms: SmsRequest
    made_at: datetime


@dataclass(frozen=True, slots=True)
class AlertSent:
    """The service took the text that was made then."""

    made_at: datetime


@external(queue=NOTIFY, message=AlertOperator, key="order_id", dependency="sms")
class AlertOperatorHandler(ExternalHandler[AlertOperator, AlertRequest, AlertSent]):
    """Sends texts to ``shop.alert_phone``; without one there is nothing to do.

    Owned by the thread that prepares calls.
    """

    def __init__(self, gateway: SmsGateway, phone: str, *, every_s: float) -> None:
        self._gateway = gateway
        self._phone = phone
        self._every_s = every_s
        self._next_s = 0.0  # monotonic
        self._told_at: datetime | None = None  # when the newest text that was sent was made

    @classmethod
    def from_config(cls, config: Loaded) -> Self:
        settings: ShopSettings = config.section(SECTION)
        return cls(SmsGateway.from_settings(settings), settings.alert_phone, every_s=settings.alert_every_s)

    def prepare(
        self, claims: Sequence[Claim[AlertOperator]], tx: Transaction
    ) -> list[AlertRequest | Outcome]:
        """Let one tell of all; until its time has come they wait."""
        if not self._phone:
            return [DONE for _ in claims]  # the log line is all that was asked for
        answers: list[AlertRequest | Outcome] = []
        for claim in claims:
            now_s = monotonic_s()
            if self._is_told(claim):
                answers.append(DONE)
            elif now_s < self._next_s:
                answers.append(Postpone("told with those to come", self._next_s - now_s))
            else:
                self._next_s = now_s + self._every_s
                answers.append(self._request(claim, tx))
        return answers

    def call(self, request: AlertRequest) -> AlertSent:
        sms = request.sms
        self._gateway.send(sms.to, sms.text, reference=sms.reference, timeout_s=sms.timeout_s)
        return AlertSent(request.made_at)

    def complete(
        self, finished: Sequence[Finished[AlertOperator, AlertSent]], tx: Transaction
    ) -> list[Outcome]:
        for each in finished:
            if isinstance(each.result, AlertSent):
                self._told_at = max(self._told_at or each.result.made_at, each.result.made_at)
        return [_outcome(each.result) for each in finished]

    def _is_told(self, claim: Claim[AlertOperator]) -> bool:
        waits_since = claim.envelope.first_failed_at
        return waits_since is not None and self._told_at is not None and waits_since < self._told_at

    def _request(self, claim: Claim[AlertOperator], tx: Transaction) -> AlertRequest:
        alert, made_at = claim.message, utc_now()  # before counting: what waits by now is counted
        others = max(queries.count_attention(tx) - 1, 0)
        text = render_alert(order_id=alert.order_id, event=alert.event, others=others)
        reference = f"alert:{alert.order_id}:{alert.version}"
        return AlertRequest(SmsRequest(self._phone, text, reference, claim.deadline_s), made_at)


def _outcome(result: AlertSent | CallFailure) -> Outcome:
    match result:
        case AlertSent():
            return DONE
        case GatewayRefused():
            return Dead(str(result))
        case GatewayUnavailable():
            return Postpone(str(result), result.retry_after_s)
        case _:  # OutcomeUnknown
            return Retry(describe(result))  # perhaps sent: rather twice than never

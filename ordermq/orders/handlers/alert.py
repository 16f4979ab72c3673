"""Queue ``notify``: text the operator that an order needs a person.

At least once, unlike what customers are told: a second text does no harm, a missing
one does. But a thousand do: when many orders fail together, one text tells of all that
have come since the last. Reads and writes nothing of the order.
"""

from collections.abc import Sequence
from typing import Any

from ordermq.clock import monotonic_s
from ordermq.errors import GatewayRefused, GatewayUnavailable
from ordermq.orders.commands import NOTIFY, AlertOperator
from ordermq.orders.gateways import SmsGateway
from ordermq.orders.handlers.notify import SmsRequest, SmsSent
from ordermq.orders.settings import SECTION, ShopSettings
from ordermq.orders.templates import render_alert
from ordermq.store import Transaction
from ordermq.task import DONE, Claim, Dead, Finished, Outcome, Postpone, Retry, external
from ordermq.task.retry import describe


@external(queue=NOTIFY, message=AlertOperator, key="order_id", dependency="sms")
class AlertOperatorHandler:
    """Sends one SMS for each alert to ``shop.alert_phone``; without one there is nothing to do."""

    def __init__(self, gateway: SmsGateway, phone: str, *, every_s: float) -> None:
        self._gateway = gateway
        self._phone = phone
        self._every_s = every_s
        self._next_s = 0.0  # monotonic; the desk's thread alone prepares

    @classmethod
    def from_config(cls, config: Any) -> "AlertOperatorHandler":
        settings: ShopSettings = config.section(SECTION)
        return cls(SmsGateway.from_settings(settings), settings.alert_phone, every_s=settings.alert_every_s)

    def prepare(self, claims: Sequence[Claim[AlertOperator]], tx: Transaction) -> list[SmsRequest | Outcome]:
        """Let the first tell of all; until its time has come they wait together."""
        if not self._phone:
            return [DONE for _ in claims]  # the log line is all that was asked for
        now_s = monotonic_s()
        if now_s < self._next_s:
            return [Postpone("told with those to come", self._next_s - now_s) for _ in claims]
        self._next_s = now_s + self._every_s
        first, *others = claims
        return [self._request(first, len(others)), *(DONE for _ in others)]

    def call(self, request: SmsRequest) -> SmsSent:
        return SmsSent(
            self._gateway.send(
                request.to, request.text, reference=request.reference, timeout_s=request.timeout_s
            )
        )

    def complete(self, finished: Sequence[Finished[AlertOperator]], tx: Transaction) -> list[Outcome]:
        return [_outcome(each.result) for each in finished]

    def _request(self, claim: Claim[AlertOperator], others: int) -> SmsRequest:
        alert = claim.message
        text = render_alert(order_id=alert.order_id, event=alert.event, others=others)
        return SmsRequest(self._phone, text, f"alert:{alert.order_id}:{alert.version}", claim.deadline_s)


def _outcome(result: Any) -> Outcome:
    match result:
        case SmsSent():
            return DONE
        case GatewayRefused():
            return Dead(str(result))
        case GatewayUnavailable():
            return Postpone(str(result), result.retry_after_s)
        case _:
            return Retry(describe(result))  # perhaps sent: rather twice than never

"""What capturing and refunding have in common.

A payment service that cannot be reached, or whose answer does not arrive, costs no
attempt: it is asked again, less and less often, until the result is known. A step is
given up only when the service refuses it for good.
"""

from dataclasses import replace
from typing import Generic, Self, TypeVar

from ordermq.clock import utc_now
from ordermq.config import Loaded
from ordermq.errors import ConfigError, GatewayRefused, GatewayUnavailable
from ordermq.shop.commands import CapturePayment, RefundPayment
from ordermq.shop.gateways import PaymentGateway, Pending
from ordermq.shop.gateways.chosen import payment_gateway
from ordermq.shop.handlers.batch import KEPT_IF_ARCHIVED, outcome_of_failed
from ordermq.shop.payments import FOREVER_S
from ordermq.shop.settings import SECTION, ShopSettings
from ordermq.task import CallFailure, Dead, ExternalHandler, Finished, Outcome, Postpone
from ordermq.task.retry import describe

DEPENDENCY = "payment"

UNTIL_KNOWN = replace(KEPT_IF_ARCHIVED, max_age_s=30 * 86_400.0)

_DECIDING = frozenset({"pending", "processing"})  # it may take days and needs nobody

P = TypeVar("P", CapturePayment, RefundPayment)
Request = TypeVar("Request")
Result = TypeVar("Result")


def undecided(result: Pending | CallFailure) -> Dead | Postpone:
    """Return the outcome of a call that did not move the money: never again if it was refused, else later."""
    match result:
        case Pending(status):
            return Postpone(f"the payment service has not decided yet: {status}")
        case GatewayRefused() | GatewayUnavailable():
            return outcome_of_failed(result)
        case _:  # OutcomeUnknown
            return Postpone(describe(result))


def _usable_s(settings: ShopSettings) -> float:
    """Return how long after its first use a key may be used, so that the call arrives while it lives."""
    if not settings.payment_key_life_s:
        return FOREVER_S
    usable_s = settings.payment_key_life_s - settings.capture_settles_s
    if usable_s <= 0:
        raise ConfigError(
            f"shop.payment_key_life_s is {settings.payment_key_life_s:g} s: it must be longer than"
            f" shop.capture_settles_s, {settings.capture_settles_s:g} s, or no call could be repeated"
        )
    return usable_s


class PaymentHandler(ExternalHandler[P, Request, Result], Generic[P, Request, Result]):
    """An external handler of the payment service. One instance serves all threads.

    If the service has refused or not decided for ``asks_after_s``, the message is dead and a person is asked.
    """

    asks_after_s = FOREVER_S

    def __init__(
        self,
        gateway: PaymentGateway,
        *,
        settles_s: float,
        shop: str = "shop",
        key_life_s: float = FOREVER_S,
    ) -> None:
        """``shop`` is a part of new idempotency keys, which the service knows for ``key_life_s`` seconds."""
        self._gateway = gateway
        self._shop = shop
        self._settles_s = settles_s
        self._key_life_s = key_life_s

    @classmethod
    def from_config(cls, config: Loaded) -> Self:
        settings: ShopSettings = config.section(SECTION)
        gateway = payment_gateway(config)
        settles_s = settings.capture_settles_s
        return cls(gateway, settles_s=settles_s, shop=settings.name, key_life_s=_usable_s(settings))

    def _give_up(self, finished: Finished[P, Result], outcome: Outcome) -> Outcome:
        result, since = finished.result, finished.claim.envelope.first_failed_at
        if not isinstance(result, Pending) or not isinstance(outcome, Postpone) or since is None:
            return outcome
        has_waited = (utc_now() - since).total_seconds() > self.asks_after_s
        return Dead(outcome.reason) if has_waited and result.status not in _DECIDING else outcome

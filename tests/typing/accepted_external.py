"""An external handler, its configuration and its test."""

from collections.abc import Sequence
from typing import Self

from ordermq import (
    DONE,
    CallFailure,
    Claim,
    Dead,
    ExternalHandler,
    Finished,
    GatewayRefused,
    GatewayUnavailable,
    Outcome,
    Postpone,
    Retry,
    RetryOptions,
    Transaction,
    external,
    run_handler,
)
from ordermq.config import Loaded
from ordermq.store import Session
from tests.typing.accepted_plain import many, single
from tests.typing.gifts import WrapGift


@external(queue="wrapping", message=WrapGift, key="order_id", retry=RetryOptions(retryable=(TimeoutError,)))
class Wrap(ExternalHandler[WrapGift, str, int]):
    def __init__(self, url: str) -> None:
        self.url = url

    @classmethod
    def from_config(cls, config: Loaded) -> Self:
        return cls(config.settings.topology.prefix)

    def prepare(self, claims: Sequence[Claim[WrapGift]], tx: Transaction) -> list[str | Outcome]:
        return [each.message.order_id if each.message.ribbon else DONE for each in claims]

    def call(self, request: str) -> int:
        return len(request)

    def complete(self, finished: Sequence[Finished[WrapGift, int]], tx: Transaction) -> list[Outcome]:
        return [outcome(each.result) for each in finished]


def outcome(result: int | CallFailure) -> Outcome:
    match result:
        case int():
            return DONE
        case GatewayRefused():
            return Dead(str(result))
        case GatewayUnavailable():
            return Postpone(str(result), result.retry_after_s)
        case _:
            return Retry(str(result))


def test_them(session: Session) -> None:
    message = WrapGift(order_id="A-1")
    assert run_handler(single, message, session=session).outcomes == [DONE]
    assert run_handler(many, message, message, session=session).sent == []
    assert run_handler(Wrap("http://x"), message, session=session).results == [3]
    Wrap.command(message, correlation_id="A-1")

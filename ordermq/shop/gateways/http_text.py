"""The text service over HTTP, which has no idempotency keys: what may have been sent is never sent again."""

from collections.abc import Iterator
from typing import Self

from ordermq.config import Loaded
from ordermq.errors import GatewayRefused, GatewayUnavailable, OutcomeUnknown
from ordermq.shop.gateways.http import JsonClient
from ordermq.shop.gateways.text import TextGateway
from ordermq.shop.settings import SECTION, ShopSettings

_PAGE = 1000


class HttpTextGateway(TextGateway):
    """The service at ``shop.sms_url``, as the sandbox speaks it."""

    def __init__(self, client: JsonClient) -> None:
        self._client = client

    @classmethod
    def from_config(cls, config: Loaded) -> Self:
        return cls.from_settings(config.section(SECTION))

    @classmethod
    def from_settings(cls, settings: ShopSettings) -> Self:
        """Return the gateway at ``shop.sms_url``; connects at the first call."""
        return cls(
            JsonClient(
                settings.sms_url,
                connect_timeout_s=settings.gateway_connect_timeout_s,
                timeout_s=settings.gateway_timeout_s,
            )
        )

    def send(self, to: str, text: str, *, reference: str, timeout_s: float | None = None) -> str:
        answer = self._client.post(
            "/v1/messages", {"to": to, "text": text, "reference": reference}, timeout_s=timeout_s
        )
        if answer.status in (200, 201, 202):
            message_id = answer.body().get("message_id")
            return message_id[:200] if isinstance(message_id, str) else ""
        if answer.status in (429, 503):
            raise GatewayUnavailable(f"the SMS service answered {answer.status}", answer.retry_after_s)
        if 400 <= answer.status < 500:
            raise GatewayRefused(f"the SMS service refused it with {answer.status}")
        raise OutcomeUnknown(f"the SMS service answered {answer.status}")

    def sent(self) -> Iterator[list[str]]:
        after = 0
        while True:
            answer = self._client.get(f"/v1/ledger?after={after}&limit={_PAGE}")
            if answer.status != 200:
                raise OutcomeUnknown(f"reading the ledger: the SMS service answered {answer.status}")
            messages = answer.lines()
            if not messages:
                return
            yield [str(each.get("reference", "")) for each in messages]
            after = int(messages[-1]["n"])

"""Read a virtual host's topology through RabbitMQ's management API.

AMQP has no way to list: bindings, and the arguments of queues and exchanges, can only be
read here. The user needs the ``management`` tag.
"""

import base64
import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import quote, urlsplit

from ordermq.config.address import is_loopback
from ordermq.config.settings import BrokerSettings
from ordermq.errors import AccessRefused, BrokerError, ConfigError, Unreachable
from ordermq.topology import BindingSpec, ExchangeSpec, QueueSpec, Topology


def read_topology(settings: BrokerSettings, url: str, *, timeout_s: float = 10.0) -> Topology:
    """Return everything durable that exists in the settings' virtual host.

    ``url`` is the API's root, such as ``http://127.0.0.1:15672``. Three requests, each
    at most ``timeout_s``. Raises Unreachable, AccessRefused, BrokerError, and
    ConfigError if the password would cross the network unencrypted.
    """
    api = _Api(settings, url, timeout_s)
    return Topology(
        exchanges=tuple(
            ExchangeSpec(each["name"], each["type"], each["arguments"])
            for each in api.list("exchanges")
            if each["durable"] and each["name"]
        ),
        queues=tuple(
            QueueSpec(each["name"], each["arguments"]) for each in api.list("queues") if each["durable"]
        ),
        bindings=tuple(
            BindingSpec(each["source"], each["destination"], each["routing_key"], each["arguments"])
            for each in api.list("bindings")
            if each["source"] and each["destination_type"] == "queue"
        ),
    )


class _Api:
    def __init__(self, settings: BrokerSettings, url: str, timeout_s: float) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise ConfigError("topology.management_url is not http(s)://host:port, without user and password")
        if parts.scheme == "http" and not (settings.allow_plaintext or is_loopback(parts.hostname)):
            raise ConfigError(
                f"topology.management_url is http and {parts.hostname} is another machine: the password would"
                " cross the network unencrypted; use https, or set broker.allow_plaintext to accept that"
            )
        login = f"{settings.username}:{settings.password.reveal()}".encode()
        self._authorization = "Basic " + base64.b64encode(login).decode()
        self._root = url.rstrip("/")
        self._vhost = quote(settings.vhost, safe="")
        self._timeout_s = timeout_s

    def list(self, what: str) -> Any:
        request = urllib.request.Request(  # noqa: S310 - the scheme was checked above
            f"{self._root}/api/{what}/{self._vhost}", headers={"Authorization": self._authorization}
        )
        try:
            with urllib.request.urlopen(request, timeout=self._timeout_s) as response:  # noqa: S310 - as above
                return json.load(response)
        except urllib.error.HTTPError as exc:
            exc.close()
            if exc.code in (401, 403):
                raise AccessRefused(
                    f"{self._root} refused to list {what} ({exc.code}): the user needs the management tag"
                ) from exc
            raise BrokerError(f"{self._root} answered {exc.code} when asked for {what}") from exc
        except (OSError, ValueError) as exc:
            raise Unreachable(f"{self._root} cannot be asked for {what}: {exc}") from exc

"""Read a virtual host's topology and policies through RabbitMQ's management API.

AMQP has no way to list: bindings, policies, and the arguments of queues and exchanges, can
only be read here. The user needs the ``management`` tag.

The password goes to the host of the setting and nowhere else: no proxy of the environment
is asked, and no redirect is followed.
"""

import base64
import http.client
import json
import ssl
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import SplitResult, quote, urlsplit

from ordermq.clock import Deadline
from ordermq.config.address import is_loopback
from ordermq.config.settings import BrokerSettings
from ordermq.config.tls import broker_files, client_context, why_untrusted
from ordermq.errors import AccessRefused, BrokerError, ConfigError, TlsRefused, Unreachable
from ordermq.topology import BindingSpec, ExchangeSpec, Policy, QueueSpec, Topology

# RabbitMQ answers 500 for a moment after its start, until the tables of the API are there.
_STARTING_S = 2.0
_ASK_AGAIN_S = 0.05


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


def read_policies(settings: BrokerSettings, url: str, *, timeout_s: float = 10.0) -> list[Policy]:
    """Return the policies and operator policies of the settings' virtual host. Raises as ``read_topology``.

    The list of queues names its policies too, but up to ten seconds late.
    """
    api = _Api(settings, url, timeout_s)
    return [
        Policy(
            each["name"],
            each["pattern"],
            each["apply-to"],
            each["priority"],
            each["definition"],
            is_operator=what == "operator-policies",
        )
        for what in ("policies", "operator-policies")
        for each in api.list(what)
    ]


class QueueNumbers(NamedTuple):
    """What the management API says of a queue, up to five seconds late; rates are messages a second."""

    ready: int
    unacked: int
    consumers: int
    rate_in: float
    rate_out: float


def read_queues(settings: BrokerSettings, url: str, *, timeout_s: float = 10.0) -> dict[str, QueueNumbers]:
    """Return the numbers of each queue of the virtual host, by its full name. Raises as ``read_topology``."""
    return {
        each["name"]: QueueNumbers(
            each.get("messages_ready", 0),
            each.get("messages_unacknowledged", 0),
            each.get("consumers", 0),
            _rate(each, "publish_details"),
            _rate(each, "ack_details"),
        )
        for each in _Api(settings, url, timeout_s).list("queues")
    }


def read_replicas(
    settings: BrokerSettings, url: str, *, timeout_s: float = 10.0
) -> dict[str, tuple[int, int]]:
    """Return of each quorum queue how many replicas it has and how many are online. Raises as above."""
    return {
        each["name"]: (len(each["members"]), len(each.get("online", ())))
        for each in _Api(settings, url, timeout_s).list("queues")
        if each.get("members")
    }


def read_deprecated(settings: BrokerSettings, url: str, *, timeout_s: float = 10.0) -> list[str] | None:
    """Return the features in use that a later release will not have; None where the broker does not say."""
    found = _Api(settings, url, timeout_s).get_if_allowed("deprecated-features/used")
    return None if found is None else [each["name"] for each in found]


def read_nodes(settings: BrokerSettings, url: str, *, timeout_s: float = 10.0) -> list[dict[str, Any]]:
    """Return what the management API says of each node of the cluster. Raises as ``read_topology``."""
    nodes: list[dict[str, Any]] = _Api(settings, url, timeout_s).get("nodes")
    return nodes


class BrokerFacts(NamedTuple):
    """What the management API says of the broker as a whole; None where it does not say.

    ``flags`` are the feature flags that are not enabled, ``deprecated`` the features in use that a later
    release will not have, ``permissions`` the user's: configure, write, read. ``clock`` is the broker's,
    in whole seconds.
    """

    version: str
    flags: list[str] | None
    deprecated: list[str] | None
    permissions: dict[str, str] | None
    nodes: list[dict[str, Any]] | None
    clock: datetime | None


def read_facts(settings: BrokerSettings, url: str, *, timeout_s: float = 5.0) -> BrokerFacts:
    """Ask the management API. What the user may not ask is None.

    Raises Unreachable, AccessRefused or BrokerError if it cannot be asked at all.
    """
    api = _Api(settings, url, timeout_s)
    overview = api.get("overview")
    flags = api.get_if_allowed("feature-flags")
    deprecated = api.get_if_allowed("deprecated-features/used")
    where = f"/{quote(settings.vhost, safe='')}/{quote(settings.username, safe='')}"
    return BrokerFacts(
        version=overview.get("rabbitmq_version", ""),
        flags=None
        if flags is None
        else [
            each["name"]
            for each in flags
            if each.get("state") != "enabled" and each.get("stability") in ("stable", "required")
        ],
        deprecated=None if deprecated is None else [each["name"] for each in deprecated],
        permissions=api.get_if_allowed("permissions", where),
        nodes=api.get_if_allowed("nodes"),
        clock=api.clock,
    )


def alarms_of(nodes: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return a text for each resource alarm, and for each node that does not run or is cut off."""
    found = []
    for node in nodes:
        name = node.get("name", "?")
        if not node.get("running", True):
            found.append(f"{name} does not run")
        if node.get("mem_alarm"):
            found.append(f"{name} is out of memory: it takes no messages")
        if node.get("disk_free_alarm"):
            found.append(f"{name} is out of disk space: it takes no messages")
        if node.get("partitions"):
            found.append(f"{name} is cut off from {', '.join(node['partitions'])}")
    return found


def _rate(queue: Mapping[str, Any], name: str) -> float:
    return float(queue.get("message_stats", {}).get(name, {}).get("rate", 0.0))


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
        self._files = broker_files(settings)
        self._connection: Callable[..., http.client.HTTPConnection] = http.client.HTTPConnection
        if parts.scheme == "https":
            context = client_context(self._files)
            self._connection = partial(http.client.HTTPSConnection, context=context)
        self._host, self._port = parts.hostname, _port(parts)
        self._root = url.rstrip("/")
        self._path = parts.path.rstrip("/")
        self._vhost = quote(settings.vhost, safe="")
        self._timeout_s = timeout_s
        self.clock: datetime | None = None  # of the last answer

    def list(self, what: str) -> Any:
        """Return what there is of ``what`` in the virtual host."""
        return self.get(what, f"/{self._vhost}")

    def get_if_allowed(self, what: str, where: str = "") -> Any:
        """Return the answer; None if the user may not ask, or this release of the broker does not know it."""
        try:
            return self.get(what, where)
        except AccessRefused:
            return None
        except BrokerError as exc:
            if isinstance(exc, Unreachable):
                raise
            return None

    def get(self, what: str, where: str = "") -> Any:
        """Return the answer to GET /api/``what````where``. Raises as ``read_topology``."""
        status, answer = self._ask(what, where)
        starting = Deadline(_STARTING_S)
        while status >= 500 and not starting.has_passed:
            threading.Event().wait(_ASK_AGAIN_S)
            status, answer = self._ask(what, where)
        if status == 200:
            return answer
        if status in (401, 403):
            raise AccessRefused(
                f"{self._root} refused to list {what} ({status}): the user needs the management tag"
            )
        redirected = ", a redirect, which is not followed" if 300 <= status < 400 else ""
        raise BrokerError(f"{self._root} answered {status}{redirected} when asked for {what}")

    def _ask(self, what: str, where: str) -> tuple[int, Any]:
        """Return the status of one answer, and its JSON if that is 200."""
        headers = {"Authorization": self._authorization}
        try:
            with closing(self._connection(self._host, self._port, timeout=self._timeout_s)) as connection:
                connection.request("GET", f"{self._path}/api/{what}{where}", headers=headers)
                answer = connection.getresponse()
                self.clock = _instant(answer.getheader("Date"))
                return answer.status, json.load(answer) if answer.status == 200 else None
        except ssl.SSLCertVerificationError as exc:
            why = why_untrusted(exc, self._files)
            raise TlsRefused(f"the certificate of {self._root} is not trusted: {why}") from exc
        except (OSError, http.client.HTTPException, ValueError) as exc:
            raise Unreachable(f"{self._root} cannot be asked for {what}: {exc}") from exc


def _instant(date: str | None) -> datetime | None:
    try:
        return parsedate_to_datetime(date) if date else None
    except ValueError:
        return None


def _port(parts: SplitResult) -> int | None:
    try:
        return parts.port
    except ValueError as exc:
        raise ConfigError(f"topology.management_url: {exc}") from exc

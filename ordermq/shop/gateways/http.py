"""JSON over HTTP to one service. It tells "not sent" from "outcome unknown".

Connections are kept alive and used again; there are never more of them than threads
that call at the same time. One deadline covers the whole request, also against a
service that sends its answer a byte at a time.

Invariants
    HTP1  GatewayUnavailable means that the request had no effect, because no connection
        came up.
    HTP2  Once a byte may have been sent, every failure is OutcomeUnknown.
    HTP3  A request is sent a second time only if it is idempotent, and only if a
        kept-alive connection turned out to be closed.
    HTP4  Errors and logs name the method, the path and the status; never a body, a
        header or a query.
"""

import http.client
import io
import json
import select
import socket
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from urllib.parse import urlencode, urlsplit

from ordermq.clock import Deadline
from ordermq.errors import GatewayUnavailable, OutcomeUnknown
from ordermq.observe import tracing
from ordermq.shop.gateways.bounded import BoundedReader, left_s

MAX_ANSWER_BYTES = 4 * 1024 * 1024
_MAX_RETRY_AFTER_S = 3600.0


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the service. ``raw`` may hold personal data: never log it."""

    status: int
    raw: bytes = field(repr=False)
    retry_after_s: float | None

    def body(self) -> Mapping[str, Any]:
        """Return the answer's JSON object; an empty one if the answer is anything else."""
        return _json_object(self.raw)

    def lines(self) -> list[Mapping[str, Any]]:
        """Return the answer's JSON objects, one for each line."""
        return [_json_object(line) for line in self.raw.splitlines()]


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    path: str
    payload: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    is_idempotent: bool = False

    def __str__(self) -> str:
        return f"{self.method} {self.path.partition('?')[0]}"


class JsonClient:
    """A service at a base URL. Safe for many threads; its connections are closed with this object.

    Each call blocks for ``timeout_s`` seconds at most. A shorter limit can be given with the
    call, a longer one cannot. ``headers`` returns what each request carries in addition, such as
    a login that may change.
    """

    def __init__(
        self,
        base_url: str,
        *,
        connect_timeout_s: float,
        timeout_s: float,
        headers: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        url = urlsplit(base_url)
        self._kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        self._host, self._port = url.hostname or "", url.port
        self._prefix = url.path.rstrip("/")
        self._scheme, self._where = url.scheme, url.netloc.rpartition("@")[2]
        self._connect_timeout_s = connect_timeout_s
        self._timeout_s = timeout_s
        self._headers = headers
        self._idle: deque[http.client.HTTPConnection] = deque()  # the connection used last is taken first
        weakref.finalize(self, _close_all, self._idle)

    def get(self, path: str, *, timeout_s: float | None = None) -> Answer:
        """Send an idempotent request. Raises GatewayUnavailable or OutcomeUnknown."""
        return self._send(_Request("GET", path, is_idempotent=True), timeout_s)

    def post(
        self,
        path: str,
        body: Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
        timeout_s: float | None = None,
    ) -> Answer:
        """Send ``body`` as JSON. With an idempotency key a repeated request has one effect.

        Raises GatewayUnavailable (no effect, HTP1) or OutcomeUnknown.
        """
        return self._post(path, "application/json", json.dumps(body).encode(), idempotency_key, timeout_s)

    def post_form(
        self,
        path: str,
        form: Mapping[str, object],
        *,
        idempotency_key: str | None = None,
        timeout_s: float | None = None,
    ) -> Answer:
        """Send ``form`` as a form; the rest is as with ``post``."""
        payload = urlencode({name: str(value) for name, value in form.items()}).encode()
        return self._post(path, "application/x-www-form-urlencoded", payload, idempotency_key, timeout_s)

    def _post(
        self, path: str, content_type: str, payload: bytes, key: str | None, timeout_s: float | None
    ) -> Answer:
        headers = {"Content-Type": content_type}
        if key is not None:
            headers["Idempotency-Key"] = key
        return self._send(_Request("POST", path, payload, headers, key is not None), timeout_s)

    def _send(self, request: _Request, timeout_s: float | None) -> Answer:
        if (tracer := tracing.tracer()) is None:
            return self._sent(request, timeout_s)
        path = self._prefix + request.path.partition("?")[0]
        with tracer.requesting(request.method, f"{self._scheme}://{self._where}{path}") as span:
            headers = {**request.headers, "traceparent": span.traceparent}
            answer = self._sent(replace(request, headers=headers), timeout_s)
            span.answered(answer.status)
            return answer

    def _sent(self, request: _Request, timeout_s: float | None) -> Answer:
        limit_s = self._timeout_s if timeout_s is None else min(timeout_s, self._timeout_s)
        deadline = Deadline(limit_s)
        while True:
            connection = self._idle_connection()
            is_reused = connection is not None
            if connection is None:
                connection = self._new_connection(request, deadline)
            try:
                answer = self._exchange(connection, request, deadline)
            except (OSError, http.client.HTTPException, ValueError) as exc:
                connection.close()
                if is_reused and request.is_idempotent and isinstance(exc, ConnectionError):
                    continue  # HTP3; ends, because each turn takes one of the idle connections
                raise OutcomeUnknown(f"{request}: no usable answer in {limit_s:g} s: {_name(exc)}") from exc
            if connection.sock is not None:
                self._idle.append(connection)
            return answer

    def _idle_connection(self) -> http.client.HTTPConnection | None:
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None  # another thread took the last one
            if not _is_readable(connection.sock):
                return connection
            connection.close()
        return None

    def _new_connection(self, request: _Request, deadline: Deadline) -> http.client.HTTPConnection:
        connection = self._kind(self._host, self._port)
        try:
            connection.timeout = min(self._connect_timeout_s, left_s(deadline))
            connection.connect()
        except OSError as exc:
            connection.close()
            where = f"{self._host}:{connection.port}"
            raise GatewayUnavailable(f"{request}: cannot connect to {where}: {_name(exc)}") from exc
        return connection

    def _exchange(
        self, connection: http.client.HTTPConnection, request: _Request, deadline: Deadline
    ) -> Answer:
        connection.sock.settimeout(left_s(deadline))
        connection.response_class = partial(_BoundedResponse, deadline=deadline)  # type: ignore[assignment] # called like the class
        headers = {"Accept": "application/json", **self._headers(), **request.headers}
        connection.request(request.method, self._prefix + request.path, request.payload, headers)
        with connection.getresponse() as response:
            raw = response.read(MAX_ANSWER_BYTES + 1)
            if len(raw) > MAX_ANSWER_BYTES:
                raise ValueError("the answer is too large")
            if response.length:  # read(n) does not report bytes that are missing
                raise http.client.IncompleteRead(raw, response.length)
            return Answer(response.status, raw, _retry_after_s(response.headers.get("Retry-After")))


class _BoundedResponse(http.client.HTTPResponse):
    """An answer that is read within the deadline of the whole request; http.client times each read alone."""

    def __init__(self, sock: socket.socket, *args: Any, deadline: Deadline, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(BoundedReader(sock, self.fp.detach(), deadline))


def _close_all(connections: deque[http.client.HTTPConnection]) -> None:
    for connection in connections:
        connection.close()


def _is_readable(sock: socket.socket) -> bool:
    # A service sends nothing between two requests, so a readable connection is one that it has closed.
    poller = select.poll()
    poller.register(sock, select.POLLIN)
    return bool(poller.poll(0))


def _json_object(raw: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _retry_after_s(text: str | None) -> float | None:
    # Only seconds are read: an HTTP date is of use only if both clocks agree.
    if text is None or not text.strip().isdecimal():
        return None
    return min(float(text), _MAX_RETRY_AFTER_S)


def _name(error: BaseException) -> str:
    # The text of an OSError is safe to log. An HTTPException may quote what was received (HTP4).
    return error.strerror or type(error).__name__ if isinstance(error, OSError) else type(error).__name__

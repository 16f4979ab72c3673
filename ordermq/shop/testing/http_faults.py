"""A service over HTTP that fails on purpose: a reverse proxy in front of one that does not.

with HttpFaults(sandbox.payment_url) as faults:
    gateway = MyGateway(faults.url)
    faults.fail_next(ServiceFault.MUTE)
"""

import http.client
import select
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

from ordermq.testing import FaultProxy

_HOLD_S = 30.0
_PASSED_ON = ("Content-Type", "Retry-After")
_NOT_PASSED_ON = ("connection", "content-length", "host", "transfer-encoding")


class ServiceFault(Enum):
    """What goes wrong with the next request that changes something."""

    BUSY = "503, nothing done"
    LOST = "nothing done, no answer"
    MUTE = "done, no answer"
    ERROR = "nothing done, 500, and 500 again for the same Idempotency-Key"
    ERROR_DONE = "done, 500, and 500 again for the same Idempotency-Key"


class HttpFaults:
    """The proxy, at ``url``; closed at the end of its ``with`` block.

    Only requests by POST, PUT, PATCH and DELETE fail. No answer means that the connection is held for
    ``hold_s`` seconds, or until the client leaves.
    """

    def __init__(self, upstream: str, *, hold_s: float = _HOLD_S) -> None:
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname or "", parts.port or 80)
        self._hold_s = hold_s
        self._next: list[ServiceFault] = []
        self._stored: set[str] = set()
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        self._link = FaultProxy(self._server.server_address[1])
        self.url = f"http://{self._link.address}{parts.path}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._link.close()
        self._server.shutdown()
        self._server.server_close()

    def fail_next(self, fault: ServiceFault, times: int = 1) -> None:
        """Let the next ``times`` requests that change something fail like this."""
        self._next += [fault] * times

    def forget_keys(self) -> None:
        """Forget which idempotency keys were answered with a 500."""
        self._stored.clear()

    @contextmanager
    def gone(self) -> Iterator[None]:
        """Let no connection come up while the block runs."""
        self._link.refuse()
        self._link.cut()
        try:
            yield
        finally:
            self._link.heal()

    def answer(self, request: "_Handler", body: bytes) -> None:
        """Answer one request."""
        key = request.headers.get("Idempotency-Key", "")
        fault = None
        if request.command != "GET":
            fault = ServiceFault.ERROR if key in self._stored else self._next.pop(0) if self._next else None
        if fault in (ServiceFault.ERROR, ServiceFault.ERROR_DONE) and key:
            self._stored.add(key)
        passed = None
        if fault in (None, ServiceFault.MUTE, ServiceFault.ERROR_DONE):
            passed = self._pass_on(request, body)
        if fault in (ServiceFault.LOST, ServiceFault.MUTE):
            select.select([request.connection], [], [], self._hold_s)
            request.close_connection = True
        elif fault is not None:
            request.reply(503 if fault is ServiceFault.BUSY else 500, {}, b"{}")
        elif passed is not None:
            request.reply(*passed)

    def _pass_on(self, request: "_Handler", body: bytes) -> tuple[int, dict[str, str], bytes]:
        headers = {
            name: value for name, value in request.headers.items() if name.lower() not in _NOT_PASSED_ON
        }
        with closing(http.client.HTTPConnection(*self._upstream, timeout=self._hold_s)) as connection:
            connection.request(request.command, request.path, body or None, headers)
            answer = connection.getresponse()
            kept = {name: answer.headers[name] for name in _PASSED_ON if name in answer.headers}
            return answer.status, kept, answer.read()


class FaultyService:
    """The service behind a gateway, as a test drives it.

    One that does not speak HTTP defines ``fail_next`` and ``gone`` by itself.
    """

    def __init__(self, faults: HttpFaults) -> None:
        self.faults = faults

    def fail_next(self, fault: ServiceFault, times: int = 1) -> None:
        """Let the next ``times`` requests that change something fail like this."""
        self.faults.fail_next(fault, times)

    def gone(self) -> AbstractContextManager[None]:
        """Let no connection come up while the block runs."""
        return self.faults.gone()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, faults: HttpFaults) -> None:
        self.faults = faults
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that give up are expected here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.faults.answer(self, body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
        """Send an answer."""
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

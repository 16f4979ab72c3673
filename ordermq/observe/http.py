"""/metrics, /healthz and /readyz of this process, on loopback unless the settings say otherwise.

Daemon threads answer, so a process whose loops hang still reports it. There is no
authentication: everyone who reaches the address can read the metrics.
"""

import json
import logging
import socket
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler
from socketserver import BaseServer, ThreadingTCPServer
from typing import Any

from prometheus_client import disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from ordermq.config.settings import ObserveSettings
from ordermq.errors import ConfigError
from ordermq.log_events import HTTP_ANSWER_FAILED, HTTP_REQUEST_FAILED, HTTP_SERVING
from ordermq.observe.health import Health, HealthVerdict
from ordermq.observe.metrics import REGISTRY

_REQUEST_TIMEOUT_S = 5.0
_MOST_REQUESTS = 16
_log = logging.getLogger(__name__)


class HealthServer:
    """Answers from construction to ``close()``; off if ``observe.http_port`` is -1.

    Raises ConfigError if the address is in use, as it is for a second process with the same
    fixed port.
    """

    def __init__(self, settings: ObserveSettings, health: Health) -> None:
        self._server = None if settings.http_port < 0 else _listen(settings, health)
        if self._server is not None:
            # A second series with the time each began would double their number for no use.
            disable_created_metrics()  # type: ignore[no-untyped-call]  # it has no annotations
            _log.info(
                "serving /metrics, /healthz and /readyz", extra=HTTP_SERVING.having(http_address=self.address)
            )
            serve = partial(self._server.serve_forever, poll_interval=0.1)
            threading.Thread(target=serve, name="ordermq-http", daemon=True).start()

    @property
    def address(self) -> str:
        """``host:port`` as bound, with the port that 0 became; empty when off."""
        if self._server is None:
            return ""
        host, port = self._server.socket.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def close(self) -> None:
        """Stop answering. May be called twice. Blocks for a tenth of a second."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


class _Server(ThreadingTCPServer):
    # Not http.server.HTTPServer: it asks the DNS for the host's own name when it binds.
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 2 * _MOST_REQUESTS
    block_on_close = False

    def __init__(self, address: tuple[str, int], health: Health) -> None:
        self.health = health
        self.slots = threading.BoundedSemaphore(_MOST_REQUESTS)
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        # Requests over the limit are closed unanswered: idle clients must not fill the process with threads.
        if self.slots.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        _log.debug("a request to the health port failed", exc_info=True, extra=HTTP_REQUEST_FAILED)


class _Handler(BaseHTTPRequestHandler):
    timeout = _REQUEST_TIMEOUT_S
    server_version = "ordermq"
    sys_version = ""

    def __init__(self, request: Any, client_address: Any, server: BaseServer) -> None:
        assert isinstance(server, _Server)  # noqa: S101  # only _Server makes this handler
        self._health = server.health
        super().__init__(request, client_address, server)

    def do_GET(self) -> None:
        self.wfile.write(self._send_head())

    def do_HEAD(self) -> None:
        self._send_head()

    def do_OPTIONS(self) -> None:
        self._send_allowed(204)

    def _refuse(self) -> None:
        self._send_allowed(405)

    do_POST = do_PUT = do_PATCH = do_DELETE = _refuse

    def _send_allowed(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Allow", "GET, HEAD, OPTIONS")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send_head(self) -> bytes:
        """Send the status and the headers of the answer to GET; return its body."""
        path = self.path.partition("?")[0]
        try:
            status, content_type, body = _answer(path, self._health)
        except Exception:  # an error of a collector costs this request only
            _log.exception("cannot answer %s", path, extra=HTTP_ANSWER_FAILED)
            status, content_type, body = 500, "text/plain", b"see the log\n"
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        return body

    def log_message(self, format: str, *args: object) -> None:
        """Write nothing: probes come every few seconds."""


def _listen(settings: ObserveSettings, health: Health) -> _Server:
    try:
        return _Server((settings.http_host, settings.http_port), health)
    except OSError as exc:
        where = f"observe.http_host = {settings.http_host}, observe.http_port = {settings.http_port}"
        raise ConfigError(
            f"{where}: cannot listen there: {exc.strerror}; port 0 means any free port"
        ) from exc


def _answer(path: str, health: Health) -> tuple[int, str, bytes]:
    if path == "/metrics":
        return 200, CONTENT_TYPE_LATEST, generate_latest(REGISTRY)
    if path == "/healthz":
        return _verdict(health.live())
    if path == "/readyz":
        return _verdict(health.ready())
    return 404, "text/plain", b"/metrics, /healthz or /readyz\n"


def _verdict(verdict: HealthVerdict) -> tuple[int, str, bytes]:
    body = {"ok": verdict.is_good, "reasons": verdict.reasons}
    return 200 if verdict.is_good else 503, "application/json", json.dumps(body).encode() + b"\n"

"""The HTTP server in front of the third parties: HTTP/1.1, kept-alive connections, a thread each."""

import select
import socket
import socketserver
import sys
import time
import traceback
from collections.abc import Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit

import msgspec

from ordermq.shop.sandbox.service import NoAnswer, Refused, Reply, Request
from ordermq.shop.sandbox.third_party import ThirdParty

LARGEST_BODY_BYTES = 64 * 1024
REASONS = {200: "OK", 201: "Created", 202: "Accepted"}


class SandboxServer(ThreadingHTTPServer):
    """Serves on 127.0.0.1 until ``shutdown()``."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, port: int, services: Mapping[str, ThirdParty]) -> None:
        self.services = services
        super().__init__(("127.0.0.1", port), SandboxRequestHandler)

    def server_bind(self) -> None:
        # HTTPServer's own asks the resolver for this machine's name, which may take seconds.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[0], self.server_address[1]  # type: ignore[assignment] # typeshed allows more address kinds

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Clients that give up are expected here: the sandbox is made to let them wait.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            traceback.print_exc()


class SandboxRequestHandler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the journals hold what happened."""

    def _handle(self) -> None:
        try:
            answer = self._ask()
        except Refused as refused:
            body = msgspec.json.encode({"status": "refused", "reason": refused.reason})
            answer = Reply(refused.status, body, refused.headers)
        if isinstance(answer, NoAnswer):
            self._hold(answer.hold_s)
        else:
            self._answer(answer)

    def _ask(self) -> Reply | NoAnswer:
        body = self._body()
        url = urlsplit(self.path)
        if url.path == "/healthz":
            return Reply(200, b'{"status":"ok"}')
        prefix, _, path = url.path[1:].partition("/")
        service = cast(SandboxServer, self.server).services.get(prefix)
        if service is None:
            raise Refused(404, f"no third party named {prefix[:40]!r}")
        if self.command == "POST" and not path.endswith("behaviour") and service.latency_s:
            time.sleep(service.latency_s)
        key = self.headers.get("Idempotency-Key", "")
        return service.handle(Request(self.command, "/" + path, dict(parse_qsl(url.query)), key, body))

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isdecimal() or int(length) > LARGEST_BODY_BYTES:
            # Where the body ends, and the next request begins, is unknown.
            self.close_connection = True
            raise Refused(413, f"a Content-Length of at most {LARGEST_BODY_BYTES} bytes is needed")
        return self.rfile.read(int(length))

    def _answer(self, answer: Reply) -> None:
        status = f"HTTP/1.1 {answer.status} {REASONS.get(answer.status, 'Refused')}"
        headers = {"Content-Type": "application/json", **dict(answer.headers)}
        if answer.pages is None:
            headers["Content-Length"] = str(len(answer.body))
        else:
            headers["Transfer-Encoding"] = "chunked"
        if self.close_connection:
            headers["Connection"] = "close"
        head = "\r\n".join([status, *(f"{name}: {value}" for name, value in headers.items()), "", ""])
        self.wfile.write(head.encode("ascii") + answer.body)
        if answer.pages is not None:
            self._stream(answer.pages)

    def _stream(self, pages: Iterable[bytes]) -> None:
        for page in pages:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(page), page))
        self.wfile.write(b"0\r\n\r\n")

    def _hold(self, hold_s: float) -> None:
        # Readable means that the client has closed, for it does not send before our answer.
        select.select([self.connection], [], [], hold_s)
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

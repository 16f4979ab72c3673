"""A WSGI application for webhooks behind a real HTTP server, and events that are sent to it."""

import http.client
import json
import threading
from contextlib import closing
from wsgiref.simple_server import WSGIRequestHandler, make_server
from wsgiref.validate import validator

from tests.support.stripe import WEBHOOK_SECRET
from tests.support.stripe_stub import signature


class Quiet(WSGIRequestHandler):
    def log_message(self, format, *args):
        pass


class Endpoint:
    """The application behind a real HTTP server."""

    def __init__(self, app):
        self._server = make_server("127.0.0.1", 0, validator(app), handler_class=Quiet)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def post(self, event, *, method="POST", secret=WEBHOOK_SECRET, body=None, **headers):
        """Send an event; return the status."""
        content = json.dumps(event).encode() if body is None else body
        sent = {"Content-Type": "application/json", "Stripe-Signature": signature(content, secret)}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        with closing(http.client.HTTPConnection("127.0.0.1", self._server.server_port)) as connection:
            connection.request(method, "/", content, sent)
            return connection.getresponse().status

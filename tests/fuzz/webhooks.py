"""Requests to Stripe's webhook, and a session without a database that takes what PostgreSQL's would."""

import hmac
import io
from contextlib import contextmanager

from ordermq.errors import DataRefused

SECRET = "whsec_fuzzing_0123456789"


class NoTransaction:
    """Refuses the texts that PostgreSQL and its driver refuse; finds nothing."""

    def fetch_one(self, sql, params=()):
        _check(params)
        return (1,) if "INSERT" in sql else None

    def execute(self, sql, params=()):
        _check(params)
        return 0


class NoSession:
    """Stands for a Session."""

    @contextmanager
    def transaction(self):
        yield NoTransaction()

    def close(self):
        pass

    def notify(self, channel):
        pass


def request(signed_at, body):
    """Return a WSGI request; ``signed_at`` is the time of its signature, any bytes."""
    digest = hmac.new(SECRET.encode(), signed_at + b"." + body, "sha256").hexdigest()
    return {
        "REQUEST_METHOD": "POST",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_STRIPE_SIGNATURE": f"t={signed_at.decode('latin-1')},v1={digest}",
        "wsgi.input": io.BytesIO(body),
    }


def _check(params):
    for each in params:
        if isinstance(each, str):
            if "\0" in each:
                raise DataRefused("NUL")
            try:
                each.encode()
            except UnicodeEncodeError as exc:
                raise DataRefused(str(exc)) from exc

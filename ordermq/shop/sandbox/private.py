"""The sandbox third parties as a part of the private stack."""

import http.client
import json
import os
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from ordermq.testing.stack.errors import StackError
from ordermq.testing.stack.ports import free_ports, is_free
from ordermq.testing.stack.server import ModuleServer

_PORTS = ("port", "smtp_port")


class PrivateSandbox(ModuleServer):
    """The payment gateway, the SMS service and the mail server in a process of their own.

    The process keeps what it has answered, also after a kill.
    """

    title = "the sandbox"
    part = "sandbox"

    # --- life ---------------------------------------------------------------

    def launch(self) -> None:
        """Start without waiting. Does nothing if it is running."""
        if self.process.pid is not None:
            return
        if self._known.keys() != set(_PORTS) or not all(map(is_free, self._known.values())):
            self._known = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
            self._place.remember(self.part, self._known)
        account = self._place.account
        argv = [sys.executable, "-m", "ordermq.shop.sandbox"]
        argv += ["--port", str(self.port), "--smtp-port", str(self.smtp_port), "--data", str(self.data)]
        argv += ["--uid", str(account.uid), "--gid", str(account.gid)]
        self.process.start(argv, env=os.environ, cwd=self._place.state, as_self=True)

    def is_serving(self) -> bool:
        """Whether it answers, now."""
        try:
            return bool(self.call("GET", "/healthz", timeout_s=5.0))
        except StackError:
            return False

    # --- use ----------------------------------------------------------------

    @property
    def port(self) -> int:
        return int(self._known["port"])

    @property
    def smtp_port(self) -> int:
        """The port of 127.0.0.1 that takes e-mail."""
        return int(self._known["smtp_port"])

    @property
    def data(self) -> Path:
        """Folder of the journals."""
        return self._place.given_folder(self.part)

    def environment(self) -> dict[str, str]:
        """The shop's settings that lead a process to it, as environment variables."""
        return {
            "ORDERMQ_SHOP_PAYMENT_URL": self.payment_url,
            "ORDERMQ_SHOP_SMS_URL": self.sms_url,
            "ORDERMQ_SHOP_SMTP_HOST": "127.0.0.1",
            "ORDERMQ_SHOP_SMTP_PORT": str(self.smtp_port),
            "ORDERMQ_SHOP_SMTP_SECURITY": "none",
            "ORDERMQ_SHOP_MAIL_FROM": "shop@shop.example",
            "ORDERMQ_SHOP_MAIL_LEDGER_URL": self.mail_url,
        }

    @property
    def payment_url(self) -> str:
        """Base address of the payment gateway."""
        return f"http://127.0.0.1:{self.port}/payment"

    @property
    def sms_url(self) -> str:
        """Base address of the SMS service."""
        return f"http://127.0.0.1:{self.port}/sms"

    @property
    def mail_url(self) -> str:
        """Base address of the mail server's books."""
        return f"http://127.0.0.1:{self.port}/mail"

    def behave(self, service: str, **rates: float) -> None:
        """Set the rates of ``payment``, ``sms`` or ``mail``, see ``behaviour``; none: all well."""
        self.call("POST", f"/{service}/v1/behaviour", rates)

    def ledger(self, service: str) -> list[dict[str, Any]]:
        """Everything ``payment``, ``sms`` or ``mail`` has done, in order."""
        lines: list[dict[str, Any]] = self.call("GET", f"/{service}/v1/ledger")
        return lines

    def call(self, method: str, path: str, body: Any = None, *, timeout_s: float = 30.0) -> Any:
        """Make one request and return the answer's JSON, or a list of it for JSON lines.

        Raises StackError with the answer if it is not a success, or if none comes.
        """
        content = None if body is None else json.dumps(body)
        try:
            with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)) as connection:
                connection.request(method, path, content)
                answer = connection.getresponse()
                text = answer.read()
        except (OSError, http.client.HTTPException) as exc:
            raise StackError(f"{method} {path}: the sandbox does not answer: {exc}") from exc
        if answer.status >= 300:
            raise StackError(f"{method} {path}: {answer.status} {text.decode(errors='replace')[:300]}")
        if answer.headers["Content-Type"] == "application/x-ndjson":
            return [json.loads(line) for line in text.splitlines()]
        return json.loads(text)

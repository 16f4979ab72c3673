"""What an administrator does to a private broker, by its management API."""

import base64
import http.client
import json
from abc import ABC, abstractmethod
from contextlib import closing
from typing import Any
from urllib.parse import quote, urlsplit

from ordermq.testing.stack.errors import StackError

USER = "ordermq"
VHOST = "ordermq"


class Administration(ABC):
    """Virtual hosts, users and permissions of one node, or of a cluster by any node of it."""

    @abstractmethod
    def api(self, method: str, path: str, body: Any = None, *, missing_ok: bool = False) -> Any:
        """Call the management API (``path`` below /api/) and return the answer's JSON, or None.

        Raises StackError with the answer if it is not a success; ``missing_ok`` forgives 404.
        """

    def add_vhost(self, name: str) -> None:
        """Create a vhost the administrator may use; 13 ms."""
        self.api("PUT", f"vhosts/{quote(name, safe='')}")
        self.set_permissions(USER, name)

    def delete_vhost(self, name: str) -> None:
        """Delete a vhost, closing its connections; not an error if there is none."""
        self.api("DELETE", f"vhosts/{quote(name, safe='')}", missing_ok=True)

    def add_user(self, name: str, password: str, tags: str = "") -> None:
        """Create a user, or give one a new password. It may use no vhost yet."""
        self.api("PUT", f"users/{quote(name, safe='')}", {"password": password, "tags": tags})

    def delete_user(self, name: str) -> None:
        self.api("DELETE", f"users/{quote(name, safe='')}", missing_ok=True)

    def set_permissions(
        self, user: str, vhost: str, *, configure: str = ".*", write: str = ".*", read: str = ".*"
    ) -> None:
        """Set what ``user`` may do in ``vhost``, each a regular expression over names."""
        path = f"permissions/{quote(vhost, safe='')}/{quote(user, safe='')}"
        self.api("PUT", path, {"configure": configure, "write": write, "read": read})


def call_api(
    url: str, password: str, *, method: str, path: str, body: Any = None, missing_ok: bool = False
) -> Any:
    """Do what ``Administration.api`` says at the node whose API has this base ``url``."""
    credentials = base64.b64encode(f"{USER}:{password}".encode()).decode()
    headers = {"Authorization": f"Basic {credentials}", "Content-Type": "application/json"}
    content = None if body is None else json.dumps(body)
    try:
        with closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)) as connection:
            connection.request(method, f"/api/{path}", content, headers)
            answer = connection.getresponse()
            text = answer.read()
    except (OSError, http.client.HTTPException) as exc:
        raise StackError(f"{method} /api/{path}: the management API does not answer: {exc}") from exc
    if answer.status == 404 and missing_ok:
        return None
    if answer.status >= 300:
        raise StackError(f"{method} /api/{path}: {answer.status} {text.decode(errors='replace')[:300]}")
    return json.loads(text) if text else None

"""Notifies systemd of the state of this process: sd_notify(3) in a few lines.

Without a notify socket every method does nothing, so callers need not check. A message that
cannot be delivered within a second is dropped and logged: the watchdog decides what follows,
not an exception in the I/O loop.

Owned by one thread, whose loop the watchdog watches.
"""

import logging
import socket
from collections.abc import Callable

from ordermq.clock import monotonic_s
from ordermq.config.environment import Supervisor
from ordermq.log_events import SYSTEMD_NOT_NOTIFIED

_SEND_TIMEOUT_S = 1.0
_PINGS_PER_INTERVAL = 4  # sd_watchdog_enabled(3) asks for two; four tolerate a slow turn of the loop
_log = logging.getLogger(__name__)


class Notifier:
    """The messages to systemd."""

    def __init__(self, supervisor: Supervisor, *, now: Callable[[], float] = monotonic_s) -> None:
        path = supervisor.notify_socket
        # "@name" is systemd's way to write a socket in Linux's abstract namespace.
        self._address = "\0" + path[1:] if path.startswith("@") else path
        self._ping_every_s = supervisor.watchdog_s / _PINGS_PER_INTERVAL
        self._now = now
        self._next_ping_at_s = 0.0

    def ready(self, status: str = "") -> None:
        """Report that the process works: ``systemctl start`` returns."""
        self._send("READY=1", *_status(status))

    def status(self, text: str) -> None:
        """Show ``text`` in ``systemctl status``."""
        self._send(*_status(text))

    def stopping(self, status: str = "") -> None:
        """Report that the process has begun to stop."""
        self._send("STOPPING=1", *_status(status))

    def extend(self, by_s: float) -> None:
        """Ask for up to ``by_s`` seconds more, from now, to start or to stop."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(by_s * 1e6)}")

    def watchdog(self) -> None:
        """Report that the loop runs. Call it every turn; it sends four times an interval."""
        if self._ping_every_s and self._now() >= self._next_ping_at_s:
            self._next_ping_at_s = self._now() + self._ping_every_s
            self._send("WATCHDOG=1")

    def _send(self, *assignments: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.settimeout(_SEND_TIMEOUT_S)
                sock.sendto("\n".join(assignments).encode(), self._address)
        except OSError as exc:
            _log.warning(
                "systemd was not notified of %s: %s", assignments[0], exc, extra=SYSTEMD_NOT_NOTIFIED
            )


def _status(text: str) -> list[str]:
    # A line feed would start another assignment.
    return [f"STATUS={' '.join(text.split())}"] if text else []

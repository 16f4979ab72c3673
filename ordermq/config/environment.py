"""Names in the environment that are not settings, and what they say.

Nothing outside ``ordermq.config`` reads the environment: a process asks here once,
at its start, and passes the answer on.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass

Environ = Mapping[str, str]

#: Known names with our prefix that set nothing in a section.
OTHER_NAMES = {
    "ORDERMQ_CONFIG": "path of the configuration file; empty: none",
    "ORDERMQ_FAILPOINT": "where a process under test is to stop",
    "ORDERMQ_VENV": "virtual environment used by the scripts in bin/",
}

#: Names that begin like this belong to the private stack for tests and demos.
STACK_PREFIX = "ORDERMQ_STACK"
STACK_BROKER = f"{STACK_PREFIX}_BROKER"


@dataclass(frozen=True)
class Supervisor:
    """What a supervising systemd told this process; empty and 0 without one."""

    notify_socket: str = ""
    watchdog_s: float = 0.0


def supervisor(environ: Environ = os.environ, *, pid: int | None = None) -> Supervisor:
    """Read NOTIFY_SOCKET and WATCHDOG_USEC as sd_notify(3) and sd_watchdog_enabled(3) define them.

    A watchdog meant for another process (WATCHDOG_PID) is not ours. What cannot be
    read is taken as absent: systemd wrote it, and without it the process still works.
    """
    micros = environ.get("WATCHDOG_USEC", "")
    is_ours = environ.get("WATCHDOG_PID", "") in ("", str(os.getpid() if pid is None else pid))
    has_watchdog = is_ours and micros.isascii() and micros.isdigit() and len(micros) < 19
    return Supervisor(
        notify_socket=environ.get("NOTIFY_SOCKET", ""),
        watchdog_s=int(micros) / 1e6 if has_watchdog else 0.0,
    )


def sudo_user(environ: Environ = os.environ) -> str:
    """Return who called sudo to start this process; empty without sudo. Anybody can set it: no proof."""
    return environ.get("SUDO_USER", "")


def inherited(environ: Environ = os.environ) -> dict[str, str]:
    """Return the environment for a child that gets settings of its own: everything but ours."""
    return {name: value for name, value in environ.items() if not name.startswith("ORDERMQ_")}


def failpoint(environ: Environ = os.environ) -> str:
    """Return ORDERMQ_FAILPOINT: where a process under test is to stop; empty outside tests."""
    return environ.get("ORDERMQ_FAILPOINT", "")


def stack_broker(environ: Environ = os.environ) -> str:
    """Return ORDERMQ_STACK_BROKER: which RabbitMQ new private stacks run; empty: the installed one."""
    return environ.get(STACK_BROKER, "")


def cache_home(environ: Environ = os.environ) -> str:
    """Return the user's folder for what can be fetched again."""
    return environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")

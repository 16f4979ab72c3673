"""Variables of the environment that are not settings.

Only ``ordermq.config`` reads the environment. A process asks here once, at its start,
and passes the values on.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass

Environ = Mapping[str, str]

#: Known names with the prefix ORDERMQ_ that are not settings.
OTHER_NAMES = {
    "ORDERMQ_CONFIG": "path of the configuration file; empty: none",
    "ORDERMQ_FAILPOINT": "failpoint at which a process under test stops",
    "ORDERMQ_VENV": "virtual environment used by the scripts in bin/",
}

#: Names with this prefix belong to the private stack for tests and demos.
STACK_PREFIX = "ORDERMQ_STACK"
STACK_BROKER = f"{STACK_PREFIX}_BROKER"
STACK_POSTGRES = f"{STACK_PREFIX}_POSTGRES"


@dataclass(frozen=True)
class Supervisor:
    """What systemd asks of this process; empty and 0 without systemd."""

    notify_socket: str = ""
    watchdog_s: float = 0.0


def supervisor(environ: Environ = os.environ, *, pid: int | None = None) -> Supervisor:
    """Read NOTIFY_SOCKET and WATCHDOG_USEC as sd_notify(3) and sd_watchdog_enabled(3) define them.

    A watchdog for another process (WATCHDOG_PID) is ignored. So is a value that cannot be
    read: systemd writes these, and the process works without them.
    """
    micros = environ.get("WATCHDOG_USEC", "")
    is_ours = environ.get("WATCHDOG_PID", "") in ("", str(os.getpid() if pid is None else pid))
    has_watchdog = is_ours and micros.isascii() and micros.isdigit() and len(micros) < 19
    return Supervisor(
        notify_socket=environ.get("NOTIFY_SOCKET", ""),
        watchdog_s=int(micros) / 1e6 if has_watchdog else 0.0,
    )


def journal_stream(environ: Environ = os.environ) -> str:
    """Return JOURNAL_STREAM: device and inode of the stream to systemd's journal; empty without one."""
    return environ.get("JOURNAL_STREAM", "")


def wants_spans(environ: Environ = os.environ) -> bool:
    """Whether OpenTelemetry's variables ask for spans by the messaging conventions."""
    asked = {each.strip() for each in environ.get("OTEL_SEMCONV_STABILITY_OPT_IN", "").split(",")}
    is_off = environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    return "messaging" in asked and not is_off and environ.get("OTEL_TRACES_EXPORTER", "otlp") == "otlp"


def sudo_user(environ: Environ = os.environ) -> str:
    """Return the user who ran sudo to start this process; empty without sudo. It can be forged."""
    return environ.get("SUDO_USER", "")


def inherited(environ: Environ = os.environ) -> dict[str, str]:
    """Return the environment for a child with settings of its own: everything but ORDERMQ_ variables."""
    return {name: value for name, value in environ.items() if not name.startswith("ORDERMQ_")}


def failpoint(environ: Environ = os.environ) -> str:
    """Return ORDERMQ_FAILPOINT: the failpoint at which this process stops; empty outside tests."""
    return environ.get("ORDERMQ_FAILPOINT", "")


def stack_broker(environ: Environ = os.environ) -> str:
    """Return ORDERMQ_STACK_BROKER: which RabbitMQ new private stacks run; empty: the installed one."""
    return environ.get(STACK_BROKER, "")


def stack_postgres(environ: Environ = os.environ) -> str:
    """Return ORDERMQ_STACK_POSTGRES: which PostgreSQL new private stacks run; empty: the installed one."""
    return environ.get(STACK_POSTGRES, "")


def cache_home(environ: Environ = os.environ) -> str:
    """Return the user's folder for files that can be fetched again."""
    return environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")

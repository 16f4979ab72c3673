"""The broker's topology, compared again and again while a process runs.

A policy can be made at any time, and what it drops is gone without an error.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ordermq.amqp import verify_by_management
from ordermq.cli.program import Program
from ordermq.errors import OrderMQError

_EVERY_S = 60.0
log = logging.getLogger(__name__)


@contextmanager
def checking_topology(program: Program, *, every_s: float = _EVERY_S) -> Iterator[None]:
    """Compare through the management API in a thread of its own, if the settings name one.

    Each difference, and each reason why nothing can be compared, is one line of the log until
    it has been away.
    """
    stopping = threading.Event()
    if program.settings.topology.management_url:
        arguments = (program, stopping, every_s)
        threading.Thread(target=_check, args=arguments, name="ordermq-topology", daemon=True).start()
    try:
        yield
    finally:
        stopping.set()


def _check(program: Program, stopping: threading.Event, every_s: float) -> None:
    settings, topology = program.settings, program.topology()
    logged: set[str] = set()
    while True:
        try:
            found = verify_by_management(settings.broker, topology, settings.topology.management_url)
            lines = set(found.differences)
        except OrderMQError as exc:
            lines = {f"not checked: {exc}"}
        for line in sorted(lines - logged):
            level = logging.WARNING if line.startswith("not checked") else logging.ERROR
            log.log(level, "the topology is not as it should be: %s; see 'ordermq topology verify'", line)
        logged = lines
        if stopping.wait(every_s):
            return

"""The broker's topology, compared again and again while a process runs.

A policy can be made at any time, and what it drops is gone without an error.
"""

import logging
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ordermq.amqp import verify_by_management
from ordermq.cli.program import Program
from ordermq.errors import OrderMQError
from ordermq.log_events import TOPOLOGY_DIFFERS, TOPOLOGY_MENDED, TOPOLOGY_UNCHECKED
from ordermq.observe import metrics
from ordermq.topology import Topology

_EVERY_S = 60.0
log = logging.getLogger(__name__)


@contextmanager
def checking_topology(program: Program, wanted: Topology, *, every_s: float = _EVERY_S) -> Iterator[None]:
    """Compare ``wanted`` through the management API in a thread of its own, if the settings name one.

    Each difference, and each reason why nothing can be compared, is one line of the log until
    it has been away. That a difference is gone is one line too.
    """
    stopping = threading.Event()
    metrics.topology_differences.set(math.nan)
    if program.settings.topology.management_url:
        arguments = (program, wanted, stopping, every_s)
        threading.Thread(target=_check, args=arguments, name="ordermq-topology", daemon=True).start()
    try:
        yield
    finally:
        stopping.set()


def _check(program: Program, wanted: Topology, stopping: threading.Event, every_s: float) -> None:
    differences: set[str] = set()
    reason = ""
    while True:
        before, reason_before = differences, reason
        try:
            differences, reason = _differences(program, wanted), ""
        except OrderMQError as exc:
            reason = str(exc)  # the differences may still be there
        metrics.topology_differences.set(math.nan if reason else len(differences))
        if reason and not reason_before:
            log.warning("the topology is not checked: %s", reason, extra=TOPOLOGY_UNCHECKED)
        for line in sorted(differences - before):
            log.error(
                "the topology is not as it should be: %s; see 'ordermq topology verify'",
                line,
                extra=TOPOLOGY_DIFFERS,
            )
        for line in sorted(before - differences):
            log.warning("the topology is as it should be again, as to this: %s", line, extra=TOPOLOGY_MENDED)
        if stopping.wait(every_s):
            return


def _differences(program: Program, wanted: Topology) -> set[str]:
    settings = program.settings
    return set(verify_by_management(settings.broker, wanted, settings.topology.management_url).differences)

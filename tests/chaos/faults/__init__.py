"""Every fault, in the order of their numbers. A group is a file; its ``FAULTS`` are listed here."""

from tests.chaos.fault import Fault
from tests.chaos.faults import (
    alarming,
    broker,
    cluster,
    database,
    machine,
    messages,
    network,
    processes,
    services,
)

_GROUPS = (processes, broker, cluster, database, network, messages, machine, services)

FAULTS: list[Fault] = sorted(
    (fault for group in _GROUPS for fault in group.FAULTS), key=lambda fault: int(fault.name[1:])
)

#: What the alert drill runs besides those of FAULTS that have a row of alerts.
DRILL: list[Fault] = list(alarming.DRILL)

#: What is run for every change.
SMOKE = ("F1", "F2", "F8", "F13", "F16", "F22", "F24")

"""Every fault, in the order of their numbers. A group is a file; its ``FAULTS`` are listed here."""

from tests.chaos.fault import Fault
from tests.chaos.faults import broker, database, processes

FAULTS: list[Fault] = sorted(
    (*processes.FAULTS, *broker.FAULTS, *database.FAULTS), key=lambda fault: int(fault.name[1:])
)

#: What is run for every change.
SMOKE = [name for name in ("F1", "F2", "F8", "F13", "F16", "F22", "F24") if name in {f.name for f in FAULTS}]

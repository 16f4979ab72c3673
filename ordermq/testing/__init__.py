"""What tests import: ``run_handler``, ``wait_until``, and faults of the network and of the broker.

The pytest fixtures of ``ordermq.testing.plugin`` are there without an import. Everything that starts
servers is in ``ordermq.testing.stack``.
"""

from ordermq.testing.faults import Direction
from ordermq.testing.handling import Ran, Sent, run_handler
from ordermq.testing.injector import Injector
from ordermq.testing.proxy import FaultProxy
from ordermq.testing.wait import wait_until

__all__ = ["Direction", "FaultProxy", "Injector", "Ran", "Sent", "run_handler", "wait_until"]

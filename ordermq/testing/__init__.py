"""What tests import: the private stack, the sandbox third parties, faults on purpose, ``wait_until``.

The pytest fixtures are in ``ordermq.testing.plugin`` and come with the package;
nothing needs to be imported to use them.
"""

from ordermq.testing.faults import Direction
from ordermq.testing.handling import Ran, Sent, run_handler
from ordermq.testing.injector import Injector
from ordermq.testing.proxy import FaultProxy
from ordermq.testing.wait import wait_until

__all__ = ["Direction", "FaultProxy", "Injector", "Ran", "Sent", "run_handler", "wait_until"]

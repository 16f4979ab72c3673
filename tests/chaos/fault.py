"""What a fault is: something that is done to a pipeline under load, and what must hold then."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, ClassVar

from ordermq.testing.stack.private import PrivateStack, temporary_stack

if TYPE_CHECKING:
    from tests.chaos.arena import Arena


#: Alerts that any fault may raise by the way, because work waits and a busy machine answers late.
AFTERMATH = frozenset({
    "OrdermqErrorRate", "OrdermqEventsBehind", "OrdermqHandlerSlow", "OrdermqNumberingStalled",
    "OrdermqOutboxOld", "OrdermqPaymentsUnknown", "OrdermqQueueOld", "OrdermqQueueStalled", "OrdermqStuck",
})  # fmt: skip


class Skip(Exception):
    """This fault cannot be made here; the text says why. Never counts as passed."""


class Fault:
    """One fault. A subclass has the number, what happens and what is expected, and ``strike``.

    Called in this order, all in the runner's thread: ``check``, ``prepare`` (before any
    process runs), ``strike`` (under load), ``verify`` (when all has come to rest).
    """

    name: ClassVar[str]
    title: ClassVar[str]
    expect: ClassVar[str]
    #: Settings of every process, by the names of the environment.
    settings: ClassVar[Mapping[str, str]] = {}
    rate: ClassVar[float] = 200.0
    #: From ``healed`` to orders being completed again.
    recovers_within_s: ClassVar[float] = 20.0
    #: After the load: so long without an order coming to rest, while others are under way, is stuck.
    quiesces_within_s: ClassVar[float] = 60.0
    #: Exit codes that processes may end with by themselves.
    may_end_with: ClassVar[frozenset[int]] = frozenset()
    #: Makes the servers it needs; another than the last fault's costs their start.
    servers: ClassVar[Callable[[], AbstractContextManager[PrivateStack]]] = staticmethod(temporary_stack)
    #: The servers cannot serve another fault after this one.
    spoils_stack: ClassVar[bool] = False
    #: What the alert drill must see, and what it may see besides.
    alerts: ClassVar[frozenset[str]] = frozenset()
    may_alert: ClassVar[frozenset[str]] = AFTERMATH

    def check(self) -> None:
        """Raise Skip if this machine cannot do it."""

    def prepare(self, arena: "Arena") -> None:
        """Change what stands before the processes start."""

    def strike(self, arena: "Arena") -> None:
        """Do it, undo it, and call ``arena.healed()`` at the moment everything serves again."""
        raise NotImplementedError

    def verify(self, arena: "Arena") -> None:
        """Note with ``arena.expect`` what else must hold at rest."""

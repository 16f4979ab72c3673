"""What should exist on the broker: values, how they are built, how they differ. Pure."""

from ordermq.topology.build import build
from ordermq.topology.diff import diff
from ordermq.topology.names import queue_name
from ordermq.topology.spec import BindingSpec, ExchangeSpec, QueueSpec, Topology

__all__ = ["BindingSpec", "ExchangeSpec", "QueueSpec", "Topology", "build", "diff", "queue_name"]

"""What should exist on the broker: values, how they are built, how they differ. Pure."""

from ordermq.topology.build import EventStream, build
from ordermq.topology.diff import diff
from ordermq.topology.names import queue_name
from ordermq.topology.policies import Policy, policy_differences
from ordermq.topology.spec import BindingSpec, ExchangeSpec, QueueSpec, Topology

__all__ = [
    "BindingSpec",
    "EventStream",
    "ExchangeSpec",
    "Policy",
    "QueueSpec",
    "Topology",
    "build",
    "diff",
    "policy_differences",
    "queue_name",
]

"""The only door to RabbitMQ: connections, publishing, consuming, topology.

pika and its exceptions stay behind it; what comes out is ``ordermq.errors``.
"""

from ordermq.amqp._pika import Channel
from ordermq.amqp.confirms import PublishOutcome
from ordermq.amqp.connection import ConnectionManager, StateObserver
from ordermq.amqp.declare import (
    Applied,
    QueueDepth,
    Verified,
    apply,
    queue_depth,
    verify,
    verify_by_management,
)
from ordermq.amqp.management import (
    BrokerFacts,
    QueueNumbers,
    alarms_of,
    read_deprecated,
    read_facts,
    read_nodes,
    read_policies,
    read_queues,
    read_replicas,
)
from ordermq.amqp.publisher import Publisher, PublishObserver, PublishOutcomes
from ordermq.amqp.state import ConnectionState
from ordermq.amqp.subscription import Subscription, subscribe

__all__ = [
    "Applied",
    "BrokerFacts",
    "Channel",
    "ConnectionManager",
    "ConnectionState",
    "PublishObserver",
    "PublishOutcome",
    "PublishOutcomes",
    "Publisher",
    "QueueDepth",
    "QueueNumbers",
    "StateObserver",
    "Subscription",
    "Verified",
    "alarms_of",
    "apply",
    "queue_depth",
    "read_deprecated",
    "read_facts",
    "read_nodes",
    "read_policies",
    "read_queues",
    "read_replicas",
    "subscribe",
    "verify",
    "verify_by_management",
]

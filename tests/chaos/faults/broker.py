"""Faults of RabbitMQ."""

from tests.chaos.arena import Arena
from tests.chaos.fault import Fault


class BrokerKilled(Fault):
    name = "F8"
    title = "broker killed and started again"
    expect = "what it confirmed survives, on quorum and on classic queues"
    recovers_within_s = 10.0

    def prepare(self, arena: Arena) -> None:
        _make_classic(arena, "notify")
        _make_classic(arena, "points")

    def strike(self, arena: Arena) -> None:
        arena.broker.kill()
        arena.pause_between(0.0, 2.0)
        arena.broker.start()
        arena.healed()


def _make_classic(arena: Arena, queue: str) -> None:
    """Have a classic queue in the place of the quorum queue that was declared."""
    path = f"queues/{arena.name}/orders.{queue}"
    arena.broker.api("DELETE", path)
    arguments = {
        "x-queue-type": "classic",
        "x-dead-letter-exchange": "orders.dead",
        "x-dead-letter-routing-key": queue,
        "x-overflow": "reject-publish",
    }
    arena.broker.api("PUT", path, {"durable": True, "arguments": arguments})
    binding = f"bindings/{arena.name}/e/orders/q/orders.{queue}"
    arena.broker.api("POST", binding, {"routing_key": queue, "arguments": {}})


FAULTS = (BrokerKilled(),)

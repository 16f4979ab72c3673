"""Faults of the alert drill alone: what an operator meets most, each long enough for its alert."""

from typing import Any, ClassVar

from ordermq.shop.demo.serve import POISON
from tests.chaos.arena import Arena
from tests.chaos.fault import AFTERMATH, Fault

_DEAD = "SELECT queue, message_id FROM ordermq.dead_letters WHERE reason LIKE 'MalformedMessage%%'"


class _Alarming(Fault):
    rate = 50.0
    recovers_within_s = 40.0


class GatewayDown(_Alarming):
    name = "A1"
    title = "payment gateway down for 12 s"
    expect = "calls stop by the breaker, and go on by themselves"
    alerts: ClassVar = frozenset({"OrdermqBreakerOpen"})

    def strike(self, arena: Arena) -> None:
        arena.sandbox.behave("payment", error=1.0)
        arena.pause(12.0)
        arena.sandbox.behave("payment")
        arena.healed()


class RelayStopped(_Alarming):
    name = "A2"
    title = "the only relay stopped for 8 s"
    expect = "orders are accepted and wait in the outbox"
    alerts: ClassVar = frozenset({"OrdermqNoActiveRelay", "OrdermqDown"})
    may_alert: ClassVar = AFTERMATH | {"OrdermqNotConnected"}  # while it connects again

    def strike(self, arena: Arena) -> None:
        arena.relay.stop()
        arena.pause(8.0)
        arena.relay.start()
        arena.healed()
        arena.wait_ready()


class ConsumerStopped(_Alarming):
    name = "A3"
    title = "the only consumer of a queue stopped for 12 s"
    expect = "its messages wait in the queue"
    alerts: ClassVar = frozenset({"OrdermqConsumerAbsent", "OrdermqQueueStalled", "OrdermqDown"})

    def strike(self, arena: Arena) -> None:
        member = arena.fleet["shipping"]
        member.stop()
        arena.pause(12.0)
        member.start()
        arena.healed()
        arena.wait_ready()


class DatabasePaused(_Alarming):
    name = "A4"
    title = "database frozen for 20 s"
    expect = "consumers pause, the relay stands still; no attempt is used up"
    settings: ClassVar = {
        "ORDERMQ_DATABASE_LOCK_TIMEOUT_S": "2",
        "ORDERMQ_DATABASE_STATEMENT_TIMEOUT_S": "5",
    }
    alerts: ClassVar = frozenset({"OrdermqNoActiveRelay"})
    # A consumer that has nothing to write does not learn of it.
    may_alert: ClassVar = AFTERMATH | {"OrdermqPaused", "OrdermqRedelivery"}

    def strike(self, arena: Arena) -> None:
        arena.postgres.freeze()
        try:
            arena.pause(20.0)
        finally:
            arena.postgres.thaw()
        arena.healed()


class PoisonMessage(_Alarming):
    name = "A5"
    title = "a message that no handler can read"
    expect = "one dead letter; nothing else notices"
    alerts: ClassVar = frozenset({"OrdermqNewDeadLetters"})
    may_alert: ClassVar = AFTERMATH | {"OrdermqFailureBudgetBurns"}

    def strike(self, arena: Arena) -> None:
        body: dict[str, Any] = {
            "properties": {}, "routing_key": "payment", "payload": POISON, "payload_encoding": "string",
        }  # fmt: skip
        arena.broker.api("POST", f"exchanges/{arena.name}/orders/publish", body)
        arena.wait_until(lambda: arena.rows(_DEAD), 20.0, "a dead letter")
        arena.pause(4.0)
        arena.healed()

    def verify(self, arena: Arena) -> None:
        arena.wanted_dead = {(row[0], row[1]) for row in arena.rows(_DEAD)}


class BrokerAway(_Alarming):
    name = "A6"
    title = "broker killed, started after 10 s"
    expect = "orders are accepted; all reconnects by itself"
    alerts: ClassVar = frozenset({"OrdermqBrokerDown", "OrdermqNotConnected", "OrdermqNoActiveRelay"})
    may_alert: ClassVar = AFTERMATH | {"OrdermqRedelivery"}

    def strike(self, arena: Arena) -> None:
        arena.broker.kill()
        arena.pause(10.0)
        arena.broker.start()
        arena.healed()


DRILL = (GatewayDown(), RelayStopped(), ConsumerStopped(), DatabasePaused(), PoisonMessage(), BrokerAway())

"""Faults of a cluster of three: nodes killed, the quorum lost, one node cut off; and a half-open link."""

import json
import time
from datetime import datetime
from typing import ClassVar

from ordermq.config.settings import BrokerSettings
from tests.chaos import servers
from tests.chaos.arena import Arena
from tests.chaos.counting import recovery_s
from tests.chaos.fault import AFTERMATH, Fault

INVENTORY = "orders.inventory"
#: Three nodes and the pipeline share two processors, and orders go on coming in while a node starts.
QUIESCES_WITHIN_S = 400.0
_FINISHED_AT = "SELECT extract(epoch FROM terminal_at)::float8 FROM shop.orders WHERE terminal_at IS NOT NULL"
_OUTBOX = "SELECT count(*) FROM ordermq.outbox"


class NodesKilled(Fault):
    name = "F10"
    title = "of three nodes: killed a follower, the relay's node, the leader"
    expect = "the others go on within 5 s, without an operator"
    alerts: ClassVar = frozenset({"OrdermqBrokerNodeDown"})
    may_alert: ClassVar = AFTERMATH | {
        "OrdermqBrokerAlarm",
        "OrdermqBrokerDown",
        "OrdermqNacked",
        "OrdermqNoActiveRelay",
        "OrdermqNoMajority",
        "OrdermqNotConnected",
        "OrdermqRedelivery",
    }
    servers = staticmethod(servers.three_nodes)
    recovers_within_s = 5.0
    quiesces_within_s = QUIESCES_WITHIN_S

    def strike(self, arena: Arena) -> None:
        self.killed: list[tuple[str, float]] = []
        cluster = arena.broker
        for what in ("a follower", "the relay's node", "the leader"):
            arena.wait_until(lambda: cluster.is_replicated(arena.name), 90.0, "every queue has its members")
            leader = cluster.leader(arena.name, INVENTORY)
            node = {
                "a follower": next(each for each in cluster.nodes if each is not leader),
                "the relay's node": cluster.node_of("ordermq-relay"),
                "the leader": leader,
            }[what]
            arena.say(f"killing {what}")
            node.kill()
            self.killed.append((what, time.time()))
            arena.healed()  # no operator does anything: from now on the others have to go on
            arena.pause(8.0)
            node.start(120.0)

    def verify(self, arena: Arena) -> None:
        for what, at_s in self.killed:
            _judge_recovery(arena, f"after the death of {what}", at_s, self.recovers_within_s)


class QuorumLost(Fault):
    name = "F11"
    title = "two of three nodes killed, back after 20 s"
    expect = "rows wait in the outbox, nothing is buried, all of it goes out when the quorum is back"
    alerts: ClassVar = frozenset({"OrdermqNotConnected"})
    may_alert: ClassVar = AFTERMATH | {
        "OrdermqBrokerDown",
        "OrdermqBrokerNodeDown",
        "OrdermqNacked",
        "OrdermqNoActiveRelay",
        "OrdermqNoMajority",
        "OrdermqRedelivery",
    }
    servers = staticmethod(servers.three_nodes)
    recovers_within_s = 10.0
    quiesces_within_s = QUIESCES_WITHIN_S

    def strike(self, arena: Arena) -> None:
        cluster = arena.broker
        killed = arena.random.sample(cluster.nodes, 2)
        for node in killed:
            node.kill()
        arena.pause(20.0)
        waiting = arena.value(_OUTBOX)
        arena.notes.append(f"{waiting} rows waited in the outbox")
        arena.expect(waiting > arena.rate * 10, f"only {waiting} rows waited for the quorum")
        cluster.launch(killed)
        cluster.wait_ready(120.0)
        arena.healed()


class NodeCutOff(Fault):
    name = "F12"
    title = "one of three nodes partitioned for 30 s, its clients included"
    expect = "it pauses, its clients go to the majority by themselves; it comes back by itself"
    alerts: ClassVar = frozenset({"OrdermqBrokerNodeDown"})
    may_alert: ClassVar = AFTERMATH | {
        "OrdermqNacked",
        "OrdermqNoActiveRelay",
        "OrdermqNotConnected",
        "OrdermqRedelivery",
        "OrdermqTwoActiveRelays",
    }
    servers = staticmethod(servers.three_networks)
    recovers_within_s = 10.0
    quiesces_within_s = QUIESCES_WITHIN_S
    #: The promise for who is connected to it, then a connection to another node, and half a backoff.
    FAILS_OVER_WITHIN_S = 20.0

    def check(self) -> None:
        servers.check_networks()

    def strike(self, arena: Arena) -> None:
        cluster = arena.broker
        node = cluster.node_of("ordermq-relay")
        number = cluster.nodes.index(node) + 1
        self.cut_at_s = time.time()
        cluster.networks.silence(number)
        try:
            arena.pause(30.0)
            majority = next(each for each in cluster.nodes if each is not node)
            arena.expect(len(cluster.running(majority)) == 2, "the majority did not notice")
            arena.expect(not node.is_serving(), "the silent node answered")
        finally:
            cluster.networks.heal(number)
        arena.healed()
        cluster.wait_ready(120.0)

    def verify(self, arena: Arena) -> None:
        _judge_recovery(arena, "in the majority", self.cut_at_s, self.FAILS_OVER_WITHIN_S)


class LinkHalfOpen(Fault):
    name = "F15"
    title = "the broker's link down for 30 s, idle and in flight"
    expect = "noticed within what the settings promise; goes on when the link is back"
    alerts: ClassVar = frozenset({"OrdermqNotConnected"})
    may_alert: ClassVar = AFTERMATH | {
        "OrdermqBrokerDown",
        "OrdermqNoActiveRelay",
        "OrdermqRedelivery",
        "OrdermqTwoActiveRelays",
    }
    servers = staticmethod(servers.one_network)
    settings: ClassVar = {"ORDERMQ_RELAY_STANDBY_S": "1"}
    recovers_within_s = 10.0

    def check(self) -> None:
        servers.check_networks()

    def prepare(self, arena: Arena) -> None:
        arena.fleet.add("relay-2", "ordermq-relay")  # stands by: its connection is idle

    def strike(self, arena: Arena) -> None:
        networks = arena.broker.networks
        self.cut_at_s = time.time()
        networks.unplug(1)
        try:
            arena.pause(30.0)
        finally:
            networks.plug(1)
        arena.healed()

    def verify(self, arena: Arena) -> None:
        default = BrokerSettings()
        # Data under way is given up after the user timeout; an idle link has some with the next heartbeat.
        promised_s = default.tcp_user_timeout_s + default.heartbeat_s / 2
        for member in arena.fleet.members:
            noticed = [at - self.cut_at_s for at in _lost_at(member) if at >= self.cut_at_s]
            took_s = min(noticed, default=float("inf"))
            arena.notes.append(f"{member.name} {took_s:.1f} s")
            arena.expect(took_s <= promised_s + 1.0, f"{member.name} noticed after {took_s:.1f} s")


def _judge_recovery(arena: Arena, when: str, at_s: float, within_s: float) -> None:
    finished = [row[0] for row in arena.rows(_FINISHED_AT)]
    took_s = recovery_s(at_s, finished, arena.rate)
    arena.notes.append(f"{when} {'never' if took_s is None else f'{took_s:.1f} s'}")
    arena.expect(took_s is not None and took_s <= within_s, f"{when} nothing moved within {within_s:g} s")


def _lost_at(member) -> list[float]:
    """Return when the member said that it had lost its connection."""
    lines = (json.loads(line) for line in member.log.read_text().splitlines() if ": lost: " in line)
    return [datetime.fromisoformat(line["@timestamp"]).timestamp() for line in lines]


FAULTS = (NodesKilled(), QuorumLost(), NodeCutOff(), LinkHalfOpen())

"""Faults of our own processes: killed, stopped, frozen."""

from typing import ClassVar

from ordermq.testing.fleet import program
from tests.chaos.arena import Arena
from tests.chaos.fault import Fault


class ConsumersKilled(Fault):
    name = "F1"
    title = "consumers killed at random"
    expect = "what they held comes again; no effect twice"

    def strike(self, arena: Arena) -> None:
        for _ in range(6):
            arena.random.choice(arena.consumers).kill()
            arena.pause_between(0.3, 1.2)
        arena.healed()
        arena.wait_ready()

    def verify(self, arena: Arena) -> None:
        arena.expect(arena.fleet.restarts >= 5, "hardly a consumer was started again")


class RelaysKilled(Fault):
    name = "F2"
    title = "relays killed, two race"
    expect = "rows are published again, and absorbed"
    settings: ClassVar = {"ORDERMQ_RELAY_STANDBY_S": "0.3"}

    def prepare(self, arena: Arena) -> None:
        arena.fleet.add("relay-2", [program("ordermq-relay")])

    def strike(self, arena: Arena) -> None:
        relays = [member for member in arena.fleet.members if member.name.startswith("relay")]
        for _ in range(6):
            arena.random.choice(relays).kill()
            arena.pause_between(0.2, 1.0)
        arena.healed()
        arena.wait_ready()


FAULTS = (ConsumersKilled(), RelaysKilled())

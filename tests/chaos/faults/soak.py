"""F29: something goes wrong every 10 to 20 seconds, for as long as one likes."""

import time
from collections.abc import Callable

from tests.chaos.arena import Arena
from tests.chaos.fault import Fault


class Soak(Fault):
    """Not in the list of faults: ``make soak`` runs it."""

    name = "F29"
    title = "a fault every 10 to 20 s"
    expect = "all of the others, for an hour"
    recovers_within_s = 30.0
    may_end_with = frozenset({69, 75})

    def __init__(self, minutes: float) -> None:
        self._seconds = minutes * 60

    def strike(self, arena: Arena) -> None:
        deadline = time.monotonic() + self._seconds
        while time.monotonic() < deadline:
            blow = arena.random.choice(BLOWS)
            arena.say(f"{blow.__name__}, {(deadline - time.monotonic()) / 60:.1f} minutes left")
            blow(arena)
            arena.pause_between(10.0, 20.0)
        arena.healed()


def a_consumer_is_killed(arena: Arena) -> None:
    arena.random.choice(arena.consumers).kill()


def the_relay_is_killed(arena: Arena) -> None:
    arena.relay.kill()


def a_process_is_frozen(arena: Arena) -> None:
    member = arena.random.choice(arena.fleet.members)
    member.freeze()
    try:
        arena.pause_between(1.0, 25.0)
    finally:
        member.thaw()


def the_broker_is_killed(arena: Arena) -> None:
    arena.broker.kill()
    arena.broker.start()


def the_broker_is_frozen(arena: Arena) -> None:
    arena.broker.freeze()
    try:
        arena.pause_between(1.0, 15.0)
    finally:
        arena.broker.thaw()


def connections_are_cut(arena: Arena) -> None:
    arena.broker.ctl("close_all_connections", "-p", arena.name, "soak")


def the_database_is_killed(arena: Arena) -> None:
    arena.postgres.kill()
    arena.postgres.start()


def the_database_is_frozen(arena: Arena) -> None:
    arena.postgres.freeze()
    try:
        arena.pause_between(1.0, 15.0)
    finally:
        arena.postgres.thaw()


def a_process_is_stopped(arena: Arena) -> None:
    member = arena.random.choice(arena.fleet.members)
    member.stop(40.0)
    member.start()


def the_payment_service_is_slow(arena: Arena) -> None:
    arena.sandbox.behave("payment", latency_ms=800, error=0.2)
    arena.pause_between(2.0, 8.0)
    arena.sandbox.behave("payment")


BLOWS: tuple[Callable[[Arena], None], ...] = (
    a_consumer_is_killed,
    the_relay_is_killed,
    a_process_is_frozen,
    the_broker_is_killed,
    the_broker_is_frozen,
    connections_are_cut,
    the_database_is_killed,
    the_database_is_frozen,
    a_process_is_stopped,
    the_payment_service_is_slow,
)

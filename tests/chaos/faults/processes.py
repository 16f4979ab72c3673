"""Faults of our own processes: killed, stopped, frozen."""

import json
import subprocess
import time
from itertools import islice
from typing import ClassVar

from ordermq.shop.intake.generate import json_line
from ordermq.testing.stack.commands import program
from tests.chaos.arena import THREADS, Arena, Broken
from tests.chaos.customers import orders_of
from tests.chaos.fault import AFTERMATH, Fault

_IN_TRANSACTION = """
    SELECT count(*) FROM pg_stat_activity
     WHERE datname = current_database() AND application_name = %s AND xact_start IS NOT NULL
       AND pid <> pg_backend_pid()
"""


class ConsumersKilled(Fault):
    name = "F1"
    title = "consumers killed at random"
    expect = "what they held comes again; no effect twice"
    may_alert: ClassVar = AFTERMATH | {
        "OrdermqAttention",
        "OrdermqConsumerAbsent",
        "OrdermqCrashLoop",
        "OrdermqDown",
        "OrdermqRedelivery",
    }

    def strike(self, arena: Arena) -> None:
        for number in range(6):
            arena.random.choice(arena.consumers).kill()
            if number % 3 == 1:
                for member in arena.forwarders:
                    member.kill()
            arena.pause_between(0.3, 1.2)
        arena.healed()
        arena.wait_ready()

    def verify(self, arena: Arena) -> None:
        arena.expect(arena.fleet.restarts >= 5, "hardly a consumer was started again")


class RelaysKilled(Fault):
    name = "F2"
    title = "relays killed, two race"
    expect = "rows are published again, and absorbed"
    may_alert: ClassVar = AFTERMATH | {
        "OrdermqCrashLoop",
        "OrdermqDown",
        "OrdermqNoActiveRelay",
        "OrdermqTwoActiveRelays",
    }
    settings: ClassVar = {"ORDERMQ_RELAY_STANDBY_S": "0.3"}

    def prepare(self, arena: Arena) -> None:
        arena.fleet.add("relay-2", "ordermq-relay")

    def strike(self, arena: Arena) -> None:
        relays = [arena.relay, arena.fleet["relay-2"]]
        for _ in range(6):
            arena.random.choice(relays).kill()
            arena.pause_between(0.2, 1.0)
        arena.healed()
        arena.wait_ready()


class PublisherKilled(Fault):
    name = "F3"
    title = "the process that places orders is killed"
    expect = "every order of the file exists once; run again, the rest is placed"

    COUNT = 900
    RATE = 400

    def strike(self, arena: Arena) -> None:
        orders = list(islice(orders_of(arena.seed + 1_000_000), self.COUNT))
        file = arena.place.state / "orders.jsonl"
        file.write_bytes(b"".join(json_line(order) for order in orders))
        mine = f"gen-{arena.seed + 1_000_000}-%"
        argv = ["ordermq-publish", "orders", str(file), "--rate", str(self.RATE), "--json"]
        for part in (1, 2, 3):
            # Committed is what is seen here; the command has not yet said so.
            process = subprocess.Popen(
                [program(argv[0]), *argv[1:]], env=arena.env, cwd=arena.place.state,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            try:
                goal = part * self.COUNT // 4 + arena.random.randrange(60)
                arena.wait_until(
                    lambda goal=goal: self._placed(arena, mine) >= goal, 30.0, f"{goal} orders of the file"
                )
            finally:
                process.kill()
                process.wait()
        arena.healed()
        said = json.loads(arena.ok(*argv))
        arena.expect(said["in"] == self.COUNT, f"read {said['in']} of {self.COUNT} orders")
        # An order of the file that was placed before and cancelled since has a count of its own.
        placed = said["accepted"] + said["duplicate"] + said["cancelled"]
        arena.expect(placed == self.COUNT, f"the last run said {said}")
        arena.expect(said["duplicate"] > 0, "no run was killed after a commit")
        arena.expect(self._placed(arena, mine) == self.COUNT, "not every order of the file exists once")
        arena.customers.accepted += [order.order_id for order in orders]

    @staticmethod
    def _placed(arena: Arena, mine: str) -> int:
        return int(arena.value("SELECT count(*) FROM shop.orders WHERE order_id LIKE %s", mine))


class StoppedUnderLoad(Fault):
    name = "F4"
    title = "SIGTERM under load, prefetch full"
    expect = "what runs is finished and acked; exit 0 before the drain deadline"
    may_alert: ClassVar = AFTERMATH | {
        "OrdermqConsumerAbsent",
        "OrdermqCrashLoop",
        "OrdermqDown",
        "OrdermqNoActiveRelay",
        "OrdermqNotConnected",
        "OrdermqRedelivery",
    }

    def strike(self, arena: Arena) -> None:
        arena.sandbox.behave("payment", latency_ms=300)
        arena.pause(2.0)
        members = [arena.relay, *arena.consumers]
        arena.random.shuffle(members)
        for member in members:
            began_s = time.monotonic()
            code = member.stop(40.0)
            took_s = time.monotonic() - began_s
            arena.expect(code == 0, f"{member.name} ended with {code} on SIGTERM")
            arena.expect(took_s < 26.0, f"{member.name} took {took_s:.1f} s to drain")
            member.start()
        arena.sandbox.behave("payment")
        arena.healed()
        arena.wait_ready()


class ConsumersFrozen(Fault):
    name = "F5"
    title = "consumers frozen past their heartbeats"
    expect = "others get their messages; thawed, they find them settled"
    alerts: ClassVar = frozenset({"OrdermqDown"})
    may_alert: ClassVar = AFTERMATH | {"OrdermqConsumerAbsent", "OrdermqNotConnected", "OrdermqRedelivery"}
    settings: ClassVar = {
        "ORDERMQ_BROKER_HEARTBEAT_S": "3",
        "ORDERMQ_DATABASE_IDLE_IN_TRANSACTION_S": "4",
        "ORDERMQ_BROKER_CONFIRM_TIMEOUT_S": "1.5",
    }

    FROZEN = ("inventory", "payment", "shipping")

    def prepare(self, arena: Arena) -> None:
        for queue in self.FROZEN:
            argv = ("ordermq-consumer", "--queue", f"{queue}:2", "--threads", str(THREADS[queue]))
            arena.fleet.add(f"{queue}-2", *argv)

    def strike(self, arena: Arena) -> None:
        members = [arena.fleet[queue] for queue in self.FROZEN]
        for member in members:
            member.freeze()
        arena.pause(7.0)
        arena.wait_finished(100)
        arena.pause_between(0.0, 2.0)
        for member in members:
            member.thaw()
        arena.healed()
        arena.wait_ready(*members)

    def verify(self, arena: Arena) -> None:
        members = [arena.fleet[queue] for queue in self.FROZEN]
        arena.expect(arena.logged("lost: ", *members), "no frozen consumer lost its connection")


class RelayFrozen(Fault):
    name = "F6"
    title = "relay frozen in its transaction"
    expect = "the database ends the transaction; another relay goes on"
    alerts: ClassVar = frozenset({"OrdermqNoActiveRelay"})
    may_alert: ClassVar = AFTERMATH | {"OrdermqDown"}
    settings: ClassVar = {
        "ORDERMQ_RELAY_STANDBY_S": "0.3",
        "ORDERMQ_DATABASE_IDLE_IN_TRANSACTION_S": "3",
        "ORDERMQ_BROKER_CONFIRM_TIMEOUT_S": "1",
    }

    def strike(self, arena: Arena) -> None:
        self._freeze_in_transaction(arena)
        other = arena.fleet.add("relay-2", "ordermq-relay")
        other.start()
        arena.healed()
        arena.wait_finished(200)
        arena.relay.thaw()
        arena.wait_ready()

    @staticmethod
    def _freeze_in_transaction(arena: Arena) -> None:
        for _ in range(400):
            arena.relay.freeze()
            # What was under way on the server ends meanwhile; what waits for the relay does not.
            arena.pause(0.05)
            if arena.value(_IN_TRANSACTION, "ordermq-relay"):
                return
            arena.relay.thaw()
            arena.pause_between(0.0, 0.05)
        raise Broken("the relay was never seen in a transaction")


FAULTS = (
    ConsumersKilled(),
    RelaysKilled(),
    PublisherKilled(),
    StoppedUnderLoad(),
    ConsumersFrozen(),
    RelayFrozen(),
)

"""Faults of RabbitMQ: killed, frozen, restarted, in alarm, full, and changed under our feet."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import ClassVar

from ordermq.testing.stack.errors import StackError
from ordermq.testing.stack.fleet import Member
from tests.chaos.arena import QUEUES, Arena
from tests.chaos.fault import AFTERMATH, Fault

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


_REFUSED = "SELECT count(DISTINCT routing_key) FROM ordermq.outbox WHERE refusals > 0"


class BrokerFrozen(Fault):
    name = "F7"
    title = "broker frozen for 5, 30 (and 150) s"
    expect = "no confirm in time is unknown, never lost; reconnects by itself, nothing hangs"
    alerts: ClassVar = frozenset({"OrdermqBrokerDown", "OrdermqNotConnected"})
    may_alert: ClassVar = AFTERMATH | {
        "OrdermqBreakerOpen",
        "OrdermqConsumerAbsent",
        "OrdermqNoActiveRelay",
        "OrdermqRedelivery",
    }

    def strike(self, arena: Arena) -> None:
        for seconds in (5.0, 30.0, 150.0) if arena.is_long else (5.0, 30.0):
            arena.broker.freeze()
            try:
                arena.pause(seconds)
            finally:
                arena.broker.thaw()
            arena.healed()
            arena.wait_finished(100)


class BrokerKilled(Fault):
    name = "F8"
    title = "broker killed and started again"
    expect = "what it confirmed survives, on quorum and on classic queues"
    may_alert: ClassVar = AFTERMATH | {
        "OrdermqBrokerDown",
        "OrdermqNoActiveRelay",
        "OrdermqNotConnected",
        "OrdermqRedelivery",
        "OrdermqTopology",
    }
    recovers_within_s = 10.0

    def prepare(self, arena: Arena) -> None:
        _make_classic(arena, "notify")
        _make_classic(arena, "points")

    def strike(self, arena: Arena) -> None:
        arena.broker.kill()
        arena.pause_between(0.0, 2.0)
        arena.broker.start()
        arena.healed()


class BrokerStopped(Fault):
    name = "F9"
    title = "stop_app, start_app"
    expect = "320 CONNECTION_FORCED: every process reconnects by itself, and not all at once"
    alerts: ClassVar = frozenset({"OrdermqNotConnected"})
    may_alert: ClassVar = AFTERMATH | {"OrdermqBrokerDown", "OrdermqNoActiveRelay", "OrdermqRedelivery"}
    recovers_within_s = 10.0

    def strike(self, arena: Arena) -> None:
        arena.broker.ctl("stop_app")
        arena.pause_between(1.0, 4.0)
        arena.broker.ctl("start_app")
        arena.healed()
        arena.broker.wait_ready()
        arena.wait_ready()

    def verify(self, arena: Arena) -> None:
        opened = [at for member in arena.fleet.members for at in _openings(member)[-1:]]
        spread_s = max(opened) - min(opened)
        arena.notes.append(f"{len(opened)} processes reconnected within {spread_s:.1f} s")
        arena.expect(spread_s > 0.2, f"all reconnected at once: within {spread_s:.2f} s")


class BrokerInAlarm(Fault):
    name = "F19"
    title = "disk alarm, then memory alarm, 20 s each"
    expect = "publishers wait without heat, consumers go on; all by itself"
    alerts: ClassVar = frozenset({"OrdermqBrokerAlarm"})
    may_alert: ClassVar = AFTERMATH | {"OrdermqNoActiveRelay", "OrdermqNotConnected", "OrdermqRedelivery"}
    settings: ClassVar = {"ORDERMQ_BROKER_BLOCKED_TIMEOUT_S": "5"}

    ALARM_S = 20.0

    def strike(self, arena: Arena) -> None:
        for alarm, all_clear in (
            (("set_disk_free_limit", "1000GB"), ("set_disk_free_limit", "1MB")),
            (("set_vm_memory_high_watermark", "0.00001"), ("set_vm_memory_high_watermark", "0.4")),
        ):
            with _alarm(arena, alarm, all_clear):
                waiting = arena.queues()  # no process adds to them now
                before_s, began_s = _cpu_s(arena.relay), time.monotonic()
                arena.pause(self.ALARM_S)
                used = (_cpu_s(arena.relay) - before_s) / (time.monotonic() - began_s)
                stood = {queue: left for queue, left in arena.queues().items() if left >= waiting[queue] > 0}
                arena.expect(not stood, f"consumers did not go on under the alarm: {stood}")
                arena.expect(used < 0.5, f"the relay used {used:.0%} of a processor under the alarm")
                arena.expect(
                    arena.value("SELECT count(*) FROM ordermq.outbox") > 100, "the alarm blocked nobody"
                )
            arena.healed()
            arena.wait_finished(100)


class QueuesFull(Fault):
    name = "F27"
    title = "queues at their max-length"
    expect = "refused rows wait in the outbox and go out when there is room"
    alerts: ClassVar = frozenset({"OrdermqNacked"})
    may_alert: ClassVar = AFTERMATH | {
        "OrdermqConsumerAbsent",
        "OrdermqDown",
        "OrdermqNotConnected",
        "OrdermqTopology",
    }

    LIMITED = ("points", "inventory")

    def strike(self, arena: Arena) -> None:
        for queue in self.LIMITED:
            arena.broker.api(
                "PUT",
                f"policies/{arena.name}/small-{queue}",
                {
                    "pattern": rf"^orders\.{queue}$",
                    "definition": {"max-length": 50},
                    "apply-to": "queues",
                },
            )
            arena.fleet[queue].stop()
        arena.wait_until(
            lambda: arena.value(_REFUSED) == len(self.LIMITED), 30.0, "rows of both queues are refused"
        )
        arena.pause(3.0)
        # Of one queue the limit is lifted while it is full, of the other when it has room again.
        self._lift(arena, "inventory")
        for queue in self.LIMITED:
            arena.fleet[queue].start()
        arena.wait_ready()
        arena.pause(2.0)
        self._lift(arena, "points")
        arena.healed()

    @staticmethod
    def _lift(arena: Arena, queue: str) -> None:
        arena.broker.api("DELETE", f"policies/{arena.name}/small-{queue}")


class AccessChanged(Fault):
    name = "F21"
    title = "wrong at start; permission, password changed"
    expect = "wrong at the start: exit 78 and why; later: reconnects with what is right by then"
    alerts: ClassVar = frozenset({"OrdermqNotConnected"})
    may_alert: ClassVar = AFTERMATH | {
        "OrdermqConsumerAbsent",
        "OrdermqCrashLoop",
        "OrdermqDown",
        "OrdermqNoActiveRelay",
        "OrdermqRedelivery",
    }
    settings: ClassVar = {"ORDERMQ_BROKER_RECONNECT_CAP_S": "3"}

    def prepare(self, arena: Arena) -> None:
        self._user, self._password = arena.name, f"first-{arena.name}"
        self._file = arena.place.state / "broker.password"
        self._give(arena, self._password)
        arena.broker.set_permissions(self._user, arena.name)
        del arena.env["ORDERMQ_BROKER_PASSWORD"]
        arena.env |= {
            "ORDERMQ_BROKER_USERNAME": self._user,
            "ORDERMQ_BROKER_PASSWORD_FILE": str(self._file),
        }
        arena.secrets += [self._password, f"second-{arena.name}"]

    def strike(self, arena: Arena) -> None:
        self._start_wrongly(arena)
        arena.broker.set_permissions(self._user, arena.name, configure="^$", write="^$", read="^$")
        arena.broker.ctl("close_all_connections", "-p", arena.name, "permissions changed")
        arena.pause(4.0)
        arena.broker.set_permissions(self._user, arena.name)
        arena.wait_finished(100)
        self._give(arena, f"second-{arena.name}")
        arena.broker.ctl("close_all_connections", "-p", arena.name, "password changed")
        arena.healed()
        arena.wait_finished(100)

    def _give(self, arena: Arena, password: str) -> None:
        new = self._file.with_suffix(".new")
        new.touch(0o600)
        new.write_text(password)
        arena.broker.add_user(self._user, password)
        new.replace(self._file)

    def _start_wrongly(self, arena: Arena) -> None:
        """Each of these must end by itself, soon, with the code for people and a word about why."""
        wrong = arena.place.state / "wrong.password"
        wrong.touch(0o600)
        wrong.write_text("wrong")
        consumer = ("ordermq-consumer", "--queue", "points:9")
        password = {"ORDERMQ_BROKER_PASSWORD_FILE": str(wrong)}
        self._ends(arena, consumer, 78, "refused", **password)
        self._ends(arena, ("ordermq-relay",), 78, "refused", **password)
        self._ends(arena, consumer, 78, "topology apply", ORDERMQ_TOPOLOGY_PREFIX="elsewhere")
        arguments = {"durable": True, "arguments": {"x-queue-type": "classic"}}
        arena.broker.api("PUT", f"queues/{arena.name}/other.points", arguments)
        apply = ("ordermq", "topology", "apply")
        self._ends(arena, apply, 1, "other.points", ORDERMQ_TOPOLOGY_PREFIX="other")
        for queue in (*QUEUES, "dead"):
            arena.broker.api("DELETE", f"queues/{arena.name}/other.{queue}", missing_ok=True)

    @staticmethod
    def _ends(arena: Arena, argv: tuple[str, ...], code: int, words: str, **env: str) -> None:
        done = arena.run(*argv, timeout_s=30.0, **env)
        said = done.stdout + done.stderr
        what = f"{' '.join(argv)} with {json.dumps(env)}"
        arena.expect(
            done.returncode == code, f"{what} ended with {done.returncode}, not {code}: {said[-300:]}"
        )
        arena.expect(words in said, f"{what} did not say {words!r}: {said[-300:]}")


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


@contextmanager
def _alarm(arena: Arena, alarm: tuple[str, ...], all_clear: tuple[str, ...]) -> Iterator[None]:
    arena.broker.ctl(*alarm)
    try:
        yield
    finally:
        with suppress(StackError):  # a broker that is gone meanwhile is reported by what was raised
            arena.broker.ctl(*all_clear)


def _openings(member: Member) -> list[float]:
    """Return when a member's connection to the broker was opened, each time."""
    found = []
    for line in member.log.read_text(errors="replace").splitlines():
        with suppress(ValueError):
            said = json.loads(line)
            if ": open to " in said["message"]:
                found.append(datetime.fromisoformat(said["@timestamp"]).timestamp())
    return found


def _cpu_s(member: Member) -> float:
    with open(f"/proc/{member.pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


FAULTS = (
    BrokerFrozen(),
    BrokerKilled(),
    BrokerStopped(),
    BrokerInAlarm(),
    AccessChanged(),
    QueuesFull(),
)

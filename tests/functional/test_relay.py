"""The relay on a real broker and a real database (REL1-REL3)."""

import time
from dataclasses import replace

from ordermq.cli.processes.metering import TableMeter
from ordermq.config.settings import Secret
from ordermq.errors import AccessRefused
from ordermq.message import Command
from ordermq.observe import metrics
from ordermq.store import dead_letters, outbox
from ordermq.testing import wait_until
from ordermq.testing.proxy import Direction, FaultProxy
from tests.support.probe import Probe
from tests.support.runtime import PREFIX, declare, probes


def outbox_rows(rig):
    return rig.value("SELECT count(*) FROM ordermq.outbox")


def test_rows_become_messages_and_are_gone(rig):
    rig.relay()
    rig.send("single", *probes(700))
    wait_until(lambda: outbox_rows(rig) == 0, 20, what="an empty outbox")
    wait_until(lambda: rig.rabbit.depth(f"{PREFIX}.single") == 700, 20, what="700 messages")


def test_a_row_that_is_not_due_waits_and_then_goes(rig):
    rig.relay()
    rig.consumer("single")
    with rig.session.transaction() as tx:
        [[written_at]] = tx.fetch_all("SELECT now()")
        tx.send([Command("single", "late", "late", Probe(order_id="late"), delay_s=1.0)])
    rig.send("single", *probes(1))
    rig.wait_for_effects("single", 2)
    [[late], [early]] = rig.rows("SELECT at FROM effects ORDER BY order_id")
    assert early < late
    assert (late - written_at).total_seconds() >= 1.0


def test_a_row_no_queue_takes_is_reported_and_holds_back_only_its_own_order(rig):
    rig.rabbit.delete_queue(f"{PREFIX}.batch")
    with rig.session.transaction() as tx:
        tx.send([
            Command("batch", "a1", "a", Probe(order_id="a")),
            Command("single", "a2", "a", Probe(order_id="a")),
            Command("single", "b1", "b", Probe(order_id="b")),
        ])  # fmt: skip
    rig.relay(refused_base_s=0.2, refused_cap_s=0.5)
    rig.consumer("single")

    assert rig.wait_for_effects("single", 1) == ["b"]
    wait_until(lambda: rig.rows("SELECT FROM ordermq.outbox WHERE refusals >= 2"), 20, what="tried again")
    [refused, held] = rig.rows("SELECT message_id, refused_reason FROM ordermq.outbox ORDER BY outbox_id")
    assert refused[0] == "a1"
    assert refused[1].startswith("returned: ")
    assert held == ("a2", None)

    declare(rig.settings)
    rig.consumer("batch")
    assert rig.wait_for_effects("batch", 1) == ["a"]
    assert rig.wait_for_effects("single", 2) == ["a", "b"]


BACKLOG = """
    INSERT INTO ordermq.outbox (routing_key, message_id, type, version, correlation_id, traceparent,
                                occurred_at, attempt, body)
    SELECT %s, 'b' || n, 'Probe', 1, 'b' || n, '00-' || repeat('1', 32) || '-' || repeat('2', 16) || '-01',
           now(), 1, convert_to('{"order_id": "b' || n || '"}', 'UTF8')
      FROM generate_series(1, %s) AS n
"""


def backlog(rig, queue, count):
    with rig.session.transaction() as tx:
        tx.execute(BACKLOG, (queue, count))


def test_a_queue_that_takes_nothing_costs_a_line_and_no_other_queue_its_latency(rig, caplog):
    """REL7: though it has ten thousand rows; and all of them go out once it takes them."""
    rig.rabbit.delete_queue(f"{PREFIX}.batch")
    backlog(rig, "batch", 10_000)
    rig.relay()
    rig.consumer("single")
    rig.send("single", *probes(1))
    rig.wait_for_effects("single", 1)
    latencies_s = []
    for number in range(1, 40):
        begun_s = time.monotonic()
        rig.send("single", *probes(1, start=number))
        wait_until(lambda count=number + 1: len(rig.effects("single")) == count, 20, every_s=0.005)
        latencies_s.append(time.monotonic() - begun_s)
    assert sorted(latencies_s)[len(latencies_s) // 2] < 0.25
    refusals = [each for each in caplog.messages if "was returned" in each]
    assert len(refusals) == 1
    assert "2000 refusals" in refusals[0]
    assert (
        rig.value("SELECT max(refusals) FROM ordermq.outbox WHERE available_at > now() + interval '99 s'") < 9
    )

    declare(rig.settings)
    wait_until(lambda: outbox_rows(rig) == 0, 60, what="an empty outbox")
    assert rig.rabbit.depth(f"{PREFIX}.batch") == 10_000
    assert "no message to 'batch' waits any more" in caplog.text


def test_rows_of_other_queues_go_out_while_those_of_a_queue_that_takes_nothing_are_put_off(rig):
    """REL7: not only after all twenty thousand; and a later row of an order that waits does not."""
    rig.rabbit.delete_queue(f"{PREFIX}.batch")
    backlog(rig, "batch", 20_000)
    with rig.session.transaction() as tx:
        tx.send([Command("single", "later", "b20000", Probe(order_id="later"))])
        tx.send([Command("single", "free", "free", Probe(order_id="free"))])
    rig.relay()
    rig.consumer("single")
    wait_until(lambda: rig.effects("single"), 20, every_s=0.005, what="a row of another queue")
    assert rig.value("SELECT count(*) FROM ordermq.outbox WHERE available_at <= now()") > 1
    assert rig.effects("single") == ["free"]
    wait_until(lambda: not rig.rows("SELECT FROM ordermq.outbox WHERE refusals = 0 OFFSET 1"), 20)
    assert rig.effects("single") == ["free"]


def test_rows_that_wait_for_another_queue_s_are_not_forgotten_when_theirs_takes_messages(rig, caplog):
    for queue in ("batch", "single"):
        rig.rabbit.delete_queue(f"{PREFIX}.{queue}")
    with rig.session.transaction() as tx:
        for n in range(20):
            tx.send([Command("batch", f"x{n}", f"o{n}", Probe(order_id=f"x{n}"))] if n < 10 else [])
            tx.send([Command("single", f"y{n}", f"o{n}", Probe(order_id=f"y{n}"))])
    relay = rig.relay(refused_base_s=0.2, refused_cap_s=0.3)
    wait_until(lambda: {"batch", "single"} <= set(relay._refusing.keys), 20, what="two queues held")
    with rig.session.transaction() as tx:
        tx.execute("LOCK ordermq.outbox IN SHARE ROW EXCLUSIVE MODE")  # the relay updates these rows too
        outbox.park(tx, "single", "returned", 600.0, limit=100)

    declare(rig.settings, queues=["single"])
    wait_until(lambda: rig.rabbit.depth(f"{PREFIX}.single") == 10, 20, what="the rows that wait for no other")
    assert "no message to 'single'" not in caplog.text
    declare(rig.settings)
    wait_until(lambda: outbox_rows(rig) == 0, 20, what="an empty outbox")


def test_a_full_queue_is_filled_again_as_it_has_room_and_another_relay_knows_of_it(rig, caplog):
    full = {"x-queue-type": "quorum", "x-max-length": 20, "x-overflow": "reject-publish"}
    rig.rabbit.delete_queue(f"{PREFIX}.batch")
    rig.rabbit.declare_bound(f"{PREFIX}.batch", PREFIX, "batch", full)
    # A quorum queue refuses only what comes after its limit was passed: of one burst it has taken 256.
    backlog(rig, "batch", 1000)
    first = rig.relay(refused_base_s=0.2, nacked_cap_s=0.3, standby_s=0.1)
    wait_until(lambda: rig.rows("SELECT FROM ordermq.outbox WHERE refusals > 0"), 20, what="refusals")
    rig.relay(refused_base_s=0.2, nacked_cap_s=0.3, standby_s=0.1)
    first.stop()
    assert first.join(20)
    rig.consumer("batch")
    rig.wait_for_effects("batch", 1000, timeout_s=60.0)
    wait_until(lambda: outbox_rows(rig) == 0, 20, what="an empty outbox")
    assert sum("was nacked" in each for each in caplog.messages) <= 2


def test_the_messages_of_one_order_keep_their_order(rig):
    with rig.session.transaction() as tx:
        tx.send([
            Command("single", f"m{n:04}", f"order{n % 7}", Probe(order_id=f"{n % 7}:{n:04}"))
            for n in range(300)
        ])  # fmt: skip
    rig.relay(batch=50)
    rig.consumer("single", threads=1)
    rig.wait_for_effects("single", 300)
    arrived = [row[0] for row in rig.rows("SELECT order_id FROM effects ORDER BY at")]
    for order in range(7):
        mine = [each for each in arrived if each.startswith(f"{order}:")]
        assert mine == sorted(mine)


def test_of_two_relays_one_works_and_the_other_takes_over(rig):
    first = rig.relay(standby_s=0.1)
    second = rig.relay(standby_s=0.1)
    rig.consumer("batch")
    rig.send("batch", *probes(200))
    rig.wait_for_effects("batch", 200)

    first.stop()
    assert first.join(10)
    rig.send("batch", *probes(200, start=200))
    assert rig.wait_for_effects("batch", 400) == [each.order_id for each in probes(400)]
    assert second.failure is None


def test_a_broker_that_restarts_under_load_loses_no_row(rig):
    rig.relay(batch=100)
    rig.consumer("batch")
    rig.send("batch", *probes(1000))
    rig.wait_for_effects("batch", 50)
    rig.stack.broker.kill()
    rig.send("batch", *probes(1000, start=1000))
    rig.stack.broker.start()
    assert rig.wait_for_effects("batch", 2000, timeout_s=40.0) == [each.order_id for each in probes(2000)]
    wait_until(lambda: outbox_rows(rig) == 0, 20, what="an empty outbox")


def test_the_outbox_is_measured(rig):
    rig.relay()
    wait_until(
        lambda: metrics.REGISTRY.get_sample_value("ordermq_outbox_pending") == 0.0, 10, what="a measure"
    )


def test_a_lock_in_the_relays_way_is_waited_for(rig):
    rig.settings = replace(rig.settings, database=replace(rig.settings.database, lock_timeout_s=0.2))
    relay = rig.relay()
    rig.send("single", *probes(1))
    wait_until(lambda: outbox_rows(rig) == 0, 20, what="an active relay")
    with rig.session.transaction() as tx:
        tx.execute("LOCK TABLE ordermq.outbox")
        wait_until(lambda: "lock timeout" in str(relay._health.ready().reasons), 20, what="a lock timeout")
        tx.send([Command("single", "later", "later", Probe(order_id="later"))])
    wait_until(lambda: outbox_rows(rig) == 0, 20, what="an empty outbox")
    assert relay.failure is None


def test_a_relay_refused_by_the_broker_ends_at_once_though_it_has_nothing_to_publish(rig):
    rig.settings = replace(
        rig.settings, broker=replace(rig.settings.broker, password=Secret("not the password"))
    )
    relay = rig.relay()
    assert relay.join(20)
    assert isinstance(relay.failure, AccessRefused)


def test_a_standby_shows_signs_of_life_and_hears_the_stop_however_long_it_waits(rig):
    with rig.session.transaction() as tx:
        assert outbox.claim(tx, 1) is not None
        relay = rig.relay(standby_s=60.0)
        wait_until(lambda: relay._health.ready().is_good, 10, what="a standby")
        beats = []
        relay._health.beat = lambda: beats.append(None)
        wait_until(lambda: len(beats) >= 2, 20, what="two signs of life")
        relay.stop()
        assert relay.join(20)


def test_many_messages_of_one_order_on_a_slow_broker_outlast_no_transaction(rig):
    """REL4: Each is confirmed before the next: together they take longer than a transaction may idle."""
    rig.settings = replace(rig.settings, database=replace(rig.settings.database, idle_in_transaction_s=2.0))
    with rig.session.transaction() as tx:
        tx.send([Command("single", f"m{n:03}", "one", Probe(order_id=f"{n:03}")) for n in range(40)])
    relay = rig.relay()
    publish_many = relay._publisher.publish_many

    def slowly(publishings, **kwargs):
        time.sleep(0.05)
        return publish_many(publishings, **kwargs)

    relay._publisher.publish_many = slowly
    wait_until(lambda: outbox_rows(rig) == 0, 20, what="an empty outbox")
    assert rig.rabbit.depth(f"{PREFIX}.single") == 40
    assert relay.failure is None


def test_a_claim_a_slow_broker_cannot_take_in_time_is_left_in_part_and_is_no_outage(rig, caplog):
    # REL4: 300 rows at 100 KB/s take 2 s. A claim may take 1 s, the second half of it for confirms only.
    rig.settings = replace(rig.settings, database=replace(rig.settings.database, idle_in_transaction_s=2.0))
    with rig.session.transaction() as tx:
        tx.send([Command("single", f"m{n:03}", f"o{n}", Probe(order_id=f"o{n}")) for n in range(300)])
    with FaultProxy(rig.stack.broker.port) as proxy:
        rig.settings = replace(
            rig.settings, broker=replace(rig.settings.broker, hosts=(proxy.address,), publish_window=5)
        )
        proxy.bandwidth(100_000)
        relay = rig.relay(batch=300)
        wait_until(lambda: 0 < outbox_rows(rig) < 300, 20, what="a claim that ended early")
        wait_until(lambda: outbox_rows(rig) == 0, 30, what="an empty outbox")
    assert relay.failure is None
    assert "stands still" not in caplog.text
    assert rig.rabbit.depth(f"{PREFIX}.single") == 300


def test_rows_of_one_order_that_came_due_in_another_order_leave_as_they_were_written(rig):
    with rig.session.transaction() as tx:
        tx.send([
            Command("single", "first", "o", Probe(order_id="first")),
            Command("single", "second", "o", Probe(order_id="second")),
        ])  # fmt: skip
        # As when the second's transaction began earlier and then waited for the first's.
        tx.execute(
            "UPDATE ordermq.outbox SET available_at = now() - interval '1 s' WHERE message_id = 'second'"
        )
    rig.relay()
    rig.consumer("single", threads=1)
    rig.wait_for_effects("single", 2)
    assert rig.rows("SELECT order_id FROM effects ORDER BY at") == [("first",), ("second",)]


def test_a_gauge_that_cannot_be_read_costs_nothing_and_a_standby_shows_none(rig, caplog):
    def broken(tx, config):
        tx.execute("SELECT nonsense")

    def of_other_labels(tx, config):
        return {metrics.dead_letters_by_cause: {("one", "two", "three", "four"): 1}}

    def of_nothing(tx, config):
        return {metrics.dead_letters_open: None}

    def waiting(tx, config):
        tx.fetch_all("SELECT pg_sleep(5)")

    with rig.session.transaction() as tx:
        (probe,) = probes(1)
        dead_letters.keep(tx, "single", [(rig.envelope(probe), b"{}", "no")])
    meter = TableMeter([broken, of_other_labels, of_nothing, waiting], None)
    meter(rig.session, is_active=True)
    assert caplog.text.count("metrics of the tables cannot be read") == 4
    assert shown("dead_letters_open") == 1
    meter(rig.session, is_active=False)
    assert shown("dead_letters_open") == 0


def shown(name):
    return metrics.REGISTRY.get_sample_value(f"ordermq_{name}")


def test_rows_published_without_a_confirm_stay_and_are_published_again(rig):
    """OUT1, REL2: a row is deleted only after its confirm."""
    broker = rig.settings.broker
    with FaultProxy(rig.stack.broker.port) as proxy:
        rig.settings = replace(
            rig.settings, broker=replace(broker, hosts=(proxy.address,), confirm_timeout_s=1.0)
        )
        relay = rig.relay()
        rig.send("single", *probes(1))
        wait_until(lambda: outbox_rows(rig) == 0, 20, what="the relay to work")

        proxy.blackhole(Direction.TO_CLIENT)  # what is published arrives, and no confirm comes back
        rig.send("single", *probes(5, start=1))
        wait_until(lambda: rig.rabbit.depth(f"{PREFIX}.single") == 6, 20, what="the rows at the broker")
        wait_until(lambda: not relay._health.ready().is_good, 10, what="the confirms given up")
        assert outbox_rows(rig) == 5

        proxy.heal()
        wait_until(lambda: outbox_rows(rig) == 0, 20, what="an empty outbox")
        assert rig.rabbit.depth(f"{PREFIX}.single") >= 6 + 5

"""Processes that die exactly between two steps: what is then, who repairs it, and that all ends well.

Each process runs with a failpoint (ordermq/failpoints.py), ends there with 137, and has a
successor, which may have the next failpoint. docs/guarantees.md names them row by row.
"""

import json

import pytest

from ordermq.failpoints import EXIT_CODE
from ordermq.shop.cancel import cancel_order
from ordermq.shop.intake.generate import generate, json_line
from ordermq.testing import wait_until
from tests.functional.test_events import look_at_events
from tests.functional.test_pipeline_orders import BEING_PAID, booked
from tests.support.least import LeastPrivilege
from tests.support.pipeline import QUEUES
from tests.support.rabbit import Rabbit
from tests.support.shop import an_order

COUNT = 6
SETTLED = "SELECT count(*) FROM ordermq.inbox WHERE queue = %s"
OUTBOX = "SELECT count(*) FROM ordermq.outbox"
EVENTS_ON = {"ORDERMQ_TOPOLOGY_EVENTS": "true"}
AT_END = """
    SELECT next_position = (SELECT max(first_position + records) FROM ordermq.positions) FROM ordermq.feeds
"""


@pytest.fixture
def quick(pipeline):
    """The pipeline with leases so short that what a dead process held is taken over soon."""
    pipeline.env |= {
        "ORDERMQ_CONSUMER_LEASE_S": "1.6",
        "ORDERMQ_CONSUMER_CALL_TIMEOUT_S": "0.7",
        "ORDERMQ_SHOP_GATEWAY_TIMEOUT_S": "0.6",
        "ORDERMQ_SHOP_CAPTURE_SETTLES_S": "1.5",
    }
    return pipeline


@pytest.fixture
def rabbit(vhost):
    rabbit = Rabbit(vhost.broker, vhost.settings)
    yield rabbit
    rabbit.close()


class Mortal:
    """One consumer, or the relay, that dies at each of its points in turn; its last successor lives."""

    def __init__(self, pipeline, name, *points):
        self.name = name
        self._pipeline = pipeline
        self._points = list(points)
        self.begin()

    def begin(self):
        self.point = self._points.pop(0) if self._points else ""
        served = self._served() if not self.point else 0
        self._pipeline.begin(self.name, ORDERMQ_FAILPOINT=f"{self.point}:exit" if self.point else "")
        if not self.point:
            wait_until(lambda: self._served() > served, 30.0, what=f"the last {self.name} serves")

    def die(self):
        """Wait for the death; return the point it died at."""
        process, point = self._pipeline.process(self.name), self.point
        assert process.wait(30) == EXIT_CODE, (self.name, point)
        assert any(f"failpoint {point}:exit@1 reached" in line["message"] for line in self.logged())
        return point

    def logged(self):
        return self._pipeline.logged_by(self.name)

    def _served(self):
        words = "serving" if self.name == "relay" else "subscribed"
        return sum(words in line["message"] for line in self.logged())


def file_of(orders):
    return b"".join(json_line(order) for order in orders)


def test_a_tool_that_dies_around_a_commit_or_a_confirm_is_run_again_and_adds_nothing(pipeline, rabbit):
    orders = list(generate(COUNT, 41))
    pipeline.load(orders)

    def publish(point=""):
        return pipeline.run(
            "ordermq-publish", "orders", "-", "--json",
            stdin=file_of(orders), ORDERMQ_FAILPOINT=f"{point}:exit" if point else "",
        )  # fmt: skip

    assert publish("place.before_commit").returncode == EXIT_CODE
    assert pipeline.value("SELECT count(*) FROM shop.orders") == 0
    assert publish("bulk.after_commit").returncode == EXIT_CODE
    assert pipeline.value("SELECT count(*) FROM shop.orders") == COUNT
    again = publish()
    assert '"duplicate": 6' in again.stdout, again.stdout

    bodies = "\n".join(f'{{"order_id": "{order.order_id}"}}' for order in orders).encode()
    argv = ("ordermq-publish", "messages", "-", "--routing-key", "points")
    for point, code in (("sending.after_confirm", EXIT_CODE), ("", 0)):
        env = {"ORDERMQ_FAILPOINT": f"{point}:exit"} if point else {}
        found = pipeline.run(*argv, stdin=bodies, **env)
        assert found.returncode == code, found.stderr
    assert rabbit.depth("orders.points") == 2 * COUNT
    pipeline.begin()
    pipeline.end_well(COUNT)
    assert pipeline.value("SELECT count(*) FROM shop.points") == pipeline.count("completed")


def test_a_relay_that_dies_at_any_point_publishes_again_what_was_not_deleted(pipeline, rabbit):
    orders = list(generate(COUNT, 43))
    pipeline.load(orders)
    pipeline.place(orders)
    # How many messages more are on the broker afterwards, and how many rows left in the outbox.
    points = {
        "relay.after_claim": ({0}, COUNT),
        "publisher.mid_write": (set(range(COUNT)), COUNT),
        "publisher.after_write": (set(range(COUNT + 1)), COUNT),
        "publisher.before_confirm": (set(range(1, COUNT + 1)), COUNT),
        "relay.after_publish": ({COUNT}, COUNT),
        "relay.before_commit": ({COUNT}, COUNT),
        "relay.after_commit": ({COUNT}, 0),
    }
    depth = 0
    relay = Mortal(pipeline, "relay", *points)
    for point, (published, left) in points.items():
        assert relay.die() == point
        assert pipeline.value(OUTBOX) == left, point
        now = rabbit.depth("orders.inventory")
        assert now - depth in published, point
        depth = now
        relay.begin()
    pipeline.env["ORDERMQ_CONSUMER_BATCH"] = "1"  # copies in one batch would count as one delivery
    pipeline.begin(*QUEUES)
    wait_until(lambda: pipeline.duplicates("inventory") == depth - COUNT, 20.0)
    pipeline.end_well(COUNT)


def test_a_consumer_that_dies_around_its_transaction_or_its_ack_has_its_effect_once(quick):
    orders = list(generate(COUNT, 47))
    quick.load(orders)
    mortals = [
        Mortal(quick, "inventory", "workers.before_transaction", "settle.after_commit"),
        Mortal(quick, "points", "settle.after_handler", "runtime.before_ack"),
        Mortal(quick, "shipping", "settle.before_commit", "runtime.after_ack"),
    ]
    quick.begin("relay", "payment", "notify")
    quick.place(orders)
    for mortal in mortals:
        mortal.die()
        assert quick.value(SETTLED, mortal.name) == 0, mortal.point  # nothing of the transaction remains
        mortal.begin()
        mortal.die()
        settled = quick.value(SETTLED, mortal.name)
        assert settled > 0, mortal.point  # all of it remains
        is_acked = mortal.point == "runtime.after_ack"
        mortal.begin()
        if not is_acked:  # what was settled is delivered again, recognised, and not done twice
            wait_until(lambda m=mortal, n=settled: quick.duplicates(m.name) == n, 20.0)
    quick.end_well(COUNT)


def test_a_payment_consumer_that_dies_around_its_call_charges_once(quick, sandbox):
    orders = [an_order(f"o-{number}") for number in range(COUNT)]
    quick.stock(p_1=COUNT + 2)
    payment = Mortal(
        quick, "payment",
        "external.before_call", "external.after_call", "external.before_complete", "external.after_complete",
    )  # fmt: skip
    notify = Mortal(quick, "notify", "external.before_call", "external.after_complete")
    quick.begin("relay", "inventory", "points", "shipping")
    quick.place(orders)

    assert payment.die() == "external.before_call"
    assert quick.value("SELECT count(*) FROM shop.payments") > 0  # the intents
    payment.begin()
    assert payment.die() == "external.after_call"
    charged = sum(booked(sandbox, "capture").values())
    assert charged > 0
    assert quick.value("SELECT count(*) FROM shop.payments WHERE state = 'captured'") == 0
    payment.begin()
    assert payment.die() == "external.before_complete"
    assert quick.value("SELECT count(*) FROM shop.payments WHERE state = 'captured'") == 0
    payment.begin()
    assert payment.die() == "external.after_complete"
    told = quick.value("SELECT count(*) FROM shop.payments WHERE state = 'captured'")
    assert told > 0
    payment.begin()
    wait_until(lambda: quick.duplicates("payment") >= told, 20.0)

    assert notify.die() == "external.before_call"
    notify.begin()
    late = [an_order(f"late-{number}") for number in range(2)]  # all others may have been leased by the dead
    quick.place(late)
    assert notify.die() == "external.after_complete"
    notify.begin()
    quick.end_well(COUNT + len(late))
    assert booked(sandbox, "capture") == {order.order_id: 1 for order in orders + late}
    # A lease that ran out before the call cannot be told from one that ran out after it.
    unknown = quick.rows("SELECT order_id FROM shop.notifications WHERE state = 'unknown'")
    assert unknown
    assert set(unknown) == set(
        quick.rows("SELECT order_id FROM shop.orders WHERE attention_reason IS NOT NULL")
    )


def test_a_refund_whose_consumer_dies_at_any_point_is_made_once_and_a_retry_or_a_death_is_kept_once(
    quick, sandbox
):
    quick.stock(p_1=5)
    with quick.session.transaction() as tx:
        tx.execute("""
            CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE 'planted' USING ERRCODE = 'serialization_failure'; END $$;
            CREATE TRIGGER planted BEFORE INSERT ON shop.shipments FOR EACH ROW
            WHEN (NEW.order_id = 'o-2') EXECUTE FUNCTION refuse()
        """)
    stages = ("before_call", "after_call", "before_complete", "after_complete")
    payment = Mortal(quick, "payment", *(f"external.{stage}/RefundPayment" for stage in stages))
    shipping = Mortal(
        quick, "shipping",
        "settle.before_retry_commit", "settle.after_retry_commit",
        "settle.before_dead_commit", "settle.after_dead_commit",
    )  # fmt: skip
    quick.begin("relay", "inventory", "notify", "points")
    quick.place([an_order("o-2")])
    outcomes = "SELECT outcome FROM ordermq.inbox WHERE queue = 'shipping'"
    assert shipping.die() == "settle.before_retry_commit"
    assert quick.rows(outcomes) == []
    shipping.begin()
    assert shipping.die() == "settle.after_retry_commit"
    assert quick.rows(outcomes) == [("retry",)]
    with quick.session.transaction() as tx:
        tx.execute("""
            ALTER TABLE shop.shipments ADD CONSTRAINT planted CHECK (order_id <> 'o-2');
            DROP TRIGGER planted ON shop.shipments
        """)
    shipping.begin()
    assert shipping.die() == "settle.before_dead_commit"
    assert quick.lines("ordermq", "dead", "list") == []
    shipping.begin()
    assert shipping.die() == "settle.after_dead_commit"
    shipping.begin()
    wait_until(lambda: quick.duplicates("shipping") >= 1, 20.0)
    (letter,) = quick.lines("ordermq", "dead", "list")

    # Only now: a consumer that dies at a refund takes the result of any capture with it.
    sandbox.behave("payment", latency_ms=500)
    quick.place([an_order("o-1")])
    wait_until(lambda: quick.value(BEING_PAID) == 1, 20.0)
    with quick.session.transaction() as tx:
        cancel_order("o-1", tx, reason="changed their mind")
    refunds = []
    for stage in stages:
        assert payment.die() == f"external.{stage}/RefundPayment"
        refunds.append(sum(booked(sandbox, "refund").values()))
        payment.begin()
    assert refunds == [0, 1, 1, 1]

    with quick.session.transaction() as tx:
        tx.execute("ALTER TABLE shop.shipments DROP CONSTRAINT planted")
    quick.ok("ordermq", "dead", "replay", str(letter["dead_letter_id"]), "--reason", "mended", "--yes")
    quick.end_well(2)
    assert dict(quick.rows("SELECT order_id, status FROM shop.orders")) == {
        "o-1": "refunded",
        "o-2": "completed",
    }
    assert booked(sandbox, "capture") == {"o-1": 1, "o-2": 1}
    assert booked(sandbox, "refund") == {"o-1": 1}


def test_a_relay_that_dies_between_confirm_and_commit_doubles_events_and_commands_never_wait(
    pipeline, vhost, database
):
    """EVP2: while the exchange is missing, when the relay is killed, and when the broker is killed."""
    pipeline.env |= EVENTS_ON
    least = LeastPrivilege(pipeline, vhost, database)
    least.grant_on_database()
    least.grant_on_broker()
    pipeline.begin("inventory", "payment", "points", "shipping", "notify")
    pipeline.begin("relay", **least("relay"))
    pipeline.stock(p_1=1000)
    pipeline.place([an_order(f"A-{number}") for number in range(5)])
    pipeline.wait_for(5, "completed")
    stalled = "events are not published"
    wait_until(lambda: pipeline.has_logged("relay", stalled), 20, what="a warning")
    published = "SELECT last_event FROM ordermq.feeds"
    assert pipeline.value(published) is None
    pipeline.ok("ordermq", "topology", "apply")
    wait_until(lambda: (pipeline.value(published) or 0) > 20, 20, what="events that waited")
    assert pipeline.has_logged("relay", "events are published again")
    assert pipeline.stop("relay") == {"relay": 0}

    for point in ("events.after_confirm", "events.before_commit"):
        pipeline.begin("relay", ORDERMQ_FAILPOINT=f"{point}:exit", **least("relay"))
        pipeline.place([an_order(f"{point}-{number}") for number in range(3)])
        assert pipeline._processes.pop("relay").wait(30) == EXIT_CODE
    pipeline.begin("relay", **least("relay"))
    pipeline.wait_for(11, "completed")
    wait_until(lambda: pipeline.value(AT_END), 20, what="the end of the stream")
    found = pipeline.run("ordermq", "events", "check", "--json", **least("events"))
    report = json.loads(found.stdout)
    assert (report["ok"], report["behind"], report["missing"]) == (True, 0, [])
    assert report["doubles"] > 0
    look_at_events(pipeline)
    pipeline.stop()
    least.revoke()

"""The payment service goes away for longer than any number of attempts, and comes back."""

import time

import pytest

from ordermq.amqp import apply
from ordermq.config.loader import Loaded
from ordermq.observe.metrics import REGISTRY as METRICS
from ordermq.shop import cancel_order
from ordermq.shop.settings import ShopSettings
from ordermq.testing import wait_until
from ordermq.topology import build
from tests.support.connection import manager_of
from tests.support.runtime import PREFIX
from tests.support.shop import QUEUES, REGISTRY, an_order, open_shop

FAILURES, THREADS, CAP_S = 5, 4, 1.0
REASON = {"queue": "payment", "reason": "payment gateway"}
UNTIL = "the payment gateway answers"


@pytest.fixture
def shop(rig, database, sandbox):
    """Orders and their commands; ``rig`` has the processes that handle them."""
    manager = manager_of(rig.settings.broker)
    try:
        apply(manager, build(PREFIX, QUEUES))
    finally:
        manager.close(2.0)
    with open_shop(database, sandbox) as shop:
        shop.load(p_1=100)
        yield shop


def start(rig, shop, queue, **settings):
    urls = {"payment_url": shop.sandbox.payment_url, "sms_url": shop.sandbox.sms_url}
    config = Loaded(rig.settings, {"shop": ShopSettings(gateway_timeout_s=0.3, **urls)}, {})
    limits = {"threads": THREADS, "breaker_failures": FAILURES, "breaker_cap_s": CAP_S}
    return rig.consumer(queue, registry=REGISTRY, config=config, **(limits | settings))


def reserve(shop, *order_ids):
    """Place orders and reserve their stock; their captures wait in the outbox."""
    shop.place(*(an_order(order_id) for order_id in order_ids))
    shop.handle(*shop.take("inventory", types=["ReserveStock"]))


def capture_and_cancel(shop, order_id):
    """Leave an order to be refunded: cancelled while its capture was under way."""
    reserve(shop, order_id)
    (message,) = shop.take("payment")
    claim, request = shop.prepare(message)
    with shop.session.transaction() as tx:
        cancel_order(order_id, tx, "changed my mind")
    shop.complete(message, claim, shop.call(message, request))


def go_away(sandbox, how):
    sandbox.stop() if how == "down" else sandbox.freeze()


def come_back(sandbox, how):
    sandbox.start() if how == "down" else sandbox.thaw()


def calls():
    return sum(
        METRICS.get_sample_value("ordermq_handler_seconds_count", {"queue": "payment", "type": kind}) or 0
        for kind in ("CapturePayment", "RefundPayment")
    )


def is_paused(consumer):
    return METRICS.get_sample_value("ordermq_paused", REASON) == 1 and UNTIL in str(consumer._health.ready())


def assert_all_ended_well(rig, shop, completed, caplog):
    for queue in set(QUEUES) - {"payment"}:
        start(rig, shop, queue)
    done = "SELECT count(*) FROM shop.orders WHERE status IN ('completed', 'refunded') AND pending = '{}'"
    wait_until(lambda: rig.value(done) == completed, 30, what="every order at its end")
    assert rig.value("SELECT count(*) FROM ordermq.dead_letters") == 0
    assert METRICS.get_sample_value("ordermq_paused", REASON) == 0
    said = [record.getMessage() for record in caplog.records if record.name == "ordermq.consumer.pause"]
    *paused, resumed = [line.split(":")[0] for line in said]  # a pause says up to three different reasons
    assert (set(paused), resumed) == ({f"paused until {UNTIL}"}, "resumed")
    assert len(paused) <= 3
    wait_until(lambda: rig.value("SELECT count(*) FROM ordermq.outbox") == 0, 10, what="an empty outbox")
    assert shop.reconcile().is_ok


@pytest.mark.parametrize("how", ["down", "frozen"])
def test_an_outage_costs_no_attempt_kills_nothing_and_is_waited_for_idle(rig, shop, how, caplog):
    capture_and_cancel(shop, "refund")
    reserve(shop, *(f"o-{number}" for number in range(12)))
    go_away(shop.sandbox, how)
    rig.relay()
    before, begun_s = calls(), time.monotonic()
    payment = start(rig, shop, "payment")
    wait_until(lambda: is_paused(payment), 20, what="the pause")
    # Probes, one at a time, are all that is called: more of them than there are attempts
    at_most = FAILURES + THREADS
    wait_until(lambda: calls() - before > at_most + rig.settings.retry.attempts, 30, what="probes")
    assert calls() - before <= at_most + 10 + 5 * (time.monotonic() - begun_s) / CAP_S
    assert is_paused(payment)
    assert payment._health.live().is_good
    assert not rig.rows("SELECT FROM ordermq.outbox WHERE attempt > 1")
    assert rig.value("SELECT count(*) FROM ordermq.dead_letters") == 0

    come_back(shop.sandbox, how)
    assert_all_ended_well(rig, shop, 13, caplog)


@pytest.mark.parametrize("how", ["down", "frozen"])
def test_a_lonely_order_is_asked_for_later_and_later_until_the_service_is_back(rig, shop, how, caplog):
    reserve(shop, "o-1")
    go_away(shop.sandbox, how)
    rig.relay()
    payment = start(rig, shop, "payment", breaker_cap_s=0.1)
    row = "SELECT hop, attempt, last_error FROM ordermq.outbox WHERE routing_key = 'payment'"
    [(_, attempt, error)] = wait_until(
        lambda: [row for row in rig.rows(row) if row[0] > FAILURES + 1], 30, what="more hops than attempts"
    )
    assert attempt == 1
    words = "cannot connect" if how == "down" else "no usable answer"
    assert words in error
    shown = wait_until(
        lambda: [each.note for each in shop.show("o-1").messages if each.place == "outbox"], 10,
        what="it waits again",
    )  # fmt: skip
    assert words in shown[0]
    assert is_paused(payment)

    come_back(shop.sandbox, how)
    assert_all_ended_well(rig, shop, 1, caplog)


def test_a_long_outage_gives_the_deliveries_back_and_goes_on_asking(rig, shop, caplog):
    reserve(shop, *(f"o-{number}" for number in range(12)))
    go_away(shop.sandbox, "down")
    rig.relay()
    start(rig, shop, "payment", consumer_timeout_s=1.0)
    given_back = "paused for long"
    wait_until(lambda: given_back in caplog.text, 20, what="the deliveries are given back")
    before = calls()
    wait_until(lambda: calls() > before + 1, 20, what="probes after that")
    come_back(shop.sandbox, "down")
    assert_all_ended_well(rig, shop, 12, caplog)


def test_an_sms_service_that_is_down_costs_no_attempt_and_no_customer_is_told_twice(rig, shop):
    reserve(shop, *(f"o-{number}" for number in range(3)))
    for message in shop.take("payment"):
        shop.attempt(message)
    go_away(shop.sandbox, "down")
    rig.relay()
    notify = start(rig, shop, "notify", breaker_cap_s=0.1)
    failed = "SELECT count(*) FROM ordermq.inbox WHERE queue = 'notify' AND hop > %s"
    wait_until(lambda: rig.value(failed, rig.settings.retry.attempts) > 0, 30, what="more hops than attempts")
    assert "the sms gateway answers" in str(notify._health.ready())
    assert not rig.rows("SELECT FROM ordermq.outbox WHERE attempt > 1")

    come_back(shop.sandbox, "down")
    sent = "SELECT count(*) FROM shop.notifications WHERE state = 'sent'"
    wait_until(lambda: rig.value(sent) == 3, 30, what="every customer is told")
    assert sorted(each["reference"] for each in shop.sandbox.ledger("sms")) == sorted(
        f"o-{number}:order_confirmed" for number in range(3)
    )
    assert rig.value("SELECT count(*) FROM ordermq.dead_letters") == 0


def test_one_order_the_service_never_takes_keeps_no_other_waiting(rig, shop):
    tried_again = "SELECT hop FROM ordermq.outbox WHERE correlation_id = 'poison' AND hop > 7"
    shop.place(an_order("poison", card="tok_0006"))  # 503 with Retry-After, always
    shop.handle(*shop.take("inventory", types=["ReserveStock"]))
    rig.relay()
    payment = start(rig, shop, "payment", breaker_failures=2, breaker_cap_s=30.0)
    wait_until(lambda: rig.rows(tried_again), 60, what="a breaker that one order has opened again and again")
    captured = "SELECT count(*) FROM shop.payments WHERE state = 'captured'"
    for number in range(2):
        wait_until(lambda: is_paused(payment), 30, what="the pause")
        reserve(shop, f"o-{number}")
        begun_s = time.monotonic()
        wait_until(lambda paid=number + 1: rig.value(captured) == paid, 30, what="an ordinary order paid")
        assert time.monotonic() - begun_s < 12.0  # of the 30 s of a breaker that has opened so often
    assert rig.value("SELECT status FROM shop.orders WHERE order_id = 'poison'") == "reserved"
    assert not rig.rows("SELECT FROM ordermq.outbox WHERE attempt > 1")

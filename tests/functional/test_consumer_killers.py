"""Messages that kill the process that handles them, or never let it go: in processes of their own."""

import signal
from contextlib import contextmanager

import pytest

from ordermq.testing import wait_until
from tests.support.runtime import PREFIX, probes
from tests.support.supervised import Supervised

CODES = {"exit": 3, "sigkill": -signal.SIGKILL, "segfault": -signal.SIGSEGV}
DEADLINE = {
    "ORDERMQ_CONSUMER_HANDLER_DEADLINE_S": "1",
    "ORDERMQ_DATABASE_STATEMENT_TIMEOUT_S": "0.9",
    "ORDERMQ_DATABASE_LOCK_TIMEOUT_S": "0.5",
}


@pytest.fixture
def supervise(rig, tmp_path):
    """Return a starter of one consumer process."""
    started = []

    def start(queue, **env):
        started.append(Supervised(rig, queue, tmp_path, **env))
        return started[-1]

    yield start
    for each in started:
        each.kill()


def dead_letters(rig):
    return dict(rig.rows("SELECT message_id, reason FROM ordermq.dead_letters"))


def in_hand(rig):
    return rig.value("SELECT (SELECT count(*) FROM ordermq.starts) + (SELECT count(*) FROM ordermq.leases)")


@contextmanager
def one_dead_letter(rig, consumer, queue, neighbours):
    """Keep the consumer running until one message is dead; then its neighbours must be well."""
    consumer.run_until(lambda: len(dead_letters(rig)) == 1 and len(rig.effects(queue)) == len(neighbours))
    yield dead_letters(rig)
    assert rig.effects(queue) == [each.order_id for each in neighbours]
    assert rig.rows("SELECT order_id FROM deaths") == [("o00900",)]  # on_dead has run
    wait_until(lambda: rig.rabbit.depth(f"{PREFIX}.{queue}") == 0, 20.0, what="an empty queue")
    assert consumer.stop() == 0
    assert in_hand(rig) == 0


@pytest.mark.parametrize(
    ("queue", "queue_type", "way"),
    [
        ("batch", "quorum", "exit"),
        ("batch", "classic", "segfault"),
        ("single", "quorum", "segfault"),
        ("single", "classic", "sigkill"),
        ("call", "quorum", "sigkill"),
        ("call", "classic", "exit"),
    ],
)
def test_what_kills_its_process_is_a_dead_letter_after_three_starts_that_were_counted(
    rig, supervise, queue, queue_type, way
):
    """STA1: a start is committed before the message is read."""
    rig.use(queue_type)
    neighbours = probes(40)
    rig.relay()
    rig.publish(queue, *neighbours[:20], *probes(1, way, start=900), *neighbours[20:])
    consumer = supervise(queue)
    with one_dead_letter(rig, consumer, queue, neighbours) as found:
        assert found == {"o00900": "started 3 times and never ended: it kills the process"}
    assert consumer.ended == [CODES[way]] * 4  # at first it was one of many, and nobody counted


def test_killers_among_each_other_cost_their_neighbours_nothing(rig, supervise):
    neighbours = probes(60)
    rig.publish("single", *neighbours[:10], *probes(2, "exit", start=900), *neighbours[10:])
    consumer = supervise("single", ORDERMQ_CONSUMER_PREFETCH="40")
    consumer.run_until(lambda: len(dead_letters(rig)) == 2 and len(rig.effects("single")) == 60)
    assert set(dead_letters(rig)) == {"o00900", "o00901"}
    assert rig.effects("single") == [each.order_id for each in neighbours]
    assert consumer.stop() == 0
    assert in_hand(rig) == 0


@pytest.mark.parametrize("queue", ["batch", "call"])
def test_a_handler_that_never_returns_is_a_dead_letter_after_three_deadlines(rig, supervise, queue):
    """RUN4: past its deadline a handler ends the process."""
    neighbours = probes(20)
    rig.relay()
    rig.publish(queue, *neighbours[:10], *probes(1, "spin", start=900), *neighbours[10:])
    consumer = supervise(queue, **DEADLINE)
    with one_dead_letter(rig, consumer, queue, neighbours) as found:
        assert found == {"o00900": "started 3 times and never ended: it ran past its deadline"}
    assert consumer.ended == [75] * 3
    told = [line["message"] for line in consumer.logged() if line["log.level"] == "critical"]
    assert any("o00900" in each and "in end" in each and "probe.py" in each for each in told)


def test_a_handler_that_outlasts_many_deploys_is_no_killer(rig, supervise):
    rig.publish("single", *probes(1, "sleep", seconds=1.5))
    consumer = supervise("single", ORDERMQ_CONSUMER_DRAIN_DEADLINE_S="0.1")
    for deploy in range(5):
        consumer.start()
        wait_until(lambda n=deploy: subscriptions(consumer) > n, 20.0, what="the next process to subscribe")
        wait_until(lambda: rig.rabbit.depth(f"{PREFIX}.single") == 0, 20.0, what="the delivery")
        wait_until(lambda: rig.value(_IN_HANDLER), 20.0, what="the handler to run")
        assert consumer.stop() == 75
        assert in_hand(rig) == 0
    consumer.start()
    assert rig.wait_for_effects("single", 1) == ["o00000"]
    assert dead_letters(rig) == {}
    wait_until(lambda: in_hand(rig) == 0, 10.0, what="no start without end")


_IN_HANDLER = """
    SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
                      AND state = 'idle in transaction' AND query LIKE 'INSERT INTO effects%%')
"""


def subscriptions(consumer):
    return sum("subscribed" in line["message"] for line in consumer.logged())


def test_a_deadline_that_the_consumer_timeout_does_not_allow_is_refused_at_the_start(rig, supervise):
    consumer = supervise("single", ORDERMQ_CONSUMER_HANDLER_DEADLINE_S="1000")
    consumer.start()
    assert consumer.wait(20.0) == 78
    words = consumer.log.read_text()
    assert "consumer.handler_deadline_s" in words
    assert "consumer.consumer_timeout_s" in words

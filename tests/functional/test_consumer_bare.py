"""Handlers without an inbox: no row for what is done, the same rows for what is not."""

from dataclasses import replace

import pytest

from ordermq.task import DONE, Retry
from ordermq.testing import run_handler, wait_until
from tests.support.probe import BARE, handle_bare
from tests.support.runtime import probes


@pytest.fixture(autouse=True)
def nothing_seen():
    BARE.clear()


def assert_drained(rig, consumer):
    consumer.stop()
    assert consumer.join(20)
    assert rig.rabbit.depth("probe.bare") == 0  # what was not acked would have come back


def test_what_is_done_is_acked_without_a_word_to_the_database(rig):
    rig.publish("bare", *probes(300))
    nobody = replace(rig.settings.database, port=1)
    rig.settings = replace(rig.settings, database=nobody)

    consumer = rig.consumer("bare")

    wait_until(lambda: len(BARE) >= 300, 20.0)
    assert_drained(rig, consumer)
    assert sorted(BARE) == [each.order_id for each in probes(300)]
    assert rig.value("SELECT count(*) FROM ordermq.inbox") == 0


def test_a_retry_comes_back_through_the_outbox_and_a_death_is_kept_and_neighbours_are_handled_once(rig):
    rig.publish("bare", *probes(20), *probes(1, "retry", start=20), *probes(1, "dead", start=21))
    rig.consumer("bare")
    rig.relay()

    wait_until(lambda: rig.value("SELECT count(*) FROM ordermq.dead_letters") == 2, 20.0)

    assert rig.rows("SELECT order_id FROM deaths ORDER BY 1") == [("o00020",), ("o00021",)]
    assert rig.rows("SELECT message_id, outcome FROM ordermq.inbox ORDER BY 1") == [
        ("o00020", "dead"), ("o00021", "dead"),
    ]  # fmt: skip
    neighbours = [order_id for order_id in BARE if order_id < "o00020"]
    assert sorted(neighbours) == [each.order_id for each in probes(20)]
    assert BARE.count("o00020") == 3
    assert BARE.count("o00021") == 1


def test_one_that_raises_is_found_by_halving_and_costs_its_neighbours_nothing_but_a_repetition(rig):
    rig.publish("bare", *probes(8), *probes(1, "raise", start=8))
    consumer = rig.consumer("bare")
    rig.relay()

    wait_until(lambda: rig.value("SELECT count(*) FROM ordermq.dead_letters") == 1, 20.0)

    assert {each.order_id for each in probes(8)} <= set(BARE)
    assert_drained(rig, consumer)


def test_it_is_tried_alone_like_any_other(rig):
    ran = run_handler(handle_bare, *probes(2), *probes(1, "retry", start=2), session=rig.session)

    assert ran.outcomes == [DONE, DONE, Retry("asked to retry", 0.05)]

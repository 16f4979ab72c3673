"""One order that a person holds back: ``ordermq order hold`` and ``release``."""

import pytest

from ordermq.clock import utc_now
from ordermq.consumer import holding
from ordermq.store import holds
from ordermq.testing import wait_until
from tests.support.runtime import probes
from tests.support.shop import an_order

DONE = "SELECT count(*) FROM ordermq.inbox WHERE outcome = 'done'"


@pytest.mark.parametrize("queue", ["batch", "single", "call"])
def test_a_message_of_what_is_held_waits_uncounted_and_the_others_do_not(rig, queue, monkeypatch):
    # HLD2
    monkeypatch.setattr(holding, "LOOK_AGAIN_S", 0.2)
    first_failed_at = utc_now()
    with rig.session.transaction() as tx:
        assert holds.hold(tx, ["o00001"], by="ann", reason="fraud?")
        assert holds.hold(tx, ["o00001"], by="bob", reason="again") == {}  # HLD1
    consumer = rig.consumer(queue)
    wait_until(lambda: consumer._control._context.holds.are_any, 10, what="it has heard of it")
    rig.relay()
    rig.publish(queue, *probes(3), first_failed_at=first_failed_at)
    rig.wait_for_effects(queue, 2)
    wait_until(lambda: rig.value("SELECT max(hop) FROM ordermq.inbox") >= 3, 20, what="looked at again")
    assert rig.value(DONE) == 2
    with rig.session.transaction() as tx:
        assert holds.release(tx, ["o00001"], by="ann", reason="it is none")["o00001"].held_by == "ann"
        assert holds.release(tx, ["o00001"], by="ann", reason="it is none") == {}
    assert len(rig.wait_for_effects(queue, 3)) == 3
    assert rig.rows("SELECT count(*) FROM ordermq.dead_letters") == [(0,)]


def test_a_held_order_waits_across_restarts_and_is_shown(pipeline):
    pipeline.stock(p_1=9)
    pipeline.place([an_order("o-1"), an_order("o-2")])
    hold = ("ordermq", "order", "hold", "o-1", "--reason", "looks like fraud")
    assert pipeline.json(*hold)["held"] == 1
    again = pipeline.json(*hold)
    assert (again["unchanged"], again["orders"][0]["hold_reason"]) == (1, "looks like fraud")
    assert pipeline.run("ordermq", "order", "hold", "o-9", "--reason", "x").returncode == 1
    pipeline.begin()
    pipeline.wait_for(1, "completed")
    waits = "SELECT max(attempt) FROM ordermq.outbox WHERE correlation_id = 'o-1' AND hop > 0"
    wait_until(lambda: pipeline.value(waits) == 1, 20.0, what="its message in the outbox, uncounted")
    [listed] = pipeline.lines("ordermq", "order", "list", "--held")
    assert (listed["order_id"], listed["status"]) == ("o-1", "placed")
    assert "held       since" in pipeline.ok("ordermq", "order", "show", "o-1")
    assert "held: held back: o-1" in pipeline.ok("ordermq", "status")
    release = ("ordermq", "order", "release", "o-1", "--reason", "it is none")
    assert pipeline.json(*release)["released"] == 1
    with pipeline.session.transaction() as tx:
        tx.execute("UPDATE ordermq.outbox SET available_at = now()")  # instead of 30 s
    pipeline.end_well(2)
    assert pipeline.count("completed") == 2
    assert pipeline.value("SELECT count(*) FROM ordermq.actions WHERE subject = 'order o-1'") == 2

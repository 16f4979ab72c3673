"""Retries and postponements of many different delays, among many more messages that are not due for long."""

import pytest

from ordermq.task import DONE, Postpone, Registry, Retry, handler
from ordermq.task.handler import handlers_in
from tests.support.probe import Probe

DELAYS = 500
LONGEST_S = 3.0
PARKED = 20_000

DUE = """
    CREATE TABLE due (order_id text NOT NULL, at timestamptz NOT NULL);
    CREATE FUNCTION note_due() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN INSERT INTO due VALUES (NEW.message_id, NEW.available_at); RETURN NULL; END';
    CREATE TRIGGER note_due AFTER INSERT ON ordermq.outbox FOR EACH ROW EXECUTE FUNCTION note_due();
"""
PARK = """
    INSERT INTO ordermq.outbox (routing_key, message_id, type, version, correlation_id, traceparent,
                                occurred_at, attempt, hop, replay_no, body, available_at)
    SELECT 'batch', 'parked' || n, 'Probe', 1, 'parked' || n, '',
           now(), 1, 0, 0, '{}', now() + interval '1 day'
      FROM generate_series(1, %s) AS n
"""
LATE = """
    SELECT extract(epoch FROM effects.at - due.at)::float8
      FROM effects JOIN (SELECT order_id, max(at) AS at FROM due GROUP BY order_id) AS due USING (order_id)
     ORDER BY 1
"""


@pytest.fixture
def delaying():
    """A handler that sends each message back once, for as long as it says; every other one counts it."""
    delayed = set()

    @handler(queue="single", message=Probe, key="order_id")
    def delaying(message, tx):
        if message.order_id in delayed:
            tx.execute("INSERT INTO effects (order_id, queue) VALUES (%s, 'single')", (message.order_id,))
            return DONE
        delayed.add(message.order_id)
        kind = Retry if message.order_id.endswith(("0", "2", "4", "6", "8")) else Postpone
        return kind("asked to wait", message.seconds)

    return Registry(handlers_in({"delaying": delaying}))


def test_each_of_many_delays_ends_when_it_is_due_and_never_before(rig, delaying):
    with rig.session.transaction() as tx:
        tx.execute(PARK, (PARKED,))
        tx.execute(DUE)
    rig.relay()
    rig.consumer("single", registry=delaying)
    rig.send("single", *(probe(n) for n in range(DELAYS)))

    rig.wait_for_effects("single", DELAYS, timeout_s=60.0)
    late_s = [row[0] for row in rig.rows(LATE)]
    worst = [late_s[DELAYS // 2], late_s[DELAYS * 99 // 100], late_s[-1]]
    print("late by (median, 99 %, last):", ", ".join(f"{each:.3f} s" for each in worst))
    assert len(late_s) == DELAYS
    assert late_s[0] >= 0.0
    # The first to come due wait for the rest of the 500 to be taken once: how long says the machine.
    assert late_s[DELAYS * 99 // 100] <= 5.0
    assert late_s[-1] <= 10.0


def probe(n):
    return Probe(order_id=f"o{n:05}", seconds=n * LONGEST_S / DELAYS)

"""The pipeline as a whole while what it stands on goes away and comes back."""

from ordermq.shop.intake.generate import generate
from ordermq.testing import wait_until
from tests.support.pipeline import PROCESSES, QUEUES

ALL_TRIED = "SELECT NOT EXISTS (SELECT FROM ordermq.outbox WHERE refusals = 0)"


def test_every_process_outlives_a_restart_of_the_broker_and_goes_on_by_itself(pipeline, ordermq_stack):
    orders = list(generate(150, 13))
    pipeline.load(orders, cover=0.97)
    pipeline.begin()
    with pipeline.customers(orders, per_s=40):
        pipeline.wait_for(10, "completed")
        ordermq_stack.broker.restart()
    pipeline.end_well(len(orders), timeout_s=60.0)
    for name in PROCESSES:
        assert pipeline.has_logged(name, "lost: "), f"{name} noticed nothing"


def test_every_process_outlives_a_crash_of_the_database_and_goes_on_by_itself(pipeline, ordermq_stack):
    orders = list(generate(150, 17))
    pipeline.load(orders, cover=0.97)
    pipeline.begin()
    with pipeline.customers(orders, per_s=40):
        pipeline.wait_for(10, "completed")
        ordermq_stack.postgres.kill()
        wait_until(lambda: pipeline.has_logged("relay", "relay stands still"), 20.0)
        # A consumer pauses only if it has a message in hand: test_outages_database.py sees to that.
        ordermq_stack.postgres.start()
    pipeline.end_well(len(orders), timeout_s=60.0)


def test_commits_whose_acks_never_reach_the_broker_are_recognised_when_their_messages_come_again(pipeline):
    orders = list(generate(30, 19))
    pipeline.load(orders)
    pipeline.begin()
    with pipeline.held("shop.stock"):
        pipeline.place(orders)
        pipeline.wait_for_waiting("inventory")
        pipeline.wait_outbox_empty()
        pipeline.cut_connections()
        wait_until(lambda: pipeline.has_logged("inventory", "subscription lost"), 20.0)
    pipeline.wait_at_rest(len(orders))
    wait_until(lambda: pipeline.duplicates("inventory") > 0, 20.0)
    pipeline.end_well(len(orders))


def test_rows_a_full_queue_refuses_wait_in_the_outbox_until_it_has_room(pipeline, vhost):
    orders = list(generate(30, 23))
    pipeline.load(orders)
    policy = {"pattern": r"^orders\.inventory$", "definition": {"max-length": 5}, "apply-to": "queues"}
    vhost.broker.api("PUT", f"policies/{vhost.name}/small", policy)
    pipeline.begin("relay")
    # A quorum queue refuses what comes after its limit was passed, so not all come at once.
    for start in range(0, len(orders), 5):
        pipeline.place(orders[start : start + 5])
        wait_until(lambda: pipeline.value(ALL_TRIED), 20.0, what="every row was published or refused")
    assert pipeline.value("SELECT count(*) FROM ordermq.outbox WHERE refused_reason LIKE 'nacked:%%'") > 0
    assert pipeline.has_logged("relay", "was nacked")
    pipeline.begin(*QUEUES)
    pipeline.end_well(len(orders))

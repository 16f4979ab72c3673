"""The pipeline as a whole while what it stands on goes away and comes back."""

from ordermq.orders.intake.generate import generate
from ordermq.testing import wait_until
from tests.support.pipeline import PROCESSES, QUEUES


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
        wait_until(lambda: any(pipeline.has_logged(queue, "paused until") for queue in QUEUES), 20.0)
        ordermq_stack.postgres.start()
    pipeline.end_well(len(orders), timeout_s=60.0)

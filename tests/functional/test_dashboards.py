"""Prometheus scrapes a whole pipeline: every panel shows something, and no alert is raised."""

import json
import time
from contextlib import suppress
from pathlib import Path

import pytest

from ordermq.shop.intake.generate import generate
from ordermq.testing import wait_until
from ordermq.testing.stack.account import server_account
from ordermq.testing.stack.monitoring import PrivatePrometheus
from ordermq.testing.stack.place import Place
from tests.chaos.alerts import ALWAYS, RULES
from tests.support.pipeline import PROCESSES

# Of one process, the relay with every table and queue too.
MOST_SERIES = 400
WANTED = {
    "ordermq_critical_time_seconds_bucket", "ordermq_order_critical_time_seconds_bucket",
    "ordermq_queue_ready", "ordermq_queue_consumers", "ordermq_queue_waiting_seconds",
    "ordermq_delivery_age_seconds", "ordermq_workers_busy", "ordermq_breaker_state",
    "ordermq_clock_offset_seconds", "ordermq_table_dead_rows", "ordermq_payments_unknown",
    "ordermq_database_transaction_oldest_seconds", "ordermq_broker_alarms", "ordermq_queue_replicas_missing",
}  # fmt: skip
GRAFANA = Path(__file__).parents[2] / "config" / "grafana"


@pytest.fixture
def prometheus(ordermq_stack, pipeline):
    place = Place.temporary(server_account())
    addresses = {name: pipeline.address(name) for name in PROCESSES}
    targets = {"ordermq": [(address, {"process": name}) for name, address in addresses.items()]}
    prometheus = PrivatePrometheus(place, targets, RULES.read_text(), every_s=2.0)
    try:
        prometheus.start()
        yield prometheus
    finally:
        prometheus.kill()
        place.wipe()


def queries():
    for file in sorted(GRAFANA.glob("*.json")):
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel["targets"]:
                yield (file.stem, panel["title"], target["expr"])


def asked(expression):
    return expression.replace("$queue", "payment").replace("$__rate_interval", "20s")


@pytest.fixture
def pipeline(pipeline):
    pipeline.begin(ORDERMQ_OBSERVE_TABLES_EVERY_S="1")
    pipeline.wait_ready()
    return pipeline


def test_every_panel_shows_what_a_pipeline_did_and_nothing_is_raised(pipeline, prometheus):
    orders = list(generate(60, 1))
    pipeline.load(orders)
    began_s = time.time()
    pipeline.place(orders)
    pipeline.wait_at_rest(len(orders))

    def missing():
        names = prometheus.query('group({__name__=~"ordermq_.*"}) by (__name__)')
        return WANTED - {each.labels["__name__"] for each in names}

    def empty():
        return [each for each in queries() if not prometheus.query(asked(each[2]))]

    with suppress(TimeoutError):
        wait_until(lambda: not (missing() or empty()), 20.0)
    assert (missing(), empty()) == (set(), [])
    assert prometheus.firing(since_s=began_s) <= ALWAYS
    series = prometheus.query('count({__name__=~"ordermq_.*"}) by (instance)')
    assert max(each.value for each in series) < MOST_SERIES
    pipeline.end_well(len(orders))

"""Prometheus scrapes a whole pipeline: every panel shows something, and no alert is raised."""

import json
import time
from pathlib import Path

import pytest

from ordermq.shop.intake.generate import generate
from ordermq.testing import wait_until
from ordermq.testing.stack.account import server_account
from ordermq.testing.stack.monitoring import PrivatePrometheus
from ordermq.testing.stack.place import Place
from tests.chaos.alerts import ALWAYS, RULES
from tests.support.pipeline import PROCESSES

GRAFANA = Path(__file__).parents[2] / "config" / "grafana"


@pytest.fixture
def prometheus(ordermq_stack, pipeline):
    place = Place.temporary(server_account())
    addresses = {name: pipeline.address(name) for name in PROCESSES}
    targets = {"ordermq": [(address, {"process": name}) for name, address in addresses.items()]}
    prometheus = PrivatePrometheus(place, targets, RULES.read_text(), every_s=0.5)
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
    return expression.replace("$queue", "payment").replace("$__rate_interval", "5s")


@pytest.fixture
def pipeline(pipeline):
    pipeline.begin()
    pipeline.wait_ready()
    return pipeline


def test_every_panel_shows_what_a_pipeline_did_and_nothing_is_raised(pipeline, prometheus):
    orders = list(generate(60, 1))
    pipeline.load(orders)
    began_s = time.time()
    pipeline.place(orders)
    pipeline.wait_at_rest(len(orders))

    def empty():
        return [each for each in queries() if not prometheus.query(asked(each[2]))]

    try:
        wait_until(lambda: not empty(), 15.0)
    except TimeoutError:
        assert empty() == []
    assert prometheus.firing(since_s=began_s) <= ALWAYS
    pipeline.end_well(len(orders))

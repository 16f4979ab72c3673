"""What docs/metrics.md and docs/guarantees.md say, held against what there is."""

import re
from pathlib import Path

from ordermq.observe.metrics import REGISTRY
from ordermq.shop import alerts, gauges, journal

ROOT = Path(__file__).resolve().parents[2]
METRICS = (ROOT / "docs" / "metrics.md").read_text()
GUARANTEES = (ROOT / "docs" / "guarantees.md").read_text()


# Metrics of the shop are served once its modules are imported.
OF_THE_SHOP = (alerts.raised, gauges.stuck, journal.order_critical_time)


def test_every_metric_is_explained_and_no_other():
    explained = set(re.findall(r"^\| `(ordermq_\w+)", METRICS, re.MULTILINE))
    served = set()
    for family in REGISTRY.collect():
        if family.name.startswith("ordermq_"):
            served.add(family.name + ("_total" if family.type == "counter" else ""))
    assert explained == served


def test_every_guarantee_names_a_test_that_exists():
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", GUARANTEES)
    assert len(named) > 30
    missing = [
        f"{file}::{name}"
        for file, name in named
        if f"def {name}(" not in (ROOT / "tests" / "functional" / file).read_text()
    ]
    assert missing == []

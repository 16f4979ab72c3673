"""The files for Prometheus and Grafana say what the code and the documents say."""

import re
import runpy
from pathlib import Path

import click
import pytest
import yaml

from ordermq.cli.app import app
from ordermq.testing.stack.monitoring import faster
from tests.chaos.alerts import drilled

ROOT = Path(__file__).parents[2]
ALERTS = runpy.run_path(str(ROOT / "docs" / "generate_alerts.py"))
METRICS = runpy.run_path(str(ROOT / "docs" / "generate_metrics.py"))
DASHBOARDS = runpy.run_path(str(ROOT / "docs" / "generate_dashboards.py"))


def test_the_dashboards_are_up_to_date():
    written = {file.stem: file.read_text() for file in (ROOT / "config" / "grafana").glob("*.json")}
    assert written == {name: DASHBOARDS["text"](name) for name in DASHBOARDS["DASHBOARDS"]}, "run make docs"


def test_the_page_of_metrics_is_up_to_date():
    assert (ROOT / "docs" / "metrics.md").read_text() == METRICS["page"](), "make docs writes it anew"


def test_the_page_of_alerts_has_the_matrix_of_the_drill():
    assert (ROOT / "docs" / "alerts.md").read_text() == ALERTS["page"](), "make docs writes it anew"


def test_the_drill_names_alerts_that_exist():
    named = {name for fault in drilled() for name in (*fault.alerts, *fault.may_alert)}
    assert named <= {rule["alert"] for rule in rules()}


def test_the_drill_divides_every_time_of_a_rule():
    text = "expr: max(ordermq_outbox_oldest_seconds) > 30 and rate(x[5m] offset 1h) > 0.01\nfor: 2m\n"
    quick = "expr: max(ordermq_outbox_oldest_seconds) > 0.5 and rate(x[5000ms] offset 60000ms) > 0.01\n"
    quick += "for: 2000ms\n"
    assert faster(text, 60) == quick


def test_the_drill_leaves_no_time_of_the_rules_as_it_is():
    text = faster((ROOT / "config" / "prometheus" / "rules.yml").read_text(), 60)
    quick = [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    left = [
        each
        for rule in quick
        for each in (rule["expr"], rule.get("for", ""))
        if re.search(r"\b\d+[smhd]\b", each)
    ]
    assert not left
    of = {rule["alert"]: rule["expr"] for rule in quick if "alert" in rule}
    assert "_seconds) > 2 unless" in of["OrdermqQueueStalled"]
    assert "> 0)) > 5 unless" in of["OrdermqQueueOld"]


def rules():
    groups = yaml.safe_load((ROOT / "config" / "prometheus" / "rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_says_what_it_is_what_explains_it_and_what_to_do(rule):
    assert rule["labels"]["severity"] in ("page", "ticket", "none")
    notes = rule["annotations"]
    assert notes["summary"].endswith((".", "?"))
    file, _, anchor = notes["runbook_url"].partition("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / file).read_text(), re.MULTILINE)
    assert anchor in {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}
    assert command_of(notes["command"]) is not None, notes["command"]


def command_of(line):
    """Return the click command that the words of ``line`` name; None if there is none."""
    program, *words = line.split()
    assert program == "ordermq"
    found = app
    for word in words:
        found = found.get_command(click.Context(found), word) if hasattr(found, "get_command") else None
    return found

"""Each alert of config/prometheus/rules.yml, by Debian's promtool: once firing, once silent."""

import json
import subprocess
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
RULES = ROOT / "config" / "prometheus" / "rules.yml"

# What each alert needs to fire, and what keeps it silent: {series: values, one every 15 seconds}.
CASES = {
    "OrdermqNoActiveRelay": (
        {'ordermq_relay_active{instance="a"}': "0x2000", 'ordermq_relay_active{instance="b"}': "0x2000"},
        {'ordermq_relay_active{instance="a"}': "1x2000", 'ordermq_relay_active{instance="b"}': "0x2000"},
    ),
}
#: It fires always: that is its use.
WATCHDOG = "OrdermqWatchdog"


def alerts():
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}


def promtool(*argv):
    return subprocess.run(["promtool", *argv], capture_output=True, text=True, check=False, timeout=60)


def case(alert, series, *, is_firing):
    sample = {"labels": json.dumps({"alertname": alert}).replace('"alertname": ', "alertname="), "value": 1}
    expression = f'count by (alertname) (ALERTS{{alertname="{alert}",alertstate="firing"}}) > bool 0'
    return {
        "interval": "15s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {"expr": expression, "eval_time": "7h", "exp_samples": [sample] if is_firing else []}
        ],
    }


def test_promtool_finds_the_files_valid():
    done = promtool("check", "rules", str(RULES))
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_fires_when_it_must_and_is_silent_otherwise(tmp_path):
    assert set(CASES) == set(alerts()) - {WATCHDOG}
    groups = [case(WATCHDOG, {}, is_firing=True)]
    for name, (firing, silent) in CASES.items():
        groups += [case(name, firing, is_firing=True), case(name, silent, is_firing=False)]
    file = tmp_path / "test.yml"
    file.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "15s", "tests": groups}))
    done = promtool("test", "rules", str(file))
    assert done.returncode == 0, done.stdout + done.stderr

"""Each alert of config/prometheus/rules.yml, by Debian's promtool: once firing, once silent."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
RULES = ROOT / "config" / "prometheus" / "rules.yml"
#: It fires always: that is its use.
WATCHDOG = "OrdermqWatchdog"
#: After how many minutes each alert is looked at, if not after 20: those with a long ``for`` or window.
WHEN = dict.fromkeys(
    (
        "OrdermqReconcileOld", "OrdermqPruneOld", "OrdermqCertificateExpires", "OrdermqDeprecatedFeatures",
        "OrdermqFailureBudgetBurns", "OrdermqOrdersSlow", "OrdermqNewDeadLetters",
    ), 80,
)  # fmt: skip
#: And those that are looked at after days: their values are of every half hour.
LATE = {"OrdermqDeadLetters", "OrdermqPausedByHand", "OrdermqNeverMaintained", "OrdermqDiskFills"}


def settled(done, other, outcome):
    """Series of two counters that rise by so much a minute."""
    return {
        'ordermq_settled_total{queue="q",outcome="done"}': f"0+{done}x5000",
        f'ordermq_settled_total{{queue="q",outcome="{outcome}"}}': f"0+{other}x5000",
    }


def slow(within):
    """Series of orders of which 100 a minute end, ``within`` of them in a minute."""
    return {
        'ordermq_order_critical_time_seconds_bucket{status="completed",le="60.0"}': f"0+{within}x5000",
        'ordermq_order_critical_time_seconds_count{status="completed"}': "0+100x5000",
    }


def calls(fast):
    """Series of calls of a handler, 100 a minute, ``fast`` of them in half a second."""
    name = 'ordermq_handler_seconds_bucket{queue="q",type="T",le='
    return {
        f'{name}"0.5"}}': f"0+{fast}x5000",
        f'{name}"5.0"}}': "0+100x5000",
        f'{name}"+Inf"}}': "0+100x5000",
    }


def one(series, firing, silent):
    """A metric of one series that is constant: what fires, and what does not."""
    return {series: f"{firing}x5000"}, {series: f"{silent}x5000"}


# What each alert needs to fire, and what keeps it silent: {series: values}; x5000 is "for ever".
CASES = {
    "OrdermqFailureBudgetBurns": (settled(1000, 20, "dead"), settled(100_000, 20, "dead")),
    "OrdermqOrdersSlow": (slow(80), slow(99)),
    "OrdermqErrorRate": (settled(1000, 20, "retry"), settled(1000, 5, "retry")),
    "OrdermqHandlerSlow": (calls(90), calls(100)),
    "OrdermqNoActiveRelay": (
        {'ordermq_relay_active{instance="a"}': "0x5000", 'ordermq_relay_active{instance="b"}': "0x5000"},
        {'ordermq_relay_active{instance="a"}': "1x5000", 'ordermq_relay_active{instance="b"}': "0x5000"},
    ),
    "OrdermqTwoActiveRelays": (
        {'ordermq_relay_active{instance="a"}': "1x5000", 'ordermq_relay_active{instance="b"}': "1x5000"},
        {'ordermq_relay_active{instance="a"}': "1x5000", 'ordermq_relay_active{instance="b"}': "0x5000"},
    ),
    "OrdermqOutboxOld": one("ordermq_outbox_oldest_seconds", 45, 3),
    "OrdermqConsumerAbsent": (
        {'ordermq_queue_ready{queue="q"}': "5x5000", 'ordermq_queue_consumers{queue="q"}': "0x5000"},
        {'ordermq_queue_ready{queue="q"}': "5x5000", 'ordermq_queue_consumers{queue="q"}': "1x5000"},
    ),
    "OrdermqQueueStalled": one('ordermq_queue_waiting_seconds{queue="q"}', 200, 20),
    "OrdermqQueueOld": (
        {'ordermq_delivery_age_seconds{queue="q"}': "600x5000", 'ordermq_queue_ready{queue="q"}': "7x5000"},
        {'ordermq_delivery_age_seconds{queue="q"}': "600x5000", 'ordermq_queue_ready{queue="q"}': "0x5000"},
    ),
    "OrdermqReturned": ({"ordermq_returned_total": "0+1x5000"}, {"ordermq_returned_total": "7x5000"}),
    "OrdermqNacked": ({"ordermq_nacked_total": "0+1x5000"}, {"ordermq_nacked_total": "7x5000"}),
    "OrdermqTopology": one("ordermq_topology_differences", 2, 0),
    "OrdermqBreakerOpen": one('ordermq_breaker_state{queue="q",dependency="psp",state="closed"}', 0, 1),
    "OrdermqPaused": (
        {'ordermq_paused{queue="q",reason="database"}': "1x5000"},
        {'ordermq_paused{queue="q",reason="operator"}': "1x5000"},
    ),
    "OrdermqPausedByHand": one('ordermq_paused{queue="q",reason="operator"}', 1, 0),
    "OrdermqNewDeadLetters": (
        {'ordermq_dead_letters_by_cause{queue="q",fingerprint="f"}': "_x60 3x60"},
        {'ordermq_dead_letters_by_cause{queue="q",fingerprint="f"}': "3x5000"},
    ),
    "OrdermqDeadLetters": one("ordermq_dead_letters_open", 1, 0),
    "OrdermqAttention": one("ordermq_orders_attention", 1, 0),
    "OrdermqStuck": one("ordermq_orders_stuck", 1, 0),
    "OrdermqPaymentsUnknown": one("ordermq_payments_unknown_oldest_seconds", 7200, 60),
    "OrdermqHandlerKilled": (
        {'ordermq_handlers_overdue{queue="q"}': "1x14 2x5000"},
        {'ordermq_handlers_overdue{queue="q"}': "2x5000"},
    ),
    "OrdermqRedelivery": (
        {
            'ordermq_delivered_total{queue="q"}': "0+100x5000",
            'ordermq_redelivered_total{queue="q"}': "0+10x5000",
        },
        {
            'ordermq_delivered_total{queue="q"}': "0+100x5000",
            'ordermq_redelivered_total{queue="q"}': "0+1x5000",
        },
    ),
    "OrdermqCrashLoop": (
        {'process_start_time_seconds{job="ordermq",instance="a"}': "1+60x5000"},
        {'process_start_time_seconds{job="ordermq",instance="a"}': "1x15 2x5000"},
    ),
    "OrdermqDown": one('up{job="ordermq",instance="a"}', 0, 1),
    "OrdermqNotConnected": one('ordermq_connection_state{role="relay",state="open"}', 0, 1),
    # The time of a test begins at 0.
    "OrdermqReconcileOld": one('ordermq_last_run_timestamp_seconds{task="reconcile_ok"}', -200_000, 0),
    "OrdermqPruneOld": one('ordermq_last_run_timestamp_seconds{task="prune"}', -300_000, 0),
    "OrdermqNeverMaintained": (
        {},
        {
            'ordermq_last_run_timestamp_seconds{task="prune"}': "0x5000",
            'ordermq_last_run_timestamp_seconds{task="reconcile_ok"}': "0x5000",
        },
    ),
    "OrdermqTransactionOld": one("ordermq_database_transaction_oldest_seconds", 1800, 60),
    "OrdermqNotificationQueue": one("ordermq_database_notification_queue_ratio", 0.5, 0.001),
    "OrdermqClockSkew": one('ordermq_clock_offset_seconds{instance="a"}', -30, 0.2),
    "OrdermqCertificateExpires": one(
        'ordermq_certificate_expires_timestamp_seconds{server="broker b"}', 86_400, 90 * 86_400
    ),
    "OrdermqDiskFills": (
        {'rabbitmq_disk_space_available_bytes{instance="a"}': "9000000000-50000000x5000"},
        {'rabbitmq_disk_space_available_bytes{instance="a"}': "9000000000-100x5000"},
    ),
    "OrdermqBrokerDown": one('up{job="rabbitmq",instance="a"}', 0, 1),
    "OrdermqBrokerAlarm": one("rabbitmq_alarms_memory_used_watermark", 1, 0),
    "OrdermqNoMajority": one('ordermq_queue_without_majority{queue="q"}', 1, 0),
    "OrdermqDeprecatedFeatures": one("ordermq_broker_deprecated_features", 1, 0),
}


def alerts():
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}


def promtool(*argv):
    return subprocess.run(["promtool", *argv], capture_output=True, text=True, check=False, timeout=100)


def case(alert, series, *, is_firing):
    step, count = (30, 150) if alert in LATE else (1, WHEN.get(alert, 20))
    expression = f'count by (alertname) (ALERTS{{alertname="{alert}",alertstate="firing"}}) > bool 0'
    sample = {"labels": f'{{alertname="{alert}"}}', "value": 1}
    values = {name: value.replace("x5000", f"x{count}") for name, value in series.items()}
    return {
        "interval": f"{step}m",
        "input_series": [{"series": name, "values": each} for name, each in values.items()],
        "promql_expr_test": [
            {
                "expr": expression,
                "eval_time": f"{step * count}m",
                "exp_samples": [sample] if is_firing else [],
            }
        ],
    }


def test_promtool_finds_the_rules_valid():
    done = promtool("check", "rules", str(RULES))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("is_late", [False, True], ids=["within hours", "within days"])
def test_each_alert_fires_when_it_must_and_is_silent_otherwise(tmp_path, is_late):
    groups = []
    for name, (firing, silent) in CASES.items():
        if (name in LATE) == is_late:
            groups += [case(name, firing, is_firing=True), case(name, silent, is_firing=False)]
    every = "30m" if is_late else "1m"
    file = tmp_path / "test.yml"
    file.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": every, "tests": groups}))
    done = promtool("test", "rules", str(file))
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_alert_is_left_out():
    assert set(CASES) == set(alerts()) - {WATCHDOG}


def test_the_configurations_are_valid_and_name_alerts_that_exist():
    folder = RULES.parent
    done = promtool("check", "config", str(folder / "prometheus.yml"))
    assert done.returncode == 0, done.stdout + done.stderr
    argv = ["amtool", "check-config", str(folder / "alertmanager.yml")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    inhibit = yaml.safe_load((folder / "alertmanager.yml").read_text())["inhibit_rules"]
    named = {
        name
        for rule in inhibit
        for matcher in (*rule["source_matchers"], *rule["target_matchers"])
        for name in matcher.split('"')[1].split("|")
    }
    assert named <= set(alerts())

"""Each alert of config/prometheus/rules.yml, by Debian's promtool: firing, silent, and in hard cases."""

import json
import subprocess
from functools import cache
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
RULES = ROOT / "config" / "prometheus" / "rules.yml"
#: It fires always: that is its use.
WATCHDOG = "OrdermqWatchdog"
#: After how many minutes each alert is looked at, if not after 20: those with a long ``for`` or window.
WHEN = dict.fromkeys(
    (
        "OrdermqReconcileOld", "OrdermqPruneOld", "OrdermqCertificateExpires", "OrdermqTlsFileExpires",
        "OrdermqDeprecatedFeatures",
        "OrdermqFailureBudgetBurns", "OrdermqOrdersSlow", "OrdermqNewDeadLetters",
    ), 80,
) | {
    "OrdermqDeadLetters": 1600, "OrdermqPausedByHand": 300,
    "OrdermqNeverMaintained": 4500, "OrdermqDiskFills": 480,
}  # fmt: skip
#: Those that are looked at later than this have a value every five minutes, the others every minute.
SOON = 80


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


def tls_file(life, left):
    """A file that lives for so many days, of which so many are left at 0, when the test begins."""
    name, labels = "ordermq_tls_file", '{file="broker.crl_file",instance="a"}'
    return {
        f"{name}_expires_timestamp_seconds{labels}": f"{left * 86_400}x5000",
        f"{name}_issued_timestamp_seconds{labels}": f"{(left - life) * 86_400}x5000",
    }


def feed(seconds, positions):
    """How far a feed is behind."""
    labels = '{instance="a",feed="kafka:orders.events"}'
    return {f"ordermq_feed_behind_seconds{labels}": seconds, f"ordermq_feed_behind{labels}": positions}


FREE = 'node_filesystem_avail_bytes{instance="a",device="d",fstype="ext4",mountpoint="/"}'
SIZE = 'node_filesystem_size_bytes{instance="a",device="d",fstype="ext4",mountpoint="/"}'
BROKER_FREE = 'rabbitmq_disk_space_available_bytes{instance="a"}'
CAUSE = 'ordermq_dead_letters_by_cause{queue="q",fingerprint="f"}'
OVERDUE = 'ordermq_handlers_overdue{queue="q"}'
PAUSED = 'ordermq_paused{queue="q",reason="operator"}'
OTHER_PAUSED = 'ordermq_paused{queue="other",reason="operator"}'
FOR_SERVICE = 'ordermq_paused{queue="q",reason="payment gateway"}'

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
    "OrdermqNumberingStalled": one('ordermq_numbering_waits_seconds{instance="a"}', 90, 1),
    "OrdermqEventsBehind": (feed("90x5000", "7x5000"), feed("1x5000", "7x5000")),
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
    "OrdermqTlsFileExpires": (tls_file(7, 1), tls_file(7, 2)),
    "OrdermqDiskFills": (
        {FREE: "38000000000-200000000x5000", SIZE: "100000000000x5000"},
        {FREE: "38000000000-100x5000", SIZE: "100000000000x5000"},
    ),
    "OrdermqBrokerDown": (
        {'up{job="rabbitmq",instance="a"}': "0x5000", 'up{job="rabbitmq",instance="b"}': "0x5000"},
        {'up{job="rabbitmq",instance="a"}': "1x5000", 'up{job="rabbitmq",instance="b"}': "1x5000"},
    ),
    "OrdermqBrokerNodeDown": (
        {'up{job="rabbitmq",instance="a"}': "0x5000", 'up{job="rabbitmq",instance="b"}': "1x5000"},
        {'up{job="rabbitmq",instance="a"}': "1x5000", 'up{job="rabbitmq",instance="b"}': "1x5000"},
    ),
    "OrdermqBrokerAlarm": one("rabbitmq_alarms_memory_used_watermark", 1, 0),
    "OrdermqNoMajority": one('ordermq_queue_without_majority{queue="q"}', 1, 0),
    "OrdermqDeprecatedFeatures": one("ordermq_broker_deprecated_features", 1, 0),
}


ABSENT = CASES["OrdermqConsumerAbsent"][0]
STALLED = CASES["OrdermqQueueStalled"][0]
OLD = CASES["OrdermqQueueOld"][0]

# More of what must raise an alert, and must not: (alert, does it fire, series). "stale" is how a series ends
# when its process does.
HARD_CASES = [
    # No relay said anything an hour ago, or ten minutes ago.
    ("OrdermqNewDeadLetters", False, {CAUSE: "3x15 stale _x9 3x5000"}),
    (
        "OrdermqNewDeadLetters",
        True,
        {CAUSE: "_x65 3x5000", CAUSE.replace('"f"', '"old"'): "3x15 stale _x9 3x5000"},
    ),
    ("OrdermqHandlerKilled", False, {OVERDUE: "2x5 stale _x6 2x5000"}),
    ("OrdermqHandlerKilled", True, {OVERDUE: "2x5 stale _x6 3x5000"}),
    ("OrdermqHandlerKilled", True, {OVERDUE: "_x15 1x5000"}),
    # The process was started again every few hours.
    ("OrdermqDeadLetters", True, {"ordermq_dead_letters_open": "1x100 stale 1x100 0 1x5000"}),
    ("OrdermqDeadLetters", False, {"ordermq_dead_letters_open": "1x200 0x20 1x5000"}),
    ("OrdermqPausedByHand", True, {PAUSED: "1x20 stale 1x15 0 1x5000"}),
    ("OrdermqPausedByHand", False, {PAUSED: "1x20 0x10 1x5000"}),
    # A person has paused the queue, or its breaker is open for long; or those are another queue's.
    ("OrdermqConsumerAbsent", False, {**ABSENT, PAUSED: "1x5000"}),
    ("OrdermqConsumerAbsent", False, {**ABSENT, FOR_SERVICE: "1x5000"}),
    ("OrdermqConsumerAbsent", True, {**ABSENT, PAUSED: "0x5000", OTHER_PAUSED: "1x5000"}),
    ("OrdermqConsumerAbsent", True, {**ABSENT, PAUSED: "1x10 stale"}),
    ("OrdermqQueueStalled", False, {**STALLED, PAUSED: "1x5000"}),
    ("OrdermqQueueStalled", True, {**STALLED, PAUSED: "0x5000", OTHER_PAUSED: "1x5000"}),
    ("OrdermqQueueOld", False, {**OLD, PAUSED: "1x5000"}),
    ("OrdermqQueueOld", True, {**OLD, PAUSED: "0x5000", OTHER_PAUSED: "1x5000"}),
    # A feed that nothing sends while more comes; one that catches up with years; one whose relay ended.
    ("OrdermqEventsBehind", True, feed("60+60x5000", "0+9x5000")),
    ("OrdermqEventsBehind", False, feed("9000000x5000", "9000000-5000x5000")),
    ("OrdermqEventsBehind", False, feed("90x10 stale", "7x10 stale")),
    # One node of a cluster.
    ("OrdermqBrokerDown", False, CASES["OrdermqBrokerNodeDown"][0]),
    ("OrdermqBrokerNodeDown", False, CASES["OrdermqBrokerDown"][0]),
    # A disk that is nearly empty.
    ("OrdermqDiskFills", False, {FREE: "90000000000-300000000x5000", SIZE: "100000000000x5000"}),
    ("OrdermqDiskFills", False, {BROKER_FREE: "90000000000-300000000x5000"}),
    ("OrdermqDiskFills", True, {BROKER_FREE: "90000000000x20 38000000000-200000000x5000"}),
]


@cache
def groups():
    return yaml.safe_load(RULES.read_text())["groups"]


def alerts():
    return {rule["alert"]: rule for group in groups() for rule in group["rules"] if "alert" in rule}


def promtool(*argv):
    return subprocess.run(["promtool", *argv], capture_output=True, text=True, check=False, timeout=100)


def step_of(alert):
    return 1 if WHEN.get(alert, 20) <= SOON else 5


def case(alert, series, *, is_firing):
    minutes = WHEN.get(alert, 20)
    expression = f'count by (alertname) (ALERTS{{alertname="{alert}",alertstate="firing"}}) > bool 0'
    expression += f" # {series}"  # promtool shows it if it fails
    sample = {"labels": f'{{alertname="{alert}"}}', "value": 1}
    values = {name: value.replace("x5000", f"x{minutes // step_of(alert)}") for name, value in series.items()}
    return {
        "interval": f"{step_of(alert)}m",
        "input_series": [{"series": name, "values": each} for name, each in values.items()],
        "promql_expr_test": [
            {"expr": expression, "eval_time": f"{minutes}m", "exp_samples": [sample] if is_firing else []}
        ],
    }


def write_tests(folder, alert, cases):
    """Write a file of tests, with a file of only those rules that ``alert`` needs: promtool evaluates all."""
    needed = [alerts()[alert]]
    recorded = [rule for group in groups() for rule in group["rules"] if "record" in rule]
    needed[:0] = [rule for rule in recorded if rule["record"] in needed[0]["expr"]]
    rules = folder / f"{alert}-rules.yml"
    rules.write_text(json.dumps({"groups": [{"name": "rules", "rules": needed}]}))
    tests = [case(alert, series, is_firing=is_firing) for is_firing, series in cases]
    every = f"{step_of(alert)}m"
    file = folder / f"{alert}.yml"
    file.write_text(json.dumps({"rule_files": [str(rules)], "evaluation_interval": every, "tests": tests}))
    return str(file)


def test_promtool_finds_the_rules_valid():
    done = promtool("check", "rules", str(RULES))
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_fires_when_it_must_and_is_silent_otherwise(tmp_path):
    cases = {name: [(True, firing), (False, silent)] for name, (firing, silent) in CASES.items()}
    for name, is_firing, series in HARD_CASES:
        cases[name].append((is_firing, series))
    done = promtool("test", "rules", *(write_tests(tmp_path, name, each) for name, each in cases.items()))
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


def test_an_alert_that_keeps_others_silent_is_raised_within_minutes():
    inhibit = yaml.safe_load((RULES.parent / "alertmanager.yml").read_text())["inhibit_rules"]
    sources = {
        name
        for rule in inhibit
        for matcher in rule["source_matchers"]
        for name in matcher.split('"')[1].split("|")
    }
    late = {name for name in sources if alerts()[name].get("for", "0s") not in ("0s", "1m", "2m")}
    assert not late, "what they should silence is raised before them"

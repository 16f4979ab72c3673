"""What is proved on the machine, one after the other on one boot. Each proof returns what it measured."""

import re
import time
from collections.abc import Callable

from ordermq.clock import monotonic_s
from ordermq.testing import wait_until
from tests.systemd import extras, upgrades
from tests.systemd.shop import BROKER_PASSWORD, DATABASE_PASSWORD, NEW, SERVICES, Shop

POINTS = "ordermq-consumer@points.service"
RECONCILE = "ordermq-reconcile.service"
PAYMENT = "ordermq-consumer@payment.service"
STOP_WITHIN_S = 40.0  # TimeoutStopSec of the units


def a_consumer_is_ready_when_the_broker_has_confirmed_it(shop: Shop) -> str:
    machine = shop.machine
    machine.run("systemctl", "stop", POINTS)
    machine.run("systemctl", "stop", "rabbitmq-server")
    machine.run("systemctl", "start", "--no-block", POINTS)
    time.sleep(3)
    before = machine.show(POINTS, "ActiveState")["ActiveState"]
    assert before == "activating", before
    machine.run("systemctl", "start", "rabbitmq-server")
    began_s = monotonic_s()
    wait_until(lambda: machine.show(POINTS, "ActiveState")["ActiveState"] == "active", 60.0, every_s=0.05)
    took_s = monotonic_s() - began_s
    consumers = machine.run("rabbitmqctl", "-q", "list_consumers", "-p", "shop", "queue_name")
    assert "orders.points" in consumers, consumers
    shop.wait_for_services()
    return f"activating while the broker was down, active {took_s:.1f} s after it was up"


def no_password_is_in_an_environment(shop: Shop) -> str:
    machine = shop.machine
    seen = machine.shell("cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' || true")
    shown = machine.run("systemctl", "show", *SERVICES)
    for text in (seen, shown):
        assert BROKER_PASSWORD not in text
        assert DATABASE_PASSWORD not in text
    assert "CREDENTIALS_DIRECTORY=/run/credentials/ordermq-relay.service" in seen
    processes = seen.count("CREDENTIALS_DIRECTORY=")
    return f"{processes} processes have credentials, and in {len(seen)} bytes of environment is none"


def status_and_signals_show_and_change_a_process(shop: Shop) -> str:
    machine = shop.machine
    status = machine.show(POINTS, "StatusText")["StatusText"]
    assert re.match(r"working; handled \d+, in flight \d+, retries \d+", status), status
    machine.run("systemctl", "kill", "--kill-whom=main", "--signal=USR1", POINTS)
    wait_until(lambda: "messages in flight: " in machine.journal(POINTS), 10.0, what="the table")
    machine.shell("printf '[observe]\\nlog_level = \"DEBUG\"\\n' >> /etc/ordermq/ordermq.toml")
    machine.run("systemctl", "reload", POINTS)
    wait_until(lambda: "SIGHUP: log level DEBUG" in machine.journal(POINTS), 10.0, what="the reload")
    machine.shell('sed -i \'s/"DEBUG"/"INFO"/\' /etc/ordermq/ordermq.toml')
    machine.run("systemctl", "reload", POINTS)
    return status


def a_process_that_stands_still_is_replaced(shop: Shop) -> str:
    machine = shop.machine
    pid = shop.main_pid(POINTS)
    machine.run("kill", "-STOP", str(pid))
    began_s = monotonic_s()
    wait_until(lambda: shop.main_pid(POINTS) not in (0, pid), 90.0, what="another process", every_s=0.2)
    took_s = monotonic_s() - began_s
    shop.wait_for_services()
    assert machine.show(POINTS, "NRestarts")["NRestarts"] != "0"
    journal = machine.journal(POINTS)
    assert "Watchdog timeout" in journal
    # It was started again, which is no failed unit.
    assert f"{POINTS} has failed on" not in machine.journal(f"ordermq-alert@{POINTS}.service")
    stacks = "with" if "Fatal Python error" in journal or "most recent call first" in journal else "without"
    return f"a stopped process was replaced after {took_s:.0f} s (WatchdogSec=30), {stacks} its stacks"


def a_stop_under_load_is_graceful(shop: Shop) -> str:
    machine = shop.machine
    feed = shop.feed(NEW, 600, rate=60, seed=2)
    time.sleep(3)
    took = {}
    for service in (PAYMENT, "ordermq-consumer@inventory.service", "ordermq-relay.service"):
        began_s = monotonic_s()
        machine.run("systemctl", "stop", service)
        took[service] = monotonic_s() - began_s
        ended = machine.show(service, "Result", "ExecMainStatus", "ExecMainCode")
        assert (ended["Result"], ended["ExecMainStatus"]) == ("success", "0"), ended
        machine.run("systemctl", "start", service)
    assert max(took.values()) < STOP_WITHIN_S, took
    feed.wait()
    shop.settle()
    found = shop.account(NEW)
    assert (found["lost"], found["doubled"]) == (0, 0), found
    return f"three services in {', '.join(f'{each:.1f} s' for each in took.values())}, each with 0: {found}"


def a_unit_that_fails_tells_a_person(shop: Shop) -> str:
    machine = shop.machine
    hook = '#!/bin/sh\\necho "paged: $1 ($2)"\\n'
    machine.shell(f"printf '{hook}' > /etc/ordermq/alert.d/50-page; chmod 755 /etc/ordermq/alert.d/50-page")
    unit = "ordermq-consumer@nothing.service"
    machine.run("systemctl", "start", unit, check=False)
    alert = f"ordermq-alert@{unit}.service"
    wait_until(lambda: "paged: " in machine.journal(alert), 30.0, what="the alert")
    (line,) = [each for each in machine.journal(alert, "-p", "alert").splitlines() if "has failed" in each]
    assert f"paged: {unit} (exit-code exited 78)" in machine.journal(alert)
    assert machine.show(unit, "NRestarts")["NRestarts"] == "0"
    machine.run("systemctl", "reset-failed", unit)
    return line


def a_reconcile_that_keeps_failing_tells_a_person_once(shop: Shop) -> str:
    machine = shop.machine
    folder = f"/run/systemd/system/{RECONCILE}.d"
    quick = "[Service]\\nExecStart=\\nExecStart=/bin/false\\nRestartSec=300ms\\n"
    machine.shell(f"mkdir {folder}; printf '{quick}' > {folder}/quick.conf; systemctl daemon-reload")
    machine.run("systemctl", "start", "--no-block", RECONCILE)
    alert = f"ordermq-alert@{RECONCILE}.service"
    # The unit's own description says "has failed", too, at each restart from systemd 254 on.
    wait_until(lambda: f"{RECONCILE} has failed on" in machine.journal(alert), 30.0, what="the alert")
    time.sleep(2)
    ended = machine.show(RECONCILE, "Result", "NRestarts", "ActiveState")
    assert ended["ActiveState"] == "failed", ended
    assert machine.journal(alert).count(f"{RECONCILE} has failed on") == 1
    machine.shell(f"rm -r {folder}; systemctl daemon-reload; systemctl reset-failed {RECONCILE}")
    return f"one alert after {ended['NRestarts']} restarts, {ended['Result']}"


def a_reboot_brings_everything_back(shop: Shop) -> str:
    machine = shop.machine
    # Tansu forgets its topic, and the boot would wait for it.
    machine.run("systemctl", "disable", "--now", extras.FORWARD, "tansu", check=False)
    # Before the broker, so that a unit that has to wait for it is among those that come back.
    feed = shop.feed(NEW, 200, rate=100, seed=3)
    feed.wait()
    began_s = monotonic_s()
    machine.reboot()
    shop.wait_for_services(120.0)
    took_s = monotonic_s() - began_s
    shop.settle()
    found = shop.account(NEW)
    assert (found["lost"], found["doubled"]) == (0, 0), found
    for timer in ("ordermq-prune.timer", "ordermq-reconcile.timer", "ordermq-audit.timer"):
        assert machine.show(timer, "ActiveState")["ActiveState"] == "active"
    for job in ("ordermq-prune.service", "ordermq-reconcile.service", extras.AUDIT):
        machine.run("systemctl", "start", job)
    return f"{len(SERVICES)} services and 3 timers, {took_s:.0f} s from reboot to ready: {found}"


_SAMPLES = r"""
install -d -m 0750 -g rabbitmq /etc/rabbitmq/tls
cd /etc/rabbitmq/tls
openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:true \
    -addext keyUsage=critical,keyCertSign,cRLSign,digitalSignature 2>/dev/null
install -m 0644 cert.pem /etc/ordermq/ca.pem
cp cert.pem ca.pem
chgrp rabbitmq *.pem
chmod 0640 *.pem
install -m 0644 /srv/kit/deploy/rabbitmq/{rabbitmq.conf,definitions.json} /etc/rabbitmq/
rabbitmq-plugins enable --offline rabbitmq_management rabbitmq_prometheus >/dev/null
tls='[broker]\nhosts = ["localhost"]\ntls = true\nca_file = "/etc/ordermq/ca.pem"'
sed -i "s|^\[broker\]$|$tls|" /etc/ordermq/ordermq.toml
version=$(ls /usr/lib/postgresql)
install -m 0644 /srv/kit/deploy/postgresql/ordermq.conf "/etc/postgresql/$version/main/conf.d/"
systemctl stop ordermq.target
systemctl restart rabbitmq-server "postgresql@$version-main"
systemctl start ordermq.target
"""


def the_sample_settings_start_broker_and_database(shop: Shop) -> str:
    """deploy/rabbitmq and deploy/postgresql as they are, with a certificate made here."""
    machine = shop.machine
    machine.shell(_SAMPLES, timeout_s=240.0)
    shop.wait_for_services(120.0)
    listeners = machine.run("rabbitmq-diagnostics", "-q", "listeners")
    assert "port: 5671, protocol: amqp/ssl" in listeners, listeners
    assert "port: 5672," not in listeners, listeners
    users = machine.run("rabbitmqctl", "-q", "list_permissions", "-p", "shop")
    assert "ordermq-consumer-payment" in users, users
    wrong = shop.sql("SELECT name, error FROM pg_file_settings WHERE error IS NOT NULL")
    assert wrong == "", wrong
    ours = shop.sql("SELECT count(*) FROM pg_settings WHERE sourcefile LIKE '%conf.d/ordermq.conf'")
    feed = shop.feed(NEW, 50, rate=50, seed=4)
    feed.wait()
    shop.settle()
    versions = machine.shell("rabbitmqctl version; psql --version").split()
    found = f"{ours} settings: {shop.account(NEW)}"
    return f"RabbitMQ {versions[0]} over TLS, PostgreSQL {versions[3]} with {found}"


PROOFS: tuple[Callable[[Shop], str], ...] = (
    upgrades.an_upgrade_under_load_loses_and_doubles_nothing,
    a_consumer_is_ready_when_the_broker_has_confirmed_it,
    no_password_is_in_an_environment,
    status_and_signals_show_and_change_a_process,
    a_process_that_stands_still_is_replaced,
    a_stop_under_load_is_graceful,
    a_unit_that_fails_tells_a_person,
    a_reconcile_that_keeps_failing_tells_a_person_once,
    extras.the_audit_log_is_written_and_signed_by_its_timer,
    extras.a_history_that_is_not_what_was_signed_fails_the_audit_unit,
    extras.events_come_to_kafka_and_a_frozen_forwarder_is_replaced,
    upgrades.a_rollback_goes_back_and_forward,
    upgrades.an_upgrade_waits_for_the_tables_and_stops_at_what_does_not_come_back,
    a_reboot_brings_everything_back,
    the_sample_settings_start_broker_and_database,
)

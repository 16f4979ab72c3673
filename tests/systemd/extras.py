"""The proofs about units that need an extra of ordermq: the audit log by its timer, and events to Kafka."""

import json

from ordermq.clock import monotonic_s
from ordermq.testing import wait_until
from tests.systemd.shop import ENABLE, NEW, Shop
from tests.systemd.upgrades import INSTALL

AUDIT = "ordermq-audit.service"
FORWARD = "ordermq-forward.service"
LOG = "/var/lib/ordermq-audit"
AUDIT_PASSWORD = "quibble-audit-5172"
TOPIC = "orders.events"

# What deploy/README.md says, with a password that is known here.
_SET_UP_AUDIT = f"""
ordermq db grants --role audit --create | runuser -u postgres -- psql -q -v ON_ERROR_STOP=1 shop
runuser -u postgres -- psql -q -c "ALTER ROLE ordermq_audit LOGIN PASSWORD '{AUDIT_PASSWORD}'"
ordermq audit keygen audit.example.com/shop --out /etc/ordermq/credentials/audit_key > /root/audit.vkey
(umask 077; printf %s {AUDIT_PASSWORD} > /etc/ordermq/credentials/audit_database_password)
echo ORDERMQ_DATABASE_USERNAME=ordermq_audit > /etc/ordermq/audit.env
"""

_TANSU = """\
[Unit]
Description=a broker that speaks Kafka's protocol
[Service]
ExecStart=/srv/kit/tansu broker --storage-engine memory://tansu/ --listener-url tcp://127.0.0.1:9092 \\
    --advertised-listener-url tcp://127.0.0.1:9092
"""

_MAKE_TOPIC = f"""
from confluent_kafka.admin import AdminClient, NewTopic
admin = AdminClient({{"bootstrap.servers": "127.0.0.1:9092"}})
admin.create_topics([NewTopic("{TOPIC}", 3, 1)])["{TOPIC}"].result(30)
"""

# What can be read counts, because the ends of partitions that Tansu tells may be lower.
_COUNT = f"""
from confluent_kafka import Consumer, TopicPartition
reader = Consumer({{"bootstrap.servers": "127.0.0.1:9092", "group.id": "proof"}})
reader.assign([TopicPartition("{TOPIC}", number, 0) for number in range(3)])
count = 0
while found := reader.consume(5000, timeout=4):
    count += sum(each.error() is None for each in found)
print(count)
reader.close()
"""


def the_audit_log_is_written_and_signed_by_its_timer(shop: Shop) -> str:
    """As a user of its own, with key and password as credentials, into a folder that everybody reads."""
    machine = shop.machine
    shop.operate(NEW, _SET_UP_AUDIT)
    machine.shell(f"{INSTALL} --enable {ENABLE},audit.timer", timeout_s=180.0)
    began_s = monotonic_s()
    machine.run("systemctl", "start", "ordermq-audit.timer")
    wait_until(lambda: _ended(shop), 100.0, what="a run of the audit log", every_s=0.5)
    took_s = monotonic_s() - began_s
    ended = machine.show(AUDIT, "Result", "ExecMainStatus", "TriggeredBy")
    assert ended == {"Result": "success", "ExecMainStatus": "0", "TriggeredBy": "ordermq-audit.timer"}, ended
    published = json.loads(machine.journal(AUDIT, "-t", "ordermq").splitlines()[-1])
    assert machine.run("stat", "-c", "%U %A", f"{LOG}/checkpoint").strip() == "ordermq-audit -rw-r--r--"
    read = machine.shell(f"runuser -u nobody -- find {LOG} -type f ! -name '.*' -exec cksum {{}} +")
    assert f"{LOG}/tile/0/000" in read, read
    code, said = machine.exit_of("runuser -u ordermq -- cat /etc/ordermq/credentials/audit_key")
    assert (code, "Permission denied" in said) == (1, True), said
    shown = machine.run("systemctl", "show", AUDIT) + machine.journal(AUDIT)
    assert AUDIT_PASSWORD not in shown
    return f"{published['added']} leaves {took_s:.0f} s after the timer's start; {_verified(shop)}"


def _ended(shop: Shop) -> bool:
    return shop.machine.show(AUDIT, "ExecMainExitTimestampMonotonic")["ExecMainExitTimestampMonotonic"] != "0"


def _verified(shop: Shop) -> str:
    key = "--key /root/audit.vkey --json"
    found = json.loads(shop.operate(NEW, f"ordermq audit verify --log {LOG} {key} --full"))
    assert found["findings"] == [], found
    assert found["size"] > 0, found
    return f"verify --full: {found['size']} entries, no finding"


def a_history_that_is_not_what_was_signed_fails_the_audit_unit(shop: Shop) -> str:
    """And tells a person; the log goes on when the history is whole again."""
    machine = shop.machine
    shop.sql(
        "CREATE TABLE public.kept AS TABLE ordermq.checkpoints; SET session_replication_role = replica;"
        "DELETE FROM ordermq.checkpoints"
    )
    machine.run("systemctl", "start", AUDIT, check=False)
    assert machine.show(AUDIT, "ExecMainStatus")["ExecMainStatus"] == "1"
    alert = f"ordermq-alert@{AUDIT}.service"
    wait_until(lambda: f"{AUDIT} has failed on" in machine.journal(alert), 30.0, what="the alert")
    shop.sql("INSERT INTO ordermq.checkpoints SELECT * FROM public.kept; DROP TABLE public.kept")
    machine.run("systemctl", "start", AUDIT)
    why = [line for line in machine.journal(AUDIT).splitlines() if "does not know" in line]
    return f"{why[0].strip()}; {_verified(shop)}"


def events_come_to_kafka_and_a_frozen_forwarder_is_replaced(shop: Shop) -> str:
    machine = shop.machine
    machine.shell("cat > /etc/systemd/system/tansu.service; systemctl daemon-reload", stdin=_TANSU)
    machine.run("systemctl", "start", "tansu")
    python = f"{NEW}/python"
    machine.run(python, "-c", _MAKE_TOPIC)
    machine.shell(f"echo ORDERMQ_KAFKA_TOPIC={TOPIC} > /etc/ordermq/forward.env")
    machine.shell(f"{INSTALL} --enable {ENABLE},forward", timeout_s=180.0)
    machine.run("systemctl", "start", FORWARD)
    events = int(shop.sql("SELECT count(*) FROM shop.order_events"))
    try:
        wait_until(lambda: not _missing(shop, events), 120.0, every_s=0.5)
    except TimeoutError:
        raise AssertionError(_missing(shop, events)) from None
    pid = shop.main_pid(FORWARD)
    machine.run("kill", "-STOP", str(pid))
    wait_until(lambda: shop.main_pid(FORWARD) not in (0, pid), 90.0, what="another process", every_s=0.2)
    wait_until(lambda: machine.show(FORWARD, "ActiveState")["ActiveState"] == "active", 60.0, every_s=0.2)
    assert "Watchdog timeout" in machine.journal(FORWARD)
    return f"{events} events in the topic; {machine.show(FORWARD, 'StatusText')['StatusText']}"


def _missing(shop: Shop, events: int) -> str:
    found = int(shop.machine.run(f"{NEW}/python", "-c", _COUNT))
    status = shop.machine.show(FORWARD, "StatusText")["StatusText"]
    return "" if found >= events else f"{found} of {events} records; {status}"

"""The proofs about upgrades and rollbacks by install-vm, on the machine."""

import re

from ordermq.clock import monotonic_s
from ordermq.testing import wait_until
from tests.systemd.shop import ENABLE, NEW, OLD, SERVICES, Shop

INSTALL = "/srv/kit/bin/install-vm --dist /srv/kit/dist --wheels /srv/kit/dist/wheels"
EXTRAS = "--extras audit,kafka"
NEXT = INSTALL.replace("/dist", "/next")
POINTS = "ordermq-consumer@points.service"

ROLLBACK = "/srv/kit/bin/install-vm --rollback"
# A release that lacks the newest migration of the tables, as one of before it was written.
_FORGET = """
cd {older}/lib/python3*/site-packages/ordermq/store/migrations
mkdir {older}/forgotten
mv "$(ls 00*.sql | tail -1)" {older}/forgotten
"""
_REMEMBER = """
mv {older}/forgotten/* {older}/lib/python3*/site-packages/ordermq/store/migrations
rmdir {older}/forgotten
"""
# The shop's newest migration looks as if it had not been applied.
_HIDE = """
    UPDATE ordermq.migrations SET scope = 'hidden'
     WHERE scope = 'shop' AND number = (SELECT max(number) FROM ordermq.migrations WHERE scope = 'shop')
"""
_HAS = """
import importlib.util
names = ("cryptography", "confluent_kafka", "opentelemetry")
found = [name for name in names if importlib.util.find_spec(name)]
assert found == ["cryptography", "confluent_kafka"], found
"""
_SHOW = "UPDATE ordermq.migrations SET scope = 'shop' WHERE scope = 'hidden'"


def upgrade_at_rest(shop: Shop) -> str:
    """From the release before to this one, without a word about it: for single proofs."""
    prepared = shop.machine.shell(f"{INSTALL} {EXTRAS} --prepare", timeout_s=300.0)
    release = re.findall(r"prepared: (\S+)/bin/ordermq", prepared)[-1]
    shop.operate(f"{release}/bin", "ordermq db migrate; ordermq topology apply")
    shop.machine.shell(f"{INSTALL} {EXTRAS} --enable {ENABLE}", timeout_s=300.0)
    shop.feed(NEW, 200, rate=100, seed=9).wait()
    shop.settle()
    return release


def an_upgrade_under_load_loses_and_doubles_nothing(shop: Shop) -> str:
    """From the release before to this one, as the documentation says, while orders come in."""
    machine = shop.machine
    shown = machine.shell(f"{INSTALL} --dry-run {EXTRAS} --enable {ENABLE}")
    assert re.search(r"^\+ release /opt/ordermq/\S+ \(.* with audit, kafka, and", shown, re.MULTILINE), shown
    assert "+ package confluent-kafka==" in shown
    assert "+OnFailure=ordermq-alert@%n.service" in shown
    prepared = machine.shell(f"{INSTALL} {EXTRAS} --prepare", timeout_s=180.0)
    release = re.findall(r"prepared: (\S+)/bin/ordermq", prepared)[-1]
    feed = shop.feed(OLD, 3600, rate=60, seed=1)
    wait_until(lambda: shop.finished() > 100, 60.0, what="the first orders", every_s=0.2)
    under_way = int(shop.sql("SELECT count(*) FROM shop.orders WHERE is_under_way"))
    shop.operate(f"{release}/bin", "ordermq db migrate; ordermq topology apply")
    began_s = monotonic_s()
    said = machine.shell(f"{INSTALL} {EXTRAS} --enable {ENABLE}", timeout_s=300.0)
    took_s = monotonic_s() - began_s
    assert said.count("restarted ordermq-") == len(SERVICES), said
    assert not feed.is_over, "the orders were over before the upgrade was"
    feed.wait()
    shop.settle()
    assert {shop.interpreter(each) for each in SERVICES} == {f"{release}/bin/python"}
    again = machine.shell(f"{INSTALL} --enable {ENABLE}")
    assert again.splitlines() == [f"is current: {release}"], again
    found = shop.account(NEW)
    assert (found["lost"], found["doubled"]) == (0, 0), found
    restarts = f"{len(SERVICES)} restarts in {took_s:.0f} s"
    return f"{shop.placed} orders, {under_way} under way as it began, {restarts}: {found}"


def a_rollback_goes_back_and_forward(shop: Shop) -> str:
    machine = shop.machine
    before = shop.interpreter(POINTS)
    machine.shell(INSTALL.replace("/dist", "/next"), timeout_s=300.0)
    after = shop.interpreter(POINTS)
    assert after != before
    # The release after it has the extras that were chosen before it, and no other one.
    machine.run(after, "-c", _HAS)
    older = before.removesuffix("/bin/python")
    machine.shell(_FORGET.format(older=older))
    code, refused = machine.exit_of(ROLLBACK)
    assert (code, f"which {older.split('/')[-1]} does not know" in refused) == (78, True), refused
    assert {shop.interpreter(each) for each in SERVICES} == {after}
    assert machine.run("readlink", "/opt/ordermq/current").strip() == after.split("/")[3]
    machine.shell(_REMEMBER.format(older=older))
    said = machine.shell(ROLLBACK, timeout_s=180.0)
    # With the forwarder to Kafka.
    assert said.count("restarted ordermq-") == len(SERVICES) + 1, said
    shop.wait_for_services()
    assert {shop.interpreter(each) for each in SERVICES} == {before}
    return (
        f"78 with a migration that the older release lacks; {after.split('/')[3]} -> {before.split('/')[3]}"
    )


def an_upgrade_waits_for_the_tables_and_stops_at_what_does_not_come_back(shop: Shop) -> str:
    machine = shop.machine
    before = shop.interpreter(POINTS)
    shop.sql(_HIDE)
    code, said = machine.exit_of(NEXT)
    assert (code, "bin/ordermq db migrate" in said) == (78, True), said
    assert {shop.interpreter(each) for each in SERVICES} == {before}
    shop.sql(_SHOW)

    broken = "ordermq-consumer@points.service.d"
    machine.shell(
        f"mkdir /run/systemd/system/{broken}\n"
        f"printf '[Service]\\nExecStart=\\nExecStart=/bin/false\\n' > /run/systemd/system/{broken}/x.conf\n"
        "systemctl daemon-reload"
    )
    code, said = machine.exit_of(NEXT)
    assert code == 75, said
    assert f"{POINTS} did not come back, and no later one was restarted" in said, said
    assert shop.interpreter("ordermq-relay.service") == before
    machine.shell(
        f"rm -r /run/systemd/system/{broken}; systemctl daemon-reload; systemctl reset-failed {POINTS}"
    )
    machine.run("systemctl", "start", POINTS)
    machine.shell(NEXT, timeout_s=300.0)
    shop.wait_for_services()
    after = {shop.interpreter(each) for each in SERVICES}
    assert before not in after
    assert len(after) == 1
    return "78 without a migration, 75 at a service that ends, and the same command goes on afterwards"

"""The alert drill: a real Prometheus scrapes a fault, and what it raises is compared with the fault's row.

Faults last seconds and rules speak of minutes. So every window, every ``for`` and every age in the rules
is divided by FACTOR, and so are the settings that say how long something may take. promtool tests the
real rules.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ordermq.testing.stack.monitoring import PrivatePrometheus, faster
from tests.chaos.arena import Arena
from tests.chaos.fault import AFTERMATH, Fault
from tests.chaos.faults import DRILL, FAULTS

FACTOR = 60
EVERY_S = 0.5
#: For so long no alert may be raised before the fault strikes.
QUIET_S = 3.0
#: Orders a second: what is left of the machine scrapes.
RATE = 50.0
RULES = Path(__file__).parents[2] / "config" / "prometheus" / "rules.yml"
#: Always there: the dead-man's switch.
ALWAYS = frozenset({"OrdermqWatchdog"})


#: Of every process under the drill.
SETTINGS = {"ORDERMQ_OBSERVE_TABLES_EVERY_S": "0.5", "ORDERMQ_SHOP_STUCK_AFTER_S": "10"}


def drilled() -> list[Fault]:
    """Return the faults of the drill, in the order of their rows."""
    return [*FAULTS, *DRILL]


def matrix() -> str:
    """Return the table of docs/alerts.md: which fault raises what."""
    rows = [
        f"Any fault may raise {_names(AFTERMATH)} by the way: work waits, and a busy machine answers late.\n",
        "| fault | what happens | raises | may also raise |",
        "|---|---|---|---|",
    ]
    for fault in drilled():
        must, may = (_names(each) for each in (fault.alerts, fault.may_alert - AFTERMATH - fault.alerts))
        rows.append(f"| {fault.name} | {fault.title} | {must} | {may} |")
    return "\n".join(rows) + "\n"


def _names(alerts: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(alerts)) or "none"


@contextmanager
def watching(arena: Arena) -> Iterator[PrivatePrometheus]:
    """Yield a Prometheus that ``look_at`` starts; it is gone after the block."""
    prometheus = PrivatePrometheus(arena.place, {}, faster(RULES.read_text(), FACTOR), every_s=EVERY_S)
    try:
        yield prometheus
    finally:
        prometheus.kill()


def look_at(arena: Arena, prometheus: PrivatePrometheus) -> None:
    """Scrape the processes of ``arena`` from now on, until nothing is raised any more."""
    prometheus.targets["ordermq"] = [
        (member.metrics_address, {"process": member.name}) for member in arena.fleet.members
    ]
    nodes = getattr(arena.broker, "nodes", [arena.broker])
    prometheus.targets["rabbitmq"] = [(f"{node.address}:{node.prometheus_port}", {}) for node in nodes]
    prometheus.start()
    # Before the first scrape "no active relay" is pending, and no alert is raised yet.
    arena.wait_until(lambda: _are_all_up(prometheus), 30.0, "Prometheus scrapes every process")
    arena.pause(QUIET_S)
    expected = ALWAYS | arena.fault.may_alert  # F8's queues are of two types from the start
    arena.wait_until(
        lambda: not prometheus.firing(since_s=time.time() - QUIET_S) - expected, 30.0, "no alert is raised"
    )


def _are_all_up(prometheus: PrivatePrometheus) -> bool:
    wanted = sum(len(targets) for targets in prometheus.targets.values())
    return len(prometheus.query("up == 1")) == wanted


def judge(arena: Arena, prometheus: PrivatePrometheus, since_s: float) -> set[str]:
    """Note what was raised and should not have been, and what was not; return what was raised."""
    time.sleep(2 * EVERY_S)
    raised, wanted = prometheus.firing(since_s=since_s) - ALWAYS, arena.fault.alerts
    arena.expect(raised >= wanted, f"did not raise {sorted(wanted - raised)}")
    extra = raised - wanted - arena.fault.may_alert
    arena.expect(not extra, f"raised {sorted(extra)}")
    return raised

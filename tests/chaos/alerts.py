"""The alert drill: a real Prometheus scrapes a fault, and what it raises is compared with the fault's row.

Faults last seconds and rules speak of minutes. So every window, every ``for`` and every age in the rules
is divided by FACTOR, and so are the settings that say how long something may take. promtool tests the
real rules.
"""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ordermq.testing.stack.monitoring import PrivatePrometheus
from tests.chaos.arena import Arena

FACTOR = 60
EVERY_S = 0.5
RULES = Path(__file__).parents[2] / "config" / "prometheus" / "rules.yml"
#: Always there: the dead-man's switch.
ALWAYS = frozenset({"OrdermqWatchdog"})

_DURATION = re.compile(r"(?<=[\[ :])(\d+)([smhd])(?=[\] :,)}\n])")
_AGE = re.compile(r"(_seconds\b[^\n<>]*[<>] )(\d+)\b")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def faster(rules: str, factor: int = FACTOR) -> str:
    """Return ``rules`` with every window, ``for``, offset and age divided by ``factor``."""

    def duration(found: re.Match[str]) -> str:
        return f"{int(found[1]) * _SECONDS[found[2]] * 1000 // factor}ms"

    return _AGE.sub(lambda found: f"{found[1]}{int(found[2]) / factor:g}", _DURATION.sub(duration, rules))


@contextmanager
def watching(arena: Arena) -> Iterator[PrivatePrometheus]:
    """Yield a Prometheus that ``look_at`` starts; it is gone after the block."""
    prometheus = PrivatePrometheus(arena.place, {}, faster(RULES.read_text()), every_s=EVERY_S)
    try:
        yield prometheus
    finally:
        prometheus.kill()


def look_at(arena: Arena, prometheus: PrivatePrometheus) -> None:
    """Scrape the processes of ``arena`` from now on, until nothing is raised any more."""
    prometheus.targets["ordermq"] = [
        (member.metrics_address, {"process": member.name}) for member in arena.fleet.members
    ]
    prometheus.start()
    arena.wait_until(
        lambda: not prometheus.firing(since_s=time.time() - 3 * EVERY_S) - ALWAYS, 30.0, "no alert is raised"
    )


def judge(arena: Arena, prometheus: PrivatePrometheus, since_s: float) -> set[str]:
    """Note what was raised and should not have been, and what was not; return what was raised."""
    time.sleep(2 * EVERY_S)
    raised = prometheus.firing(since_s=since_s) - ALWAYS
    arena.expect(raised >= arena.fault.alerts, f"did not raise {sorted(arena.fault.alerts - raised)}")
    extra = raised - arena.fault.alerts - arena.fault.may_alert
    arena.expect(not extra, f"raised {sorted(extra)}")
    return raised

"""What a run of faults found: a row a fault, a table, and build/chaos.json."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

_COLUMNS = "{:<5}{:<42}{:>7}{:>6}{:>8}{:>7}{:>8}{:>10}  {:<10}{}"
HEADER = _COLUMNS.format(
    "fault", "what", "orders", "lost", "doubled", "stuck", "redeliv", "recovery", "reconcile", ""
)


@dataclass
class OutwardCount:
    """How many events the history has, and each place outside; None of a place that is not there."""

    events: int
    stream: int = 0
    stream_doubles: int = 0
    kafka: int | None = None
    kafka_doubles: int = 0
    tree: int = 0  # operators' actions too
    states: int = 0  # orders that the stream and the tables have in the same state

    def line(self) -> str:
        """Return it in words."""
        kafka = "-" if self.kafka is None else _counted(self.kafka, self.kafka_doubles)
        return f"stream {_counted(self.stream, self.stream_doubles)}, kafka {kafka}, tree {self.tree:,}"


def _counted(events: int, doubles: int) -> str:
    return f"{events:,} and {doubles:,} twice" if doubles else f"{events:,}"


@dataclass
class Result:
    """What came of one fault. ``problems`` empty: passed, unless it was skipped."""

    fault: str
    title: str
    seed: int
    orders: int = 0
    lost: int = 0
    doubled: int = 0
    stuck: int = 0
    redelivered: int = 0
    recovery_s: float | None = None
    reconcile: str = "-"
    projection: str = "-"
    outward: OutwardCount | None = None
    rate: float = 0.0
    seconds: float = 0.0
    skipped: str = ""
    note: str = ""
    problems: list[str] = field(default_factory=list)
    alerts: list[str] | None = None

    @property
    def outcome(self) -> str:
        if self.skipped:
            return "skipped"
        return "failed" if self.problems else "passed"

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "outcome": self.outcome}

    def lines(self) -> Iterable[str]:
        """Yield the row of the table, and a line for each thing that is wrong."""
        if self.skipped:
            yield f"{self.fault:<5}{self.title[:40]:<42}SKIPPED: {self.skipped}"
            return
        recovery = "-" if self.recovery_s is None else f"{self.recovery_s:.1f} s"
        yield _COLUMNS.format(
            self.fault, self.title[:40], self.orders, self.lost, self.doubled, self.stuck,
            self.redelivered, recovery, self.reconcile, "" if self.outcome == "passed" else "FAILED",
        ).rstrip()  # fmt: skip
        for problem in self.problems:
            yield f"       {problem}"
        if self.outward is not None:
            yield f"       outward: {self.outward.line()}, projection {self.projection}"
        if self.note:
            yield f"       ({self.note})"
        if self.alerts is not None:
            yield f"       alerts: {', '.join(self.alerts) or 'none'}"


def last_line(results: Iterable[Result]) -> str:
    """Return the one line that says it all."""
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for each in results:
        counts[each.outcome] += 1
    return "chaos: " + ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)

"""What came of a run: medians and spread, whether the targets were met; a table and JSON. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Self

from benchmarks.case import Case, Target


@dataclass(frozen=True)
class Figure:
    """What was measured in one way, over ``n`` rounds."""

    median: float
    min: float
    max: float
    unit: str
    n: int

    @classmethod
    def of(cls, values: Sequence[float], unit: str) -> Self:
        return cls(median(values), min(values), max(values), unit, len(values))


@dataclass(frozen=True)
class Outcome:
    """A case's figures by contender, what went wrong, and who could not take part."""

    case: Case
    figures: Mapping[str, Figure]
    failures: Sequence[str]
    left_out: Sequence[str] = ()

    @property
    def medians(self) -> dict[str, float]:
        return {key: figure.median for key, figure in self.figures.items()}

    @property
    def unmet(self) -> list[Target]:
        return [target for target in self.case.targets if not target.is_met(self.medians)]

    def as_json(self) -> dict[str, object]:
        """Return {contender: {median, min, max, unit, n}}."""
        return {key: asdict(figure) for key, figure in self.figures.items()}

    def lines(self) -> list[str]:
        """Return the case's part of the table."""
        lines = ["", f"{self.case.name}: {self.case.what}"]
        for key, figure in self.figures.items():
            spread = f"{shown(figure.min)} .. {shown(figure.max)}"
            lines.append(f"  {key:<34}{shown(figure.median):>10} {figure.unit:<9} {spread:>21}  n={figure.n}")
        for target in self.case.targets:
            reached = target.reached(self.medians)
            word = "ok " if target.is_met(self.medians) else "NOT"
            said = "not measured" if math.isnan(reached) else f"{reached:.2f}"
            lines.append(f"  {word} {target.text}: {said}")
        lines += [f"  FAILED {failure}" for failure in self.failures]
        lines += [f"  left out {reason}" for reason in self.left_out]
        return lines


def shown(value: float) -> str:
    """Return a figure with three significant digits or more."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def last_line(outcomes: Sequence[Outcome]) -> str:
    """Return the run's summary."""
    targets = sum(len(each.case.targets) for each in outcomes)
    unmet = sum(len(each.unmet) for each in outcomes)
    failed = sum(len(each.failures) for each in outcomes)
    return (
        f"bench: {len(outcomes)} cases, {targets - unmet} of {targets} targets met, {failed} samples failed"
    )

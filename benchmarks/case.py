"""What a case is: contenders that do the same work, and the ratios between them to be reached. Pure."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.ground import Ground

#: One sample: do the work ``n`` times on the ground, check that all of it was done, and return
#: figures by suffix; the suffix "" is for a contender with one figure. Raises Wrong.
Sample = Callable[[Ground, int], Mapping[str, float]]

Medians = Mapping[str, float]


class Wrong(Exception):
    """A contender did not do its work, or not all of it: its figure would mean nothing."""


class Missing(Exception):
    """What a contender needs is not on this machine: it is left out, and that is said."""


@dataclass(frozen=True)
class Contender:
    """Who does the work. ``settings`` says how it was configured, for the reader of the figures."""

    name: str
    sample: Sample
    settings: str


@dataclass(frozen=True)
class Target:
    """A ratio between medians. ``ratio`` raises KeyError if one of them was not measured."""

    text: str
    ratio: Callable[[Medians], float]
    bound: float
    at_least: bool = True

    def is_met(self, medians: Medians) -> bool:
        """Whether the medians reach it; what was not measured is not met."""
        reached = self.reached(medians)
        return reached >= self.bound if self.at_least else reached <= self.bound

    def reached(self, medians: Medians) -> float:
        """Return the ratio, nan if one of its figures is missing."""
        try:
            return self.ratio(medians)
        except (KeyError, ZeroDivisionError):
            return math.nan


@dataclass(frozen=True)
class Case:
    """Contenders by turns. ``n`` is how many messages a sample takes, ``smoke_n`` in a test of the case.

    ``units`` names the unit of a suffix that differs from ``unit``. ``rounds`` is for what takes
    too long to repeat, or says the same each time. ``by_name_only``: no part of a run of all cases.
    """

    name: str
    what: str
    unit: str
    n: int
    smoke_n: int
    contenders: Sequence[Contender]
    targets: Sequence[Target] = ()
    units: Mapping[str, str] = field(default_factory=dict)
    rounds: int | None = None
    by_name_only: bool = False

    def unit_of(self, key: str) -> str:
        """Return the unit of a figure, by its whole name."""
        return next((unit for suffix, unit in self.units.items() if key.endswith(suffix)), self.unit)


def at_least(bound: float, key: str, other: str, *others: str, of: str = "") -> Target:
    """The figure ``key`` is at least ``bound`` times the best of the others: more is better."""
    return Target(
        f"{key} >= {bound:g} x {of or ' or '.join((other, *others))}",
        lambda medians: medians[key] / max(medians[each] for each in (other, *others)),
        bound,
    )


def at_most(bound: float, key: str, other: str, *others: str, of: str = "") -> Target:
    """The figure ``key`` is at most ``bound`` times the best of the others: less is better."""
    return Target(
        f"{key} <= {bound:g} x {of or ' or '.join((other, *others))}",
        lambda medians: medians[key] / min(medians[each] for each in (other, *others)),
        bound,
        at_least=False,
    )


def below(bound: float, key: str, unit: str) -> Target:
    """The figure ``key`` itself is at most ``bound``."""
    return Target(f"{key} <= {bound:g} {unit}", lambda medians: medians[key], bound, at_least=False)

"""The cases, in the order in which they run."""

from benchmarks.case import Case

CASES: list[Case] = []

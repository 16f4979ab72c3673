"""The cases, in the order in which they run."""

from benchmarks.case import Case
from benchmarks.cases import pipeline

CASES: list[Case] = [pipeline.CASE]

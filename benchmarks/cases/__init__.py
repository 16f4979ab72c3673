"""The cases, in the order in which they run."""

from benchmarks.case import Case
from benchmarks.cases import consume, pipeline, publish

CASES: list[Case] = [publish.CASE, consume.CASE, pipeline.CASE]

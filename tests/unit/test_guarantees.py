"""docs/guarantees.md against the tests it names and the failpoints there are."""

import re
from pathlib import Path

from ordermq.failpoints import POINTS

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "guarantees.md").read_text()
CRASH_ROWS = re.findall(r"^\| `([a-z_.]+)` \|.*\| ([^|]+) \|$", TEXT, re.MULTILINE)


def functional(file):
    return set(
        re.findall(r"^def (test_\w+)\(", (ROOT / "tests" / "functional" / file).read_text(), re.MULTILINE)
    )


def test_every_test_the_guarantees_name_exists():
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", TEXT)
    assert named
    assert [(file, name) for file, name in named if name not in functional(file)] == []


def test_every_failpoint_is_a_row_of_the_crash_points():
    assert sorted(point for point, _ in CRASH_ROWS) == sorted(POINTS)


def test_every_crash_point_names_a_test_that_reaches_it():
    files = [
        ROOT / "tests" / "functional" / name
        for name in ("test_crash_points.py", "test_kafka.py", "test_order_instant.py")
    ]
    source = "\n".join(file.read_text() for file in files)
    bodies = {
        match[1]: match[0] for match in re.finditer(r"^def (test_\w+)\(.*?(?=^def |\Z)", source, re.M | re.S)
    }
    for point, shown_by in CRASH_ROWS:
        for name in re.findall(r"`(\w+)`", shown_by):
            module, _, stage = point.partition(".")
            assert point in bodies[name] or (f"{module}.{{" in bodies[name] and stage in bodies[name]), (
                point,
                name,
            )

"""The house rules of CONTRIBUTING.md that a program can check, each with the place that breaks it."""

import ast
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
MAX_FUNCTION_LINES = 50

# An invariant: three capitals and a number, four spaces in, at the head of a line of a docstring or comment.
INVARIANT = re.compile(r"^(?:    |#     )([A-Z]{3}\d+)  \S", re.MULTILINE)


@cache
def modules():
    """Return each module of the package as its path from the root, its text and its syntax tree."""
    paths = sorted((ROOT / "ordermq").rglob("*.py"))
    texts = {path.relative_to(ROOT): path.read_text() for path in paths}
    return [(path, text, ast.parse(text)) for path, text in texts.items()]


def doubles(places):
    """Return a line for each name that stands at more than one place."""
    return [f"{name}: {', '.join(where)}" for name, where in sorted(places.items()) if len(where) > 1]


def invariants():
    """Return the places of each invariant's id."""
    places = defaultdict(list)
    for path, text, _ in modules():
        for match in INVARIANT.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            places[match[1]].append(f"{path}:{line}")
    return places


def test_the_name_of_a_public_class_stands_once_in_the_package():
    places = defaultdict(list)
    for path, _, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(f"{path}:{node.lineno}")
    assert doubles(places) == []


def test_the_id_of_an_invariant_stands_once_in_the_package():
    assert invariants()
    assert doubles(invariants()) == []

"""The house rules of CONTRIBUTING.md that a program can check, each with the place that breaks it."""

import ast
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

# What handlers see of a transaction, and what ordermq.store makes of it, are one thing for them.
PROTOCOLS = {"Transaction"}

ROOT = Path(__file__).parents[2]

# An invariant: three capitals and a number, four spaces in, at the head of a line of a docstring or comment.
INVARIANT = re.compile(r"^(?:    |#     )([A-Z]{3}\d+)  \S", re.MULTILINE)


@cache
def modules():
    """Return each module of the package as its path from the root, its text and its syntax tree."""
    paths = sorted((ROOT / "ordermq").rglob("*.py"))
    texts = {path.relative_to(ROOT): path.read_text() for path in paths}
    return [(path, text, ast.parse(text)) for path, text in texts.items()]


def nodes(kind):
    """Yield every node of a kind in the package, with its place."""
    for path, _, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, kind):
                yield node, f"{path}:{node.lineno}"


def check_none(faults):
    """Fail with one line for each fault; pytest would shorten a list."""
    assert not faults, "\n" + "\n".join(faults)


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


def public_definitions():
    """Yield what somebody may import or call: whether it is documented, its name and its place."""
    for path, _, tree in modules():
        yield bool(ast.get_docstring(tree)), path.stem, f"{path}:1"
        scopes = [(tree, "")]
        while scopes:
            scope, prefix = scopes.pop()
            for node in scope.body:
                if not isinstance(node, ast.ClassDef | ast.FunctionDef) or node.name.startswith("_"):
                    continue
                yield bool(ast.get_docstring(node)), prefix + node.name, f"{path}:{node.lineno}"
                if isinstance(node, ast.ClassDef):
                    scopes.append((node, f"{node.name}."))


def test_the_name_of_a_public_class_stands_once_in_the_package():
    places = defaultdict(list)
    for node, place in nodes(ast.ClassDef):
        if not node.name.startswith("_") and node.name not in PROTOCOLS:
            places[node.name].append(place)
    check_none(doubles(places))


def test_the_id_of_an_invariant_stands_once_in_the_package():
    assert invariants()
    check_none(doubles(invariants()))


def test_nine_in_ten_public_definitions_are_documented():
    definitions = list(public_definitions())
    missing = [f"{place} {name}" for is_documented, name, place in definitions if not is_documented]
    print(*missing, sep="\n")
    assert len(missing) <= len(definitions) // 10

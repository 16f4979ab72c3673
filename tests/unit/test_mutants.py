"""The table of ``make mutants`` still fits the tree."""

import re
from pathlib import Path

import pytest

from tests.mutants.table import MUTATIONS

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mutation_still_applies_and_names_tests_that_exist(mutation, tmp_path):
    copied = tmp_path / mutation.path
    copied.parent.mkdir(parents=True)
    copied.write_text((ROOT / mutation.path).read_text())
    original = mutation.apply(tmp_path)
    if copied.suffix == ".py":
        compile(copied.read_text(), mutation.path, "exec")
    assert copied.read_text() != original
    for test in mutation.tests:
        path, _, name = test.partition("::")
        assert not name or f"def {name}(" in (ROOT / path).read_text(), test
        assert (ROOT / path).is_file()


@pytest.mark.parametrize(
    "mutation", [each for each in MUTATIONS if each.path.endswith(".sql")], ids=lambda mutation: mutation.name
)
def test_a_mutated_function_is_the_one_that_the_last_migration_leaves(mutation):
    path = ROOT / mutation.path
    before = path.read_text().partition(mutation.old)[0]
    if before.rfind("FUNCTION ") <= before.rfind("$$;"):
        return  # outside any function
    (name,) = re.findall(r"CREATE (?:OR REPLACE )?FUNCTION ([\w.]+)\(", before)[-1:]
    later = [each for each in path.parent.glob("*.sql") if each.name > path.name]
    again = [each.name for each in later if re.search(rf"CREATE.* FUNCTION {name}\(", each.read_text())]
    assert again == [], f"{name} is made anew there"


def test_no_mutation_stands_twice():
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)

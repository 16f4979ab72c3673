"""The table of ``make mutants`` still fits the tree."""

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


def test_no_mutation_stands_twice():
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)

"""``python -m tests.mutants``: show that the suite notices when a promise is broken.

The tree is copied, the tests named in the table are run on the copy as it is (they must be
green), then once for each mutation (they must turn red). ``--all`` runs the whole suite
against each, ``NAME ...`` only those mutations whose names hold one of the words.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import click

from ordermq.clock import monotonic_s
from ordermq.testing.stack.private import temporary_stack
from tests.mutants.table import MUTATIONS, Mutation

ROOT = Path(__file__).resolve().parents[2]
NOT_COPIED = (".*", "build", "dist", "__pycache__", "*.egg-info")
GREEN, RED = 0, 1  # pytest's exit codes; any other says that it could not run
HANGS_AFTER_S = 1800.0


class Ended(NamedTuple):
    """One run of pytest. ``by`` is the first test that failed."""

    code: int
    by: str
    seconds: float
    output: str


class Suite:
    """The suite in a tree of its own, on servers shared by all its runs."""

    def __init__(self, tree: Path, stack: Path) -> None:
        self.tree = tree
        self._argv = [
            sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--timeout=60",
            "--hypothesis-profile=unshrunk", f"--ordermq-stack={stack}",
        ]  # fmt: skip

    def run(self, tests: Sequence[str]) -> Ended:
        began_s = monotonic_s()
        # The programs that tests start import the tree too, not what is installed.
        env = {**os.environ, "PYTHONPATH": str(self.tree)}
        found = subprocess.run(
            [*self._argv, *tests], cwd=self.tree, env=env, check=False, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=HANGS_AFTER_S,
        )  # fmt: skip
        failed = re.search(r"^FAILED [^:]*::(\S+)", found.stdout, re.MULTILINE)
        by = failed[1] if failed else ""
        return Ended(found.returncode, by, monotonic_s() - began_s, found.stdout)


def chosen(words: Sequence[str]) -> list[Mutation]:
    """Return the mutations whose names hold one of ``words``; all without words."""
    found = [each for each in MUTATIONS if not words or any(word in each.name for word in words)]
    if not found:
        raise click.UsageError(f"no mutation is called anything like {' or '.join(words)}")
    return found


def survives(suite: Suite, mutation: Mutation, tests: Sequence[str]) -> bool:
    """Run the tests against one mutation, show how it ended; True if no test noticed."""
    original = mutation.apply(suite.tree)
    ended = suite.run(tests)
    (suite.tree / mutation.path).write_text(original)
    is_killed = ended.code == RED and bool(ended.by)
    if ended.code not in (GREEN, RED):
        click.echo(ended.output)
    by = (
        ended.by
        if is_killed
        else "SURVIVED"
        if ended.code == GREEN
        else f"pytest could not run: {ended.code}"
    )
    click.echo(f"{mutation.name:<52} {ended.seconds:6.1f} s  {by}")
    return not is_killed


@click.command()
@click.argument("words", metavar="[NAME]...", nargs=-1)
@click.option("--all", "is_all", is_flag=True, help="Run all tests against each.")
def main(words: tuple[str, ...], is_all: bool) -> None:
    """Break one promise after the other and see whether the tests notice."""
    mutations = chosen(words)
    with tempfile.TemporaryDirectory(prefix="ordermq-mutants-") as folder, temporary_stack() as stack:
        tree = Path(folder) / "tree"
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(*NOT_COPIED))
        suite = Suite(tree, stack.place.state)
        named = sorted({test for each in mutations for test in each.tests})
        ended = suite.run(["tests"] if is_all else named)
        click.echo(f"{'(as it is)':<52} {ended.seconds:6.1f} s  {'green' if ended.code == GREEN else 'RED'}")
        if ended.code != GREEN:
            click.echo(ended.output)
            raise SystemExit(1)
        survivors = [each for each in mutations if survives(suite, each, ["tests"] if is_all else each.tests)]
    click.echo(f"{len(mutations) - len(survivors)} of {len(mutations)} mutations were noticed")
    if survivors:
        raise SystemExit(1)


if __name__ == "__main__":
    main()

"""``python -m tests.matrix [CELL...]``: run the short list in each cell; a table, build/matrix.json."""

import fcntl
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click

from ordermq.config.environment import inherited
from tests.matrix.cell import DEMO, ROOT, SHORT, WORK, Outcome, Place, Unavailable
from tests.matrix.cells import CELLS

README = ROOT / "README.md"
RESULTS = ROOT / "build" / "matrix.json"
_PASSED = re.compile(r"(\d+) passed")


@click.command()
@click.argument("wanted", metavar="[CELL]...", nargs=-1)
@click.option(
    "--readme", is_flag=True, help="Write the table of what was run into README.md, and run nothing."
)
def main(wanted: tuple[str, ...], readme: bool) -> None:
    """Run the cells whose names begin with one of the words; all without words."""
    if readme:
        README.write_text(with_rows(README.read_text(), _known()))
        return
    chosen = [name for name in CELLS if not wanted or name.startswith(wanted)]
    if not chosen:
        raise click.UsageError(f"no cell begins like that; there are {', '.join(CELLS)}")
    WORK.mkdir(parents=True, exist_ok=True)
    outcomes = []
    for number, name in enumerate(chosen, 1):
        click.echo(f"matrix: {number}/{len(chosen)} {name}: {CELLS[name][0]}", err=True)
        outcomes.append(run_cell(name))
        remember(outcomes[-1], RESULTS)
        click.echo(f"matrix: {_line(outcomes[-1])}", err=True)
    click.echo("\n".join(table({each.name: asdict(each) for each in outcomes})))
    if any(each.state == "failed" for each in outcomes):
        sys.exit(1)


def run_cell(name: str) -> Outcome:
    """Make the place of a cell and run the short list and a demo there."""
    title, make = CELLS[name]
    began_s, at = time.monotonic(), datetime.now(UTC).strftime("%Y-%m-%d")
    try:
        place = make()
    except Unavailable as exc:
        return Outcome(name, title, "cannot run", why=str(exc), at=at)
    log = WORK / f"{name}.log"
    log.write_text("")
    try:
        versions = json.loads(_in(place, log, "-m", "tests.matrix.versions"))
        said = _in(place, log, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *SHORT)
        demo = WORK / f"{name}.demo"
        shutil.rmtree(demo, ignore_errors=True)
        _in(place, log, "-c", DEMO, str(demo.relative_to(ROOT)))
    except Failed as exc:
        return Outcome(name, title, "failed", why=f"{exc}; see {log.relative_to(ROOT)}", at=at)
    passed = _PASSED.findall(said)  # a warning may follow the line that says it
    ran = f"{passed[-1] if passed else '?'} tests, demo"
    return Outcome(name, title, "passed", ran, versions, round(time.monotonic() - began_s, 1), at)


class Failed(Exception):
    """A program of a cell did not exit with 0."""


def _in(place: Place, log: Path, *args: str) -> str:
    env = inherited()
    done = subprocess.run(
        [*place.python, *args], env={**env, **place.env}, cwd=place.cwd, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=1200,
    )  # fmt: skip
    with log.open("a") as file:
        file.write(done.stdout)
    if done.returncode:
        raise Failed(f"{args[1] if args[0] == '-m' else 'the demo'} exited with {done.returncode}")
    return done.stdout


def table(outcomes: dict[str, dict[str, object]]) -> list[str]:
    """Return the rows of a Markdown table."""
    columns = ("Python", "RabbitMQ", "PostgreSQL", "pika")
    lines = [
        f"| cell | system | {' | '.join(columns)} | what was run | when |",
        f"|{'---|' * (len(columns) + 4)}",
    ]
    return [*lines, *(_row(name, outcomes[name], columns) for name in CELLS if name in outcomes)]


def _row(name: str, outcome: dict[str, object], columns: Sequence[str]) -> str:
    versions: dict[str, str] = outcome["versions"]  # type: ignore[assignment] # read from JSON
    result = outcome["ran"] if outcome["state"] == "passed" else f"{outcome['state']}: {outcome['why']}"
    shown = " | ".join(versions.get(column, "") for column in ("system", *columns))
    return f"| {name} | {shown} | {result} | {outcome['at']} |"


def _line(outcome: Outcome) -> str:
    return f"{outcome.name} {outcome.state} {outcome.ran or outcome.why} after {outcome.seconds:.0f} s"


def _known() -> dict[str, dict[str, object]]:
    return dict(json.loads(RESULTS.read_text())) if RESULTS.exists() else {}


def remember(outcome: Outcome, path: Path) -> None:
    """Add an outcome to the file of outcomes; another run may do so at the same time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = dict(json.loads(path.read_text())) if path.exists() else {}
        new = path.with_suffix(".new")
        new.write_text(json.dumps({**known, outcome.name: asdict(outcome)}, indent=1) + "\n")
        new.replace(path)


def with_rows(readme: str, known: dict[str, dict[str, object]]) -> str:
    """Return the text of README.md with a row of each known cell; rows of other cells stay as they are."""
    before, begin, rest = readme.partition("<!-- make test-matrix -->\n")
    old, end, after = rest.partition("<!-- end of make test-matrix -->")
    head, rows = old.splitlines()[:2], old.splitlines()[2:] + table(known)[2:]
    by_cell = {row.split(" ")[1]: row for row in rows}
    lines = [*head, *(by_cell[name] for name in CELLS if name in by_cell)]
    return before + begin + "\n".join(lines) + "\n" + end + after


if __name__ == "__main__":
    main()

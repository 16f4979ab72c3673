"""``python -m benchmarks``: the cases, a table, build/bench.json, docs/img/bench.svg."""

import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

import click

from benchmarks.case import Case
from benchmarks.cases import CASES
from benchmarks.chart import chart
from benchmarks.contest import run_case
from benchmarks.ground import Arena, arena
from benchmarks.report import Outcome, last_line
from benchmarks.versions import versions
from ordermq.testing.stack.tool import run_tool


@click.command()
@click.argument("names", nargs=-1)
@click.option(
    "--rounds",
    type=click.IntRange(1),
    default=5,
    show_default=True,
    help="Number of samples of each contender.",
)
@click.option(
    "--messages", type=click.IntRange(1), help="Messages in a sample, instead of the number of the case."
)
@click.option("--smoke", is_flag=True, help="Send a few messages once, to see whether it works.")
@click.option(
    "--build",
    type=click.Path(path_type=Path),
    default=Path("build"),
    show_default=True,
    help="Folder of results and logs.",
)
@click.option("--chart", "svg", type=click.Path(path_type=Path), help="Draw the chart into this file too.")
@click.option("--list", "is_list", is_flag=True, help="Print what each case measures and how, and run none.")
def bench(
    *,
    names: tuple[str, ...],
    rounds: int,
    messages: int | None,
    smoke: bool,
    build: Path,
    svg: Path | None,
    is_list: bool,
) -> None:
    """Measure the cases NAMES, or most of them; exit 1 if a target was missed or a sample failed."""
    if is_list:
        _describe(CASES)
        return
    wanted = _wanted(" ".join(names).split())
    build.mkdir(exist_ok=True)
    outcomes: list[Outcome] = []
    found: dict[str, Any] = {}
    click.echo(
        f"{os.cpu_count()} processors ({platform.machine()}), load {os.getloadavg()[0]:.1f}; {versions()}"
    )
    with arena() as place:
        for case in wanted:
            outcomes.append(_run(case, place, rounds=1 if smoke else rounds, messages=messages, smoke=smoke))
            found[case.name] = outcomes[-1].as_json()
            (build / "bench.json").write_text(json.dumps(found, indent=1) + "\n")
    if svg is not None:
        svg.write_text(chart(found))
    click.echo(f"\n{last_line(outcomes)}")
    is_wrong = any(each.failures or (each.unmet and not smoke) for each in outcomes)
    sys.exit(1 if is_wrong else 0)


def _run(case: Case, place: Arena, *, rounds: int, messages: int | None, smoke: bool) -> Outcome:
    n = messages or (case.smoke_n if smoke else None)
    outcome = run_case(case, place, rounds=rounds, n=n, say=_say)
    if sys.stderr.isatty():
        click.echo("\r\033[K", nl=False, err=True)
    for line in outcome.lines():
        click.echo(line)
    return outcome


def _say(text: str) -> None:
    is_terminal = sys.stderr.isatty()
    click.echo(f"\r\033[K{text}" if is_terminal else text, nl=not is_terminal, err=True)


def _describe(cases: list[Case]) -> None:
    for case in cases:
        alone = "; only if it is named" if case.by_name_only else ""
        click.echo(f"{case.name}: {case.what}; {case.n} messages a sample{alone}")
        for contender in case.contenders:
            click.echo(f"  {contender.name:<30}{contender.settings}")
        for target in case.targets:
            click.echo(f"  must hold: {target.text}")


def _wanted(names: list[str]) -> list[Case]:
    known = {case.name: case for case in CASES}
    if unknown := [name for name in names if name not in known]:
        raise click.BadParameter(f"{', '.join(unknown)}: known are {', '.join(known)}", param_hint="CASE")
    return [known[name] for name in names] or [case for case in CASES if not case.by_name_only]


if __name__ == "__main__":
    run_tool(bench, "bench")

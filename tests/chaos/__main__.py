"""``python -m tests.chaos``: faults under load, a table of what came of them, build/chaos.json."""

import json
import sys
from contextlib import ExitStack
from pathlib import Path

import click

from ordermq.shop.demo.orders import OrderSource
from ordermq.testing.stack.private import PrivateStack
from ordermq.testing.stack.tool import run_tool
from tests.chaos.alerts import drilled
from tests.chaos.fault import Fault
from tests.chaos.faults import FAULTS, SMOKE
from tests.chaos.faults.real import RealOrders
from tests.chaos.faults.soak import Soak
from tests.chaos.outward import Outlets, outlets
from tests.chaos.report import HEADER, Result, last_line
from tests.chaos.run import run_fault


class Progress:
    """What is going on now: one line that changes on a terminal, else a line for each change of words."""

    def __init__(self, fault: Fault) -> None:
        self._fault = fault
        self._shown = ""

    def __call__(self, text: str) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r\033[K{self._fault.name} {self._fault.title}: {text}", nl=False, err=True)
        elif (words := text.partition(":")[0]) != self._shown:
            self._shown = words
            click.echo(f"{self._fault.name}: {words}", err=True)

    def clear(self) -> None:
        if sys.stderr.isatty():
            click.echo("\r\033[K", nl=False, err=True)


class Stacks:
    """The servers: one stack for fault after fault, a new one where the last fault spoilt it or failed.

    Virtual host, database and third parties are each fault's own.
    """

    def __init__(self) -> None:
        self._ends = ExitStack()
        self._stack: PrivateStack | None = None
        self._made_by: object = None

    def __enter__(self) -> "Stacks":
        return self

    def __exit__(self, *exc: object) -> None:
        self.throw_away()

    def running(self, fault: Fault) -> PrivateStack:
        """What the fault asks for, running."""
        if self._stack is not None and any(row.state != "up" for row in self._stack.status()):
            self.throw_away()
        if self._stack is None or self._made_by is not fault.servers:
            self.throw_away()
            self._stack = self._ends.enter_context(fault.servers())
            self._made_by = fault.servers
        return self._stack

    def throw_away(self) -> None:
        self._stack = None
        self._ends.close()


@click.command()
@click.argument("names", nargs=-1)
@click.option("--smoke", is_flag=True, help="Run the short list of faults.")
@click.option("--soak", "minutes", type=click.FloatRange(0.1), help="Run F29 for this many minutes.")
@click.option(
    "--real",
    "path",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Run F33 on this file.",
)
@click.option(
    "--orders", "count", type=click.IntRange(1), default=20_000, help="With --real: so many of its orders."
)
@click.option("--format", "format_", default="olist", help="With --real: the file's format.")
@click.option("--long", "is_long", is_flag=True, help="Include outages of several minutes.")
@click.option(
    "--seed", type=int, default=1, show_default=True, help="Seed of the orders and of every random choice."
)
@click.option(
    "--build",
    type=click.Path(path_type=Path),
    default=Path("build"),
    show_default=True,
    help="Folder of results and logs.",
)
@click.option("--alerts", "is_drill", is_flag=True, help="Compare alerts with each fault's row.")
@click.option("--list", "is_list", is_flag=True, help="Print what each fault does, and run none.")
def chaos(
    *,
    names: tuple[str, ...],
    smoke: bool,
    minutes: float | None,
    path: Path | None,
    count: int,
    format_: str,
    is_long: bool,
    seed: int,
    build: Path,
    is_list: bool,
    is_drill: bool,
) -> None:
    """Run the faults NAMES (F1, F2 ...), or all; exit 1 if any failed."""
    wanted: list[Fault] = (
        [Soak(minutes)]
        if minutes
        else [RealOrders(OrderSource(path, format_, count, seed))]
        if path
        else _wanted(" ".join(names).upper().split(), smoke=smoke, is_drill=is_drill)
    )
    if is_list:
        for fault in wanted:
            click.echo(f"{fault.name:<5}{fault.title}: {fault.expect}")
        return
    results: list[Result] = []
    click.echo(HEADER)
    build.mkdir(exist_ok=True)
    with Stacks() as stacks:
        for fault in wanted:
            result = _run(
                fault, seed, stacks, build,
                is_long=is_long, is_drill=is_drill, outward=outlets(fault, is_smoke=smoke, is_drill=is_drill),
            )  # fmt: skip
            results.append(result)
            (build / "chaos.json").write_text(
                json.dumps([each.as_json() for each in results], indent=1) + "\n"
            )
    click.echo(last_line(results))
    sys.exit(any(each.outcome == "failed" for each in results))


def _run(
    fault: Fault, seed: int, stacks: Stacks, build: Path, *, is_long: bool, is_drill: bool, outward: Outlets
) -> Result:
    progress = Progress(fault)
    progress("starting")
    logs = build / "chaos" / fault.name
    result = run_fault(
        fault,
        seed,
        stacks.running,
        logs=logs,
        say=progress,
        is_long=is_long,
        is_drill=is_drill,
        outward=outward,
    )
    if fault.spoils_stack or result.outcome == "failed":
        stacks.throw_away()
    progress.clear()
    for line in result.lines():
        click.echo(line)
    return result


def _wanted(names: list[str], *, smoke: bool, is_drill: bool) -> list[Fault]:
    found = drilled() if is_drill else FAULTS
    known = {fault.name: fault for fault in found}
    if unknown := [name for name in names if name not in known]:
        raise click.BadParameter(f"{', '.join(unknown)}: known are {', '.join(known)}", param_hint="FAULT")
    return [known[name] for name in names or (SMOKE if smoke else known)]


if __name__ == "__main__":
    run_tool(chaos, "chaos")

"""``bin/devstack``: the private stack from the command line, data kept in the checkout's .devstack."""

import json
import os
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import click

from ordermq.config import environment
from ordermq.errors import OrderMQError
from ordermq.testing.stack.errors import StackError
from ordermq.testing.stack.private import Part, PrivateStack, existing_stack, locked_devstack
from ordermq.testing.stack.release import RELEASES, release_named

PARTS = ("broker", "postgres", "sandbox")

part_argument = click.argument("part", type=click.Choice(PARTS))


@click.group()
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".devstack"),
    show_default=True,
    help="Folder of the stack.",
)
@click.pass_context
def cli(ctx: click.Context, state: Path) -> None:
    """A private RabbitMQ and PostgreSQL, and sandbox third parties, on free ports of 127.0.0.1."""
    ctx.obj = state


@cli.command()
@click.option(
    "--broker",
    type=click.Choice(RELEASES),
    envvar=environment.STACK_BROKER,
    help="Which RabbitMQ a new stack runs: the installed one, or 4 (bin/rabbitmq-4 fetches it).",
)
@click.pass_obj
def up(state: Path, broker: str | None) -> None:
    """Start everything that is down; the data of the last time is used again."""
    with locked_devstack(state, release_named(broker) if broker else None) as stack:
        if all(row.state == "up" for row in stack.status()):
            click.echo("devstack: up already")
            return
        began_s = time.monotonic()
        try:
            stack.start()
        except BaseException:
            # Half a stack helps nobody, and after Ctrl-C nobody may come to stop it.
            stack.kill()
            raise
        click.echo(f"devstack: up after {time.monotonic() - began_s:.1f} s")
        _print_table(stack)


@cli.command()
@click.option("--wipe", is_flag=True, help="Delete the data too.")
@click.pass_obj
def down(state: Path, wipe: bool) -> None:
    """Stop everything; the data stays."""
    if not state.exists():
        click.echo("devstack: there is none")
        return
    with locked_devstack(state) as stack:
        running = any(row.pid for row in stack.status())
        try:
            if wipe:
                stack.kill()
            else:
                stack.stop()
        finally:
            if wipe:
                stack.place.wipe()
    click.echo(f"devstack: {'stopped' if running else 'was down'}{', data deleted' if wipe else ''}")


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="A JSON list instead of a table.")
@click.pass_obj
def status(state: Path, as_json: bool) -> None:
    """Show each process; exit 0 if all are up, else 1."""
    stack = existing_stack(state) if state.exists() else None
    rows = stack.status() if stack else []
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=1))
    elif stack:
        _print_table(stack)
    else:
        click.echo("devstack: there is none; bin/devstack up starts one")
    sys.exit(0 if rows and all(row.state == "up" for row in rows) else 1)


@cli.command()
@click.pass_obj
def env(state: Path) -> None:
    """Print the ORDERMQ_* variables that lead to this stack, for eval in a shell."""
    for name, value in _started(state).environment().items():
        click.echo(f"export {name}={shlex.quote(value)}")


@cli.command()
@click.argument("part", type=click.Choice(PARTS), required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on as the log grows.")
@click.pass_obj
def logs(state: Path, part: str | None, follow: bool) -> None:
    """Print the end of each log, or of one part's."""
    stack = _started(state)
    files = [str(stack.parts[name].process.log) for name in ([part] if part else PARTS)]
    argv = ["tail", "-n", "50", *(["-F"] if follow else []), "--", *files]
    os.execvp("tail", argv)  # noqa: S606 - so that Ctrl-C ends tail itself


@cli.command()
@part_argument
@click.pass_obj
def start(state: Path, part: str) -> None:
    """Start one part."""
    _change(state, part, lambda it: it.start())


@cli.command()
@part_argument
@click.pass_obj
def stop(state: Path, part: str) -> None:
    """Stop one part cleanly."""
    _change(state, part, lambda it: it.stop())


@cli.command()
@part_argument
@click.pass_obj
def restart(state: Path, part: str) -> None:
    """Stop one part cleanly and start it on the same ports."""
    _change(state, part, lambda it: it.restart())


@cli.command()
@part_argument
@click.pass_obj
def kill(state: Path, part: str) -> None:
    """SIGKILL one part."""
    _change(state, part, lambda it: it.kill())


def main() -> None:
    """Run the command line; an error of ours is one line and its exit code."""
    try:
        cli(prog_name="bin/devstack")
    except OrderMQError as exc:
        click.echo(f"devstack: {exc}", err=True)
        sys.exit(exc.exit_code)


def _started(state: Path) -> PrivateStack:
    stack = existing_stack(state)
    if not stack.is_known:
        raise StackError(f"the stack in {state} was never up; bin/devstack up starts it")
    return stack


def _change(state: Path, part: str, change: Callable[[Part], None]) -> None:
    _started(state)
    with locked_devstack(state) as stack:
        change(stack.parts[part])
        _print_table(stack)


def _print_table(stack: PrivateStack) -> None:
    for row in stack.status():
        click.echo(f"{row.name:<10}{row.state:<8}pid {row.pid or '-':<9}port {row.port or '-'}")
    click.echo(f"logs and state in {stack.place.state}, data in {stack.place.data}")


if __name__ == "__main__":
    main()

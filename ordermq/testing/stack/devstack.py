"""``ordermq devstack``: a private stack from the command line, its data kept in a folder.

``bin/devstack`` of a checkout is the same with the checkout's .devstack as that folder.
"""

import json
import os
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import click

from ordermq.cli.modules import modules_of
from ordermq.config import environment
from ordermq.errors import OrderMQError
from ordermq.testing.stack.account import server_account
from ordermq.testing.stack.errors import StackError
from ordermq.testing.stack.guard import clean_up
from ordermq.testing.stack.place import Place
from ordermq.testing.stack.private import PrivateStack, existing_stack, locked_devstack
from ordermq.testing.stack.release import RELEASES, release_named
from ordermq.testing.stack.server import PrivateServer

# libpq's own names for where the database is, and the settings that say the same
_LIBPQ = {
    "PGHOST": "HOST",
    "PGPORT": "PORT",
    "PGDATABASE": "NAME",
    "PGUSER": "USERNAME",
    "PGPASSWORD": "PASSWORD",
}

part_argument = click.argument("part")


@click.group(
    name="devstack",
    epilog="""\b
Examples:
  ordermq devstack up
  eval "$(ordermq devstack env)"
  ordermq devstack kill broker
  ordermq devstack down --wipe""",
)
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".devstack"),
    show_default=True,
    help="Folder of the stack's data, passwords and logs.",
)
@click.pass_context
def command(ctx: click.Context, state: Path) -> None:
    """Run a private RabbitMQ and PostgreSQL on free ports of 127.0.0.1.

    The servers that the modules bring to practise on run beside them, such as the shop's
    payment gateway. PART is broker, postgres, or such a server as 'status' names it.
    """
    ctx.obj = state


@command.command()
@click.option(
    "--broker",
    type=click.Choice(RELEASES),
    envvar=environment.STACK_BROKER,
    help="RabbitMQ of a new stack: the installed one, or one that bin/rabbitmq of a checkout fetches.",
)
@click.option(
    "--config", "config_path", type=click.Path(), metavar="FILE", help="Settings file that names the modules."
)
@click.pass_obj
def up(state: Path, broker: str | None, config_path: str | None) -> None:
    """Start every part that is down, on the data of the last time."""
    with locked_devstack(state, release_named(broker) if broker else None, _sandboxes(config_path)) as stack:
        if all(row.state == "up" for row in stack.status()):
            click.echo("devstack: up already")
            return
        began_s = time.monotonic()
        try:
            stack.start()
        except BaseException:
            # Leave no half-started stack behind: after Ctrl-C a user would not expect running servers.
            stack.kill()
            raise
        click.echo(f"devstack: up after {time.monotonic() - began_s:.1f} s")
        _print_table(stack)


@command.command()
@click.option("--wipe", is_flag=True, help="Kill the servers and delete their data.")
@click.pass_obj
def down(state: Path, wipe: bool) -> None:
    """Stop every part. The data stays, unless --wipe is given."""
    if not state.exists():
        click.echo("devstack: there is none")
        return
    if wipe:
        place = Place.beside(state, server_account())
        with place.locked():
            was_running = clean_up(place)
    else:
        with locked_devstack(state) as stack:
            was_running = any(row.pid for row in stack.status())
            stack.stop()
    click.echo(f"devstack: {'stopped' if was_running else 'was down'}{', data deleted' if wipe else ''}")


@command.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list instead of a table.")
@click.pass_obj
def status(state: Path, as_json: bool) -> None:
    """Show each process. The exit code is 0 if all are up, else 1."""
    stack = existing_stack(state) if state.exists() else None
    rows = stack.status() if stack else []
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=1))
    elif stack:
        _print_table(stack)
    else:
        click.echo("devstack: there is none; 'devstack up' starts one")
    sys.exit(0 if rows and all(row.state == "up" for row in rows) else 1)


@command.command()
@click.pass_obj
def env(state: Path) -> None:
    """Print the variables that lead ordermq, and psql, to this stack; for a shell's eval."""
    variables = _started(state).environment()
    for name, setting in _LIBPQ.items():
        variables[name] = variables[f"ORDERMQ_DATABASE_{setting}"]
    for name, value in variables.items():
        click.echo(f"export {name}={shlex.quote(value)}")


@command.command()
@click.argument("part", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on printing as the logs grow.")
@click.pass_obj
def logs(state: Path, part: str | None, follow: bool) -> None:
    """Print the end of each part's log, or of PART's."""
    stack = _started(state)
    parts = [_part(stack, part)] if part else stack.parts.values()
    files = [str(each.process.log) for each in parts]
    argv = ["tail", "-n", "50", *(["-F"] if follow else []), "--", *files]
    os.execvp("tail", argv)  # noqa: S606 # so that Ctrl-C ends tail itself


@command.command()
@part_argument
@click.pass_obj
def start(state: Path, part: str) -> None:
    """Start PART."""
    _change(state, part, lambda server: server.start())


@command.command()
@part_argument
@click.pass_obj
def stop(state: Path, part: str) -> None:
    """Stop PART cleanly."""
    _change(state, part, lambda server: server.stop())


@command.command()
@part_argument
@click.pass_obj
def restart(state: Path, part: str) -> None:
    """Stop PART cleanly and start it on the same ports."""
    _change(state, part, lambda server: server.restart())


@command.command()
@part_argument
@click.pass_obj
def kill(state: Path, part: str) -> None:
    """End PART with SIGKILL, as a crash would."""
    _change(state, part, lambda server: server.kill())


def main() -> None:
    """Run ``bin/devstack``; an error of ordermq is one line and its exit code."""
    try:
        command(prog_name="bin/devstack")
    except OrderMQError as exc:
        click.echo(f"devstack: {exc}", err=True)
        sys.exit(exc.exit_code)


def _sandboxes(config_path: str | None) -> list[str]:
    """Return the names of the classes that the modules in force bring."""
    found = [module.sandbox for module in modules_of(config_path) if module.sandbox]
    return [each if isinstance(each, str) else f"{each.__module__}:{each.__qualname__}" for each in found]


def _started(state: Path) -> PrivateStack:
    stack = existing_stack(state)
    if not stack.is_known:
        raise StackError(f"the stack in {state} was never up; 'devstack up' starts it")
    return stack


def _part(stack: PrivateStack, name: str) -> PrivateServer:
    if name not in stack.parts:
        raise click.BadParameter(f"{name!r} is not one of {', '.join(stack.parts)}", param_hint="PART")
    return stack.parts[name]


def _change(state: Path, part: str, change: Callable[[PrivateServer], None]) -> None:
    _started(state)
    with locked_devstack(state) as stack:
        change(_part(stack, part))
        _print_table(stack)


def _print_table(stack: PrivateStack) -> None:
    for row in stack.status():
        click.echo(f"{row.name:<10}{row.state:<8}pid {row.pid or '-':<9}port {row.port or '-'}")
    click.echo(f"logs and state in {stack.place.state}, data in {stack.place.data}")


if __name__ == "__main__":
    main()

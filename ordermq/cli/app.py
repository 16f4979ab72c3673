"""``ordermq``: looking at orders and messages, and preparing database and broker.

A command's module is imported when the command is run, so that ``ordermq --help``
and shell completion need neither pika nor psycopg2.
"""

import importlib
from typing import NoReturn

import click

from ordermq import __version__, failpoints
from ordermq.cli.run import EXIT_CODES
from ordermq.cli.run import main as run_main

COMMANDS = {
    "actions": "List what operators changed by hand.",
    "completion": "Print a shell's completion script.",
    "config": "Show the settings in force and where each comes from.",
    "db": "Create or update the database's tables; delete what is old.",
    "dead": "Look at dead letters; replay or discard them.",
    "new": "Write a project with one handler, its table and its test.",
    "order": "Look at orders; cancel, resolve and resume them.",
    "reconcile": "Check that no order was lost, doubled or forgotten.",
    "stock": "Load and show stock.",
    "topology": "Create or check exchanges, queues and bindings.",
}


class LazyGroup(click.Group):
    """A group whose commands are the modules of COMMANDS, each holding one named ``command``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        package = "ordermq.shop.cli" if cmd_name in ("order", "stock") else "ordermq.cli"
        module = importlib.import_module(f"{package}.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup,
    epilog=f"""\b
Examples:
  ordermq db migrate
  ordermq topology apply
  ordermq order list --attention
  ordermq order show 7f3a --json
  ordermq reconcile

{EXIT_CODES}""",
)
@click.version_option(__version__, prog_name="ordermq")
def app() -> None:
    """Orders on RabbitMQ and PostgreSQL: prepare, look, repair.

    Settings come from a TOML file, ORDERMQ_ variables and flags; see 'ordermq config
    show'. The processes are ordermq-relay and ordermq-consumer; orders come in
    through ordermq-publish or your own code.
    """
    failpoints.warn()


def main() -> NoReturn:
    run_main(app, "ordermq")

"""``ordermq``: preparing database and broker, looking at messages, and what the modules bring."""

from typing import NoReturn

import click

from ordermq import __version__, failpoints
from ordermq.cli.groups import CommandGroup
from ordermq.cli.run import EXIT_CODES
from ordermq.cli.run import main as run_main


@click.group(
    cls=CommandGroup,
    epilog=f"""\b
Examples:
  ordermq db migrate
  ordermq topology apply
  ordermq dead list
  ordermq reconcile

{EXIT_CODES}""",
)
@click.version_option(__version__, prog_name="ordermq")
def app() -> None:
    """Prepare, inspect and repair a system on RabbitMQ and PostgreSQL.

    Settings come from a TOML file, ORDERMQ_ variables and flags; see 'ordermq config
    show'. The modules that the settings name bring commands of their own. The processes
    are ordermq-relay and ordermq-consumer; messages come from ordermq-publish or your code.
    """
    failpoints.warn()


def main() -> NoReturn:
    run_main(app, "ordermq")

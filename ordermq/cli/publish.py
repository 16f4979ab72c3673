"""``ordermq-publish``: messages in bulk, and what the modules bring."""

from typing import NoReturn

import click

from ordermq import __version__, failpoints
from ordermq.cli.groups import CommandGroup
from ordermq.cli.run import EXIT_CODES
from ordermq.cli.run import main as run_main


@click.group(cls=CommandGroup, table="PUBLISH_COMMANDS", prefix="publish_", epilog=EXIT_CODES)
@click.version_option(__version__, prog_name="ordermq-publish")
def app() -> None:
    """Publish messages in bulk. The modules that the settings name bring commands of their own."""
    failpoints.warn()


def main() -> NoReturn:
    run_main(app, "ordermq-publish")

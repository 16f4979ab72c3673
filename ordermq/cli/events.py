"""``ordermq events``: the history of events, for other systems."""

import click

from ordermq.cli.forwarding import forward
from ordermq.cli.run import EXIT_CODES


@click.group("events", epilog=EXIT_CODES)
def command() -> None:
    """Hand the events of the history on to other systems."""


command.add_command(forward)

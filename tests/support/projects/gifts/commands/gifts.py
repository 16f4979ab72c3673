"""``ordermq gifts``: how many gifts were wrapped."""

import click

from ordermq.cli.options import common
from ordermq.cli.output import write
from ordermq.cli.program import load_program


@click.command("gifts")
@common
def command(config_path):
    """Count gifts."""
    with load_program(config_path).session("ordermq gifts").transaction() as tx:
        (count,) = tx.fetch_one("SELECT count(*) FROM gifts.gifts")
    write(f"{count} gifts")

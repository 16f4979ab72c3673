"""``ordermq-publish generate``: made-up orders for demonstrations and tests."""

import click

from ordermq.cli.options import common
from ordermq.cli.output import write_bytes
from ordermq.cli.run import EXIT_CODES
from ordermq.shop.intake.generate import generate, json_line


@click.command(
    "generate",
    epilog=f"""\b
Examples:
  ordermq-publish generate --orders 2000 > orders.jsonl
  ordermq-publish generate --orders 100000 --seed 7 | gzip > orders.jsonl.gz

{EXIT_CODES}""",
)
@click.option(
    "--orders", "count", type=click.IntRange(1), default=2000, show_default=True, help="How many orders."
)
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed makes the same orders.")
@common
def command(count: int, seed: int, config_path: str | None) -> None:
    """Write made-up orders in the native format to standard output.

    A few products sell far more than the others; about 2 of 100 orders carry a card
    that the sandbox declines. 'ordermq stock from-orders' makes stock that suits them.
    """
    for order in generate(count, seed):
        write_bytes(json_line(order))

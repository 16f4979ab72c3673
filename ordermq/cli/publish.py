"""``ordermq-publish``: orders and messages in bulk."""

from typing import NoReturn

import click

from ordermq import __version__, failpoints
from ordermq.cli.options import common
from ordermq.cli.output import write_bytes
from ordermq.cli.publish_messages import messages
from ordermq.cli.run import EXIT_CODES
from ordermq.cli.run import main as run_main
from ordermq.shop.cli.publish_orders import orders
from ordermq.shop.intake.generate import generate as generate_orders
from ordermq.shop.intake.generate import json_line


@click.group(epilog=EXIT_CODES)
@click.version_option(__version__, prog_name="ordermq-publish")
def app() -> None:
    """Place orders and publish messages in bulk."""
    failpoints.warn()


@app.command(
    epilog=f"""\b
Examples:
  ordermq-publish generate --orders 2000 > orders.jsonl
  ordermq-publish generate --orders 100000 --seed 7 | gzip > orders.jsonl.gz

{EXIT_CODES}"""
)
@click.option("--orders", "count", type=click.IntRange(1), default=2000, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed, the same orders.")
@common
def generate(count: int, seed: int, config_path: str | None) -> None:
    """Write made-up orders in the native format to standard output.

    Few products sell much; about 2 in 100 orders carry a card the sandbox declines.
    'ordermq stock from-orders' makes the stock that suits them.
    """
    for order in generate_orders(count, seed):
        write_bytes(json_line(order))


app.add_command(orders)
app.add_command(messages)


def main() -> NoReturn:
    run_main(app, "ordermq-publish")

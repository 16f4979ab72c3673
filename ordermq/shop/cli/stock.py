"""``ordermq stock``: the units of each product that came in, and those that are left."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

import click

from ordermq.cli.bulk import commit
from ordermq.cli.operator import actor
from ordermq.cli.options import as_json, common, dry_run, limit, reason
from ordermq.cli.output import at_most, note, write, write_json, write_table
from ordermq.cli.progress import Input
from ordermq.cli.records import Line, Reject, read_lines
from ordermq.cli.run import EXIT_CODES
from ordermq.errors import BadInput
from ordermq.shop import load_stock, queries
from ordermq.shop.cli.exports import export_options, read_options
from ordermq.shop.cli.program import load_shop
from ordermq.shop.intake import FORMATS, Entry, Skipped, read_orders
from ordermq.shop.intake.demand import demand_of, stock_for
from ordermq.shop.intake.rows import read_rows, split
from ordermq.shop.stock import MAX_LOADED, correct_stock
from ordermq.store import StoreTransaction, actions

HEADER = "product_id,units"


@click.group("stock", epilog=EXIT_CODES)
def command() -> None:
    """Load, correct and show stock."""


@command.command(
    epilog=f"""\b
Examples:
  ordermq stock load stock.csv
  ordermq stock from-orders orders.jsonl | ordermq stock load -

{EXIT_CODES}"""
)
@click.argument("file", metavar="FILE|-")
@dry_run
@common
def load(file: str, dry_run: bool, config_path: str | None) -> None:
    """Set the units of each product that ever came in, from a CSV with the header product_id,units.

    FILE is loaded in one transaction, all or nothing; to load it again changes nothing. A
    product cannot be set to fewer units than are reserved or shipped. --dry-run exits as the
    load would.
    """
    with Input(file) as source:
        rows = list(_rows(read_lines(source)))
    with load_shop(config_path).session("ordermq stock").transaction(dry_run=dry_run) as tx:
        count = load_stock(rows, tx)
    write(f"{'would set' if dry_run else 'set'} {count} products, {sum(units for _, units in rows)} units")


@command.command(
    epilog=f"""\b
Examples:
  ordermq stock correct P-1 --by -2 --reason "broken in the store" --dry-run
  ordermq stock correct P-1 --by 1 --reason "came back without its order"

{EXIT_CODES}"""
)
@click.argument("product")
@click.option(
    "--by",
    type=click.IntRange(-MAX_LOADED, MAX_LOADED),
    required=True,
    help="Units that came; -N: went.",
)
@reason
@dry_run
@common
def correct(*, product: str, by: int, reason: str, dry_run: bool, config_path: str | None) -> None:
    """Add units to PRODUCT, or take them away, for losses and for goods that came back by themselves.

    The same command again corrects again. Units that are reserved or shipped cannot be taken away:
    exit 65. 'ordermq stock load' sets what its file says, also after a correction.
    'ordermq actions' shows who corrected what.
    """
    session = load_shop(config_path).session("ordermq stock")

    def corrected_in(tx: StoreTransaction) -> tuple[int, int]:
        corrected = correct_stock(product, by, tx)
        actions.record(tx, actor(), "stock.correct", [f"product {product}"], f"by {by}: {reason}")
        return corrected

    loaded, on_hand = commit(session, corrected_in, dry_run=dry_run)
    word = "would have" if dry_run else "has"
    write(f"product {product} {word} {on_hand} units on hand, {loaded} loaded")


@command.command(
    epilog=f"""\b
Examples:
  ordermq stock show
  ordermq stock show P-1 P-2 --json

{EXIT_CODES}"""
)
@click.argument("products", nargs=-1, metavar="[PRODUCT]...")
@limit
@as_json
@common
def show(products: tuple[str, ...], limit: int, as_json: bool, config_path: str | None) -> None:
    """Show the units of each PRODUCT, or of all products: loaded = on hand + reserved + shipped.

    JSON lines: one object for each product.
    """
    with load_shop(config_path).session("ordermq stock").transaction() as tx:
        rows = at_most(limit, queries.stock(tx, products=products or None, limit=limit + 1))
    if as_json:
        for row in rows:
            write_json(asdict(row))
        return
    write_table(
        ("product", "loaded", "on hand", "reserved", "shipped"),
        [(row.product_id, row.loaded, row.on_hand, row.reserved, row.shipped) for row in rows],
    )


@command.command(
    epilog=f"""\b
Examples:
  ordermq stock from-orders orders.jsonl > stock.csv
  ordermq stock from-orders olist.jsonl.gz --format olist --cover 0.9 > stock.csv
  ordermq stock from-orders orders_export.csv --format shopify --paid place > stock.csv

{EXIT_CODES}"""
)
@click.argument("file", metavar="FILE|-")
@click.option("--format", "format_", type=click.Choice(list(FORMATS)), default="native", show_default=True)
@click.option(
    "--cover",
    type=click.FloatRange(0, 1),
    default=0.98,
    show_default=True,
    help="The part of their demand that the best-selling hundredth of the products gets.",
)
@export_options
@common
def from_orders(
    *,
    file: str,
    format_: str,
    cover: float,
    paid: str,
    mapping_path: Path | None,
    config_path: str | None,
) -> None:
    """Print stock for the orders of FILE, for demonstrations and tests.

    Every product gets the units that the orders ask for. The best sellers get only the part
    --cover, so that some orders find too little stock. Orders that cannot be read, or are not
    to be placed, are left out.
    """
    counts: Counter[str] = Counter()
    options = read_options(format_, paid, mapping_path)

    def orders(source: Input) -> Iterator[Entry]:
        for found in read_orders(source, format_, options):
            if isinstance(found, Entry):
                yield found
            else:
                counts["skipped" if isinstance(found, Skipped) else "rejected"] += 1

    with Input(file) as source:
        rows = stock_for(demand_of(orders(source)), cover=cover)
    write(HEADER)
    for product_id, units in rows:
        write(f"{product_id},{units}")
    if not rows:
        note(f"{source.name} holds no orders")
    if counts["rejected"]:
        note(f"{counts['rejected']} records could not be read as {format_}")
    if counts["skipped"]:
        note(f"{counts['skipped']} records are not to be placed, such as cancelled orders; see also --paid")


def _rows(lines: Iterable[Line | Reject]) -> Iterator[tuple[str, int]]:
    """Yield (product_id, units). Raises BadInput naming the first line that is not such a row."""
    source = iter(lines)
    header = next(source, None)
    if header is None:
        raise BadInput(f"the file is empty; its first line must be {HEADER}")
    if isinstance(header, Reject):
        raise BadInput(f"line {header.line}: {header.reason}")
    if split(header.text) != HEADER.split(","):
        raise BadInput(f"line {header.number} is not the header {HEADER}")
    for row in read_rows(source, HEADER.split(",")):
        units = row.cells.get("units", "")
        if row.problem or not (units.isascii() and units.isdigit()) or len(units) > 18:
            why = f"; {row.problem}" if row.problem else ""
            raise BadInput(
                f"line {row.line}: {row.text[:80]!r} is not a product and a whole number of units{why}"
            )
        yield row.cells["product_id"], int(units)

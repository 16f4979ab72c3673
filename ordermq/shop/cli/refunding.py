"""``ordermq order refund`` and ``return``: money of a paid order that goes back, and goods that come back."""

from collections.abc import Callable, Sequence
from dataclasses import asdict

import click

from ordermq.cli.bulk import commit
from ordermq.cli.operator import actor
from ordermq.cli.options import as_json, common, dry_run, reason
from ordermq.cli.output import write, write_json
from ordermq.cli.run import EXIT_CODES
from ordermq.errors import BadInput
from ordermq.shop import queries
from ordermq.shop.cli.expecting import expect, expecting
from ordermq.shop.cli.program import load_shop
from ordermq.shop.money import read_amount, written
from ordermq.shop.refunding import RefundRequested, refund_order, return_goods
from ordermq.store import StoreTransaction

_line = click.option(
    "--line", "lines", type=click.IntRange(1), multiple=True, metavar="N",
    help="Number of a line, as 'order show' has it; with a --quantity. Repeat both for more lines.",
)  # fmt: skip
_quantity = click.option(
    "--quantity", "quantities", type=click.IntRange(1), multiple=True, metavar="Q",
    help="Units of that line.",
)  # fmt: skip
_again = click.option(
    "--again", is_flag=True, help="Do it although the same was asked for before: a second time, on purpose."
)


@click.command(
    epilog=f"""\b
Examples:
  ordermq order refund A-1001 --line 1 --quantity 2 --reason "damaged" --dry-run
  ordermq order refund A-1001 --line 1 --quantity 2 --restock --reason "came back"
  ordermq order refund A-1001 --amount 5.00 --reason "late"
  ordermq order refund A-1001 --reason "as agreed"

{EXIT_CODES}"""
)
@click.argument("order_id")
@_line
@_quantity
@click.option(
    "--amount", metavar="AMOUNT", help="What goes back, such as 12.99, whatever the lines are worth."
)
@click.option("--restock", is_flag=True, help="The goods came back and can be sold again.")
@_again
@expect
@reason
@dry_run
@as_json
@common
def refund(
    *,
    order_id: str,
    lines: Sequence[int],
    quantities: Sequence[int],
    amount: str | None,
    restock: bool,
    again: bool,
    expected: int | None,
    reason: str,
    dry_run: bool,
    as_json: bool,
    config_path: str | None,
) -> None:
    """Pay a part of the paid or completed ORDER_ID back: units of lines, an --amount, or all that is left.

    Units are worth their part of the line with all discounts, taxes and shipping; 'order show' lists
    the lines. The same command again changes nothing, unless with --again. Never more goes back than
    was taken. The order stays paid or completed, and the customer is told. Exit 1 if there is no such
    order, 65 if so much is not left, it is not paid, or a refund of it is under way.

    JSON: one object {order_id, refund_no, status, amount_minor, currency, lines, restocked, is_duplicate}.
    """

    def asked(tx: StoreTransaction) -> RefundRequested:
        amount_minor = None
        if amount is not None:
            amount_minor = read_amount(amount, queries.currency_of(order_id, tx), "--amount")
        return refund_order(
            order_id, tx, lines=_units(lines, quantities) or None, amount_minor=amount_minor,
            restock=restock, by=actor(), reason=reason, again=again,
        )  # fmt: skip

    _run(expecting(order_id, expected, asked), config_path, dry_run=dry_run, as_json=as_json)


@click.command(
    "return",
    epilog=f"""\b
Examples:
  ordermq order return A-1001 --line 1 --quantity 2 --reason "too small" --dry-run
  ordermq order return A-1001 --line 1 --quantity 1 --no-restock --reason "broken"
  ordermq order return A-1001 --line 2 --quantity 1 --no-refund --reason "paid before"

{EXIT_CODES}""",
)
@click.argument("order_id")
@_line
@_quantity
@click.option(
    "--refund/--no-refund", "refund", default=True, show_default=True,
    help="Whether what the goods are worth is paid back.",
)  # fmt: skip
@click.option(
    "--restock/--no-restock", default=True, show_default=True, help="Whether the goods can be sold again."
)
@_again
@expect
@reason
@dry_run
@as_json
@common
def return_(
    *,
    order_id: str,
    lines: Sequence[int],
    quantities: Sequence[int],
    refund: bool,
    restock: bool,
    again: bool,
    expected: int | None,
    reason: str,
    dry_run: bool,
    as_json: bool,
    config_path: str | None,
) -> None:
    """Record that goods of the shipped ORDER_ID came back, and pay back what they are worth.

    The goods are on hand again, unless with --no-restock; 'ordermq actions' shows the movement. The same
    command again changes nothing, unless with --again. Exit 1 if there is no such order, 65 if
    so many units are not left to return, it is not shipped, or a refund of it is under way.

    JSON: as for 'order refund'; amount_minor is 0 if nothing is paid back.
    """
    units = _units(lines, quantities)
    if not units:
        raise click.UsageError("name what came back: --line N --quantity Q")

    def asked(tx: StoreTransaction) -> RefundRequested:
        return return_goods(
            order_id, tx, lines=units, refund=refund, restock=restock, by=actor(), reason=reason, again=again
        )

    _run(expecting(order_id, expected, asked), config_path, dry_run=dry_run, as_json=as_json)


def _units(lines: Sequence[int], quantities: Sequence[int]) -> dict[int, int]:
    if len(lines) != len(quantities):
        raise click.UsageError(
            f"each --line needs one --quantity: there are {len(lines)} and {len(quantities)}"
        )
    units = dict(zip(lines, quantities, strict=True))
    if len(units) != len(lines):
        raise BadInput("--line: the same line is named twice; give the sum of its units")
    return units


def _run(
    asked: Callable[[StoreTransaction], RefundRequested],
    config_path: str | None,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    done = commit(load_shop(config_path).session("ordermq order"), asked, dry_run=dry_run)
    if as_json:
        write_json(asdict(done))
        return
    money = f"{written(done.amount_minor, done.currency)} {done.currency}"
    what = f"refund {done.refund_no} of {money}" if done.amount_minor else f"return {done.refund_no}"
    if done.is_duplicate:
        write(f"order {done.order_id}: this was asked for before, as {what}: nothing was changed")
        write("a second one like it, on purpose: --again")
        return
    how = "under way" if done.amount_minor else "recorded"
    write(f"order {done.order_id}: {what} {'would be' if dry_run else 'is'} {how}")
    for product_id, units in done.restocked.items():
        write(f"product {product_id}: {units} units {'would be' if dry_run else 'are'} on hand again")

"""``ordermq order pay`` and ``reopen``: another card, and a cancelled order that begins anew."""

import sys
from dataclasses import asdict

import click

from ordermq.cli.bulk import commit
from ordermq.cli.operator import actor
from ordermq.cli.options import as_json, common, dry_run, reason
from ordermq.cli.output import write, write_json
from ordermq.cli.run import EXIT_CODES
from ordermq.shop.cli.expecting import expect, expecting
from ordermq.shop.cli.program import load_shop
from ordermq.shop.pay import CardReplaced, pay_order
from ordermq.shop.reopen import Reopened, reopen_order
from ordermq.store import StoreTransaction, actions


def _read_token(given: str | None) -> str | None:
    if given != "-":
        return given
    return sys.stdin.readline().strip() if sys.stdin is not None else ""


_CALLED = "as the payment service calls it; - reads it from standard input."
_card = click.option(
    "--card-token",
    required=True,
    metavar="TOKEN",
    callback=lambda *given: _read_token(given[2]),
    help=f"The card that pays the order, {_CALLED}",
)
_new_card = click.option(
    "--card-token",
    metavar="TOKEN",
    callback=lambda *given: _read_token(given[2]),
    help=f"The card that pays it now, {_CALLED} Needed after a decline or a refund.",
)


@click.command(
    epilog=f"""\b
Examples:
  ordermq order pay A-1001 --card-token tok_4242 --reason "customer called" --dry-run
  ordermq order pay A-1001 --card-token tok_4242 --reason "customer called"
  ordermq order pay A-1001 --card-token - --reason "customer called" < token.txt

{EXIT_CODES}"""
)
@click.argument("order_id")
@_card
@expect
@reason
@dry_run
@as_json
@common
def pay(
    *,
    order_id: str,
    card_token: str,
    expected: int | None,
    reason: str,
    dry_run: bool,
    as_json: bool,
    config_path: str | None,
) -> None:
    """Have ORDER_ID, whose card was declined, paid from another card.

    The order waits for shop.payment_grace_s; 'order show' says until when. The capture is a new one, under a
    key of its own. The same card again changes nothing while it is being charged. A shop's own code calls
    ordermq.shop.pay_order. Exit 1 if there is no such order, 65 if it does not wait for a card.

    JSON: one object {order_id, status, is_duplicate}.
    """

    def paid_in(tx: StoreTransaction) -> CardReplaced:
        replaced = pay_order(order_id, card_token, tx, by=actor())
        if not replaced.is_duplicate:
            actions.record(tx, actor(), "order.pay", [f"order {order_id}"], reason)
        return replaced

    session = load_shop(config_path).session("ordermq order")
    replaced = commit(session, expecting(order_id, expected, paid_in), dry_run=dry_run)
    if as_json:
        write_json(asdict(replaced))
    elif replaced.is_duplicate:
        write(f"order {order_id} is {replaced.status.value} with this card already: nothing was changed")
    else:
        write(f"order {order_id} {'would be' if dry_run else 'is'} charged to this card")


@click.command(
    epilog=f"""\b
Examples:
  ordermq order reopen A-1001 --reason "cancelled by mistake" --dry-run
  ordermq order reopen A-1001 --reason "cancelled by mistake"
  ordermq order reopen A-1001 --card-token tok_4242 --reason "wants it after all"

{EXIT_CODES}"""
)
@click.argument("order_id")
@_new_card
@expect
@reason
@dry_run
@as_json
@common
def reopen(
    *,
    order_id: str,
    card_token: str | None,
    expected: int | None,
    reason: str,
    dry_run: bool,
    as_json: bool,
    config_path: str | None,
) -> None:
    """Open the cancelled ORDER_ID again: its stock is reserved and its payment captured as for a new order.

    After a decline or a full refund it needs another --card-token, and the capture is a new one under a
    key of its own. Exit 1 if there is no such order, 65 if the shop may still have money of it, a step
    of it has not ended, or a card is missing. The customer is not told of a second cancellation.

    JSON: one object {order_id, status, is_duplicate}.
    """

    def opened_in(tx: StoreTransaction) -> Reopened:
        return reopen_order(order_id, tx, by=actor(), reason=reason, card_token=card_token)

    session = load_shop(config_path).session("ordermq order")
    opened = commit(session, expecting(order_id, expected, opened_in), dry_run=dry_run)
    if as_json:
        write_json(asdict(opened))
    elif opened.is_duplicate:
        write(f"order {order_id} is {opened.status.value}: nothing was changed")
    else:
        write(f"order {order_id} {'would be' if dry_run else 'is'} {opened.status.value} again")

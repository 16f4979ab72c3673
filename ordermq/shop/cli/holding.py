"""``ordermq order hold`` and ``release``: one order waits, whatever it waits for."""

from typing import Any

import click

from ordermq.cli.bulk import commit
from ordermq.cli.operator import actor
from ordermq.cli.options import as_json, common, dry_run, reason
from ordermq.cli.output import seconds, write, write_json
from ordermq.cli.run import EXIT_CODES
from ordermq.shop.cli.program import load_shop
from ordermq.shop.hold import hold_order, release_order
from ordermq.store.holds import Hold


@click.command(
    epilog=f"""\b
Examples:
  ordermq order hold A-1001 --reason "looks like fraud" --dry-run
  ordermq order hold A-1001 --reason "looks like fraud"
  ordermq order list --held

{EXIT_CODES}"""
)
@click.argument("order_id")
@reason
@dry_run
@as_json
@common
def hold(*, order_id: str, reason: str, dry_run: bool, as_json: bool, config_path: str | None) -> None:
    """Have ORDER_ID wait: none of its messages is handled, within 2 seconds.

    What runs is finished. Its messages wait in the outbox and are looked at again every 30
    seconds; that counts neither as an attempt nor as part of their age. It lasts until 'ordermq
    order release', whatever is restarted meanwhile. Exit 1 if there is no such order.

    JSON: {order_id, outcome, held_at, held_by, hold_reason}.
    """
    session, by = load_shop(config_path).session("ordermq order"), actor()
    found, is_new = commit(
        session, lambda tx: hold_order(order_id, tx, by=by, reason=reason), dry_run=dry_run
    )
    outcome = ("would be held" if dry_run else "held") if is_new else "held before"
    if as_json:
        write_json(_document(order_id, outcome, found))
    elif is_new or found is None:
        write(f"order {order_id}: {outcome}; to end it: ordermq order release {order_id}")
    else:
        since = f"since {seconds(found.held_at)} UTC by {found.held_by}"
        write(f"order {order_id}: {outcome}, {since}: {found.hold_reason}")


@click.command(
    epilog=f"""\b
Examples:
  ordermq order release A-1001 --reason "it is no fraud"
  ordermq order release A-1001 --reason "it is no fraud" --json

{EXIT_CODES}"""
)
@click.argument("order_id")
@reason
@dry_run
@as_json
@common
def release(*, order_id: str, reason: str, dry_run: bool, as_json: bool, config_path: str | None) -> None:
    """Let ORDER_ID, which is held, go on within 30 seconds. One that is not held stays as it is.

    Exit 1 if there is no such order.

    JSON: {order_id, outcome, held_at, held_by, hold_reason}.
    """
    session, by = load_shop(config_path).session("ordermq order"), actor()
    ended = commit(session, lambda tx: release_order(order_id, tx, by=by, reason=reason), dry_run=dry_run)
    outcome = ("would be released" if dry_run else "released") if ended else "not held"
    if as_json:
        write_json(_document(order_id, outcome, ended))
    elif ended:
        since = f"held since {seconds(ended.held_at)} UTC by {ended.held_by}"
        write(f"order {order_id}: {outcome}, {since}: {ended.hold_reason}")
    else:
        write(f"order {order_id}: {outcome}")


def _document(order_id: str, outcome: str, found: Hold | None) -> dict[str, Any]:
    fields = ("held_at", "held_by", "hold_reason")
    return {"order_id": order_id, "outcome": outcome} | {name: getattr(found, name, None) for name in fields}

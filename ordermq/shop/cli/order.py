"""``ordermq order``: the state of orders, and what a person may do about one."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from typing import Any

import click

from ordermq.cli.bulk import commit
from ordermq.cli.operator import actor
from ordermq.cli.options import as_json, common, dry_run, limit, reason, text
from ordermq.cli.output import at_most, note, seconds, shortened, write, write_json, write_table
from ordermq.cli.program import Program
from ordermq.cli.run import EXIT_CODES
from ordermq.errors import EventUnreadable, OrderArchived
from ordermq.shop import Cancelled, Status, cancel_order, queries
from ordermq.shop import export as exporting
from ordermq.shop.by_hand import RefundedByHand, refunded_by_hand
from ordermq.shop.cli.expecting import expect, expecting
from ordermq.shop.cli.holding import hold, release
from ordermq.shop.cli.instant import diff, history, show_at, zoned_instant
from ordermq.shop.cli.paying import pay, reopen
from ordermq.shop.cli.program import load_shop
from ordermq.shop.cli.refunding import refund, return_
from ordermq.shop.cli.resolving import resolve
from ordermq.shop.cli.rewinding import rewind
from ordermq.shop.cli.selecting import selects
from ordermq.shop.cli.stuck import adopt_texts, stuck
from ordermq.shop.history import why_cancelled
from ordermq.shop.money import written
from ordermq.shop.queries import NotificationRow, OrderDetail
from ordermq.shop.selection import Selection
from ordermq.store import StoreTransaction, actions


@click.group("order", epilog=EXIT_CODES)
def command() -> None:
    """Look at orders, now and at any instant; cancel, pay, refund, reopen and resolve them."""


@command.command(
    epilog=f"""\b
Examples:
  ordermq order show A-1001
  ordermq order show A-1001 --json | jq .events
  ordermq order show A-1001 --at 2026-11-01T10:42:00Z

{EXIT_CODES}"""
)
@click.argument("order_id")
@click.option(
    "--at",
    type=zoned_instant,
    metavar="TIME",
    help="As it was at this instant, by its history alone; with a time zone, such as 2026-11-01T10:42:00Z.",
)
@as_json
@common
def show(order_id: str, at: datetime | None, as_json: bool, config_path: str | None) -> None:
    """Show all that is known about ORDER_ID; exit 1 if there is no such order, or was none --at that instant.

    JSON: one object {order, items, adjustments, events, messages, payment, earlier_payments, refunds,
    notifications, archive, shipment_number, points, because}; the body of an event is the JSON that was
    written, archive says which file has the events if they are archived, and because why the order was
    cancelled. With --at one object {at, order_id, version, status, pending, because, asks, payment, goods,
    refunded_minor, lines, ...}, see docs/audit.md.
    """
    program = load_shop(config_path)
    if at is not None:
        show_at(program, order_id, at, as_json=as_json)
        return
    with program.session("ordermq order").transaction() as tx:
        detail = queries.show(order_id, tx, queues=program.registry.queues)
    if as_json:
        document = {**asdict(detail), "because": why_cancelled(detail.events)}
        for event in document["events"]:
            event["body"] = json.loads(event["body"])
        write_json(document)
        return
    for line in _head(detail):
        write(line)
    _tables(detail)


@command.command(
    epilog=f"""\b
Examples:
  ordermq order export A-1001 > order.jsonl
  ordermq order export --state cancelled --where merchant=acme > orders.jsonl

{EXIT_CODES}"""
)
@click.argument("order_ids", nargs=-1, metavar="[ID]...")
@selects()
@common
def export(*, program: Program, selection: Selection) -> None:
    """Print orders and what happened to them, a line of JSON each, without personal data.

    Phone, e-mail, name, card and payment references are replaced by placeholders, and labels of
    adjustments are left out. ordermq.shop.testing.replay runs the file as a test, see
    docs/testing.md. Exit 1 if there is no such order. An order with an event of a newer ordermq, and
    one whose events are archived, is named and left out, and the exit code is 78.
    """
    session, left_out = program.session("ordermq order"), 0
    for order_id in selection.ids(session):
        try:
            with session.transaction() as tx:
                document = exporting.export(order_id, tx)
        except (EventUnreadable, OrderArchived) as exc:
            note(str(exc))
            left_out += 1
        else:
            write_json(document)
    if left_out:
        raise EventUnreadable(f"orders left out, because their events cannot be read: {left_out}")


@command.command(
    "list",
    epilog=f"""\b
Examples:
  ordermq order list --state paid
  ordermq order list --where merchant=acme --where channel=app
  ordermq order list --filter acme --attention --json | jq -r .order_id

{EXIT_CODES}""",
)
@selects(every=True)
@limit
@as_json
@common
def list_(*, program: Program, selection: Selection, limit: int, as_json: bool) -> None:
    """List orders, the last accepted first.

    --where finds orders by an attribute that the shop gave them when it placed them, see
    docs/order-files.md; given several times, an order must have all of them. A saved filter
    is one name and options of this command, and other options come on top.

    JSON lines: one object for each order.
    """
    with program.session("ordermq order").transaction() as tx:
        rows = queries.select(tx, selection, limit=limit + 1)
    rows = at_most(limit, rows)
    if as_json:
        for row in rows:
            write_json(asdict(row))
        return
    write_table(
        ("order", "state", "total", "", "updated (UTC)", "attention"),
        [
            (
                row.order_id,
                f"{row.status}, held" if row.held_at else row.status,
                Decimal(written(row.total_minor, row.currency)),
                row.currency,
                seconds(row.updated_at),
                shortened(row.attention_reason or "", 40),
            )
            for row in rows
        ],
    )


@command.command(
    epilog=f"""\b
Examples:
  ordermq order counts
  ordermq order counts --json

{EXIT_CODES}"""
)
@as_json
@common
def counts(as_json: bool, config_path: str | None) -> None:
    """Count orders by state. Reads the whole table.

    JSON: one object {state: count}.
    """
    with load_shop(config_path).session("ordermq order").transaction() as tx:
        found = queries.count_by_status(tx)
    if as_json:
        write_json({status.value: count for status, count in found.items()})
    else:
        write_table(("state", "orders"), [(status.value, count) for status, count in found.items()])


@command.command(
    epilog=f"""\b
Examples:
  ordermq order cancel A-1001 --reason "customer called" --dry-run
  ordermq order cancel A-1001 --reason "customer called" --expect-version 5

{EXIT_CODES}"""
)
@click.argument("order_id")
@expect
@reason
@dry_run
@common
def cancel(
    *, order_id: str, expected: int | None, reason: str, dry_run: bool, config_path: str | None
) -> None:
    """Cancel ORDER_ID if its goods have not left yet. To cancel it again changes nothing.

    Money that was taken is refunded, and points are taken back. Exit 1 if there is no such order,
    65 if it is shipped (see 'order return' and 'order refund') or a refund of it is under way.
    """
    session = load_shop(config_path).session("ordermq order")

    def cancelled_in(tx: StoreTransaction) -> Cancelled:
        cancelled = cancel_order(order_id, tx, reason, by=actor())
        if not cancelled.is_duplicate:
            actions.record(tx, actor(), "order.cancel", [f"order {order_id}"], reason)
        return cancelled

    cancelled = commit(session, expecting(order_id, expected, cancelled_in), dry_run=dry_run)
    if cancelled.is_duplicate:
        write(f"order {order_id} is {cancelled.status.value} already: nothing was changed")
    elif dry_run:
        write(f"order {order_id} would be {cancelled.status.value}")
    else:
        write(f"order {order_id} is {cancelled.status.value}")


@command.command(
    epilog=f"""\b
Examples:
  ordermq order refunded A-1001 --by-hand 25.98 --reference re_3Q --reason "dashboard" --dry-run
  ordermq order refunded A-1001 --by-hand 25.98 --reference dp_17 --reason "chargeback"

{EXIT_CODES}"""
)
@click.argument("order_id")
@click.option("--by-hand", "amount", required=True, metavar="AMOUNT", help="What went back, such as 12.99.")
@click.option(
    "--reference", required=True, type=text, help="What the payment service calls the refund or chargeback."
)
@expect
@reason
@dry_run
@common
def refunded(
    *,
    order_id: str,
    amount: str,
    reference: str,
    expected: int | None,
    reason: str,
    dry_run: bool,
    config_path: str | None,
) -> None:
    """Record that money of ORDER_ID went back at the payment service itself: a refund or chargeback there.

    A cancelled order that waits for its refund is refunded, and its dead letters are discarded.
    A paid or completed order goes on, and reconcile expects what went back. The same
    --reference again changes nothing. If it went back in parts to a cancelled order, give their sum.
    Exit 65 if the order has nothing to give back.
    """
    session = load_shop(config_path).session("ordermq order")

    def recorded_in(tx: StoreTransaction) -> RefundedByHand:
        return refunded_by_hand(order_id, amount, tx, by=actor(), reference=reference[:200], reason=reason)

    found = commit(session, expecting(order_id, expected, recorded_in), dry_run=dry_run)
    money = f"{written(found.amount_minor, found.currency)} {found.currency}"
    if found.is_duplicate:
        write(f"order {order_id}: {money} was recorded under this reference before: nothing was changed")
    else:
        write(f"order {order_id} {'would be' if dry_run else 'is'} {found.status.value}: {money} went back")


command.add_command(history)
command.add_command(diff)
command.add_command(pay)
command.add_command(reopen)
command.add_command(refund)
command.add_command(return_)
command.add_command(hold)
command.add_command(release)
command.add_command(rewind)
command.add_command(resolve)
command.add_command(stuck)
command.add_command(adopt_texts)


def _head(detail: OrderDetail) -> Iterator[str]:
    order = detail.order
    yield f"order      {order.order_id}"
    pending = f", pending: {', '.join(order.pending)}" if order.pending else ""
    yield f"state      {order.status}{pending}"
    if detail.archive:
        yield f"archived   its {order.version} events are in {detail.archive.file}"
    if order.held_at:
        yield f"held       since {seconds(order.held_at)}; to end it: ordermq order release {order.order_id}"
    if (why := why_cancelled(detail.events)) is not None:
        yield f"because    {shortened(why, 400)}"
    if order.attention_reason:
        yield f"attention  {shortened(order.attention_reason, 200)}"
    yield f"customer   {order.customer_id}"
    charge = {"free": ", nothing to charge", "paid": ", paid before it was placed"}.get(order.charge, "")
    yield f"total      {written(order.total_minor, order.currency)} {order.currency}{charge}"
    if order.notify != "text":
        yield f"told by    {'text and email' if order.notify == 'both' else order.notify}"
    yield f"placed     {seconds(order.placed_at)}"
    yield f"accepted   {seconds(order.accepted_at)}"
    if order.due_until and order.status == Status.PAYMENT_DUE:
        yield f"pay until  {seconds(order.due_until)}, by another card: ordermq order pay {order.order_id}"
    if order.terminal_at:
        taken_s = (order.terminal_at - order.accepted_at).total_seconds()
        yield f"finished   {seconds(order.terminal_at)}, {taken_s:.1f} s after it was accepted"
    if detail.payment:
        reason = f" ({detail.payment.reason})" if detail.payment.reason else ""
        yield f"payment    {detail.payment.state}{reason}"
    if order.refunded_minor:
        yield f"paid back  {written(order.refunded_minor, order.currency)} {order.currency}"
    if detail.shipment_number is not None:
        yield f"shipment   {detail.shipment_number}"
    if detail.points is not None:
        yield f"points     {detail.points}"
    for name, value in sorted(order.attributes.items()):
        yield f"attribute  {name}={shortened(value, 60)}"


def _notification(row: NotificationRow) -> tuple[Any, ...]:
    note = shortened(row.reason or "", 60)
    return row.template, row.channel, row.number or "", row.state, seconds(row.updated_at), note


def _items(detail: OrderDetail) -> Iterator[tuple[Any, ...]]:
    for each in detail.items:
        price = Decimal(written(each.unit_price_minor, detail.order.currency))
        units = each.refunded or "", each.returned or ""
        yield each.line_no, each.product_id, each.quantity, price, each.reservation, *units


def _earlier_captures(detail: OrderDetail) -> Iterator[tuple[Any, ...]]:
    for each in detail.earlier_payments:
        yield each.capture_no, each.state, seconds(each.ended_at), each.reason or each.capture_id or ""


def _refunds(detail: OrderDetail) -> Iterator[tuple[Any, ...]]:
    for each in detail.refunds:
        amount = Decimal(written(each.amount_minor, detail.order.currency))
        what = shortened(each.request or each.refund_id or "", 40)
        yield each.refund_no, each.state, amount, seconds(each.requested_at), what


def _tables(detail: OrderDetail) -> None:
    tables: list[tuple[tuple[str, ...], list[tuple[Any, ...]]]] = [
        (
            ("item", "product", "units", "price", "reservation", "paid back", "returned"),
            list(_items(detail)),
        ),
        (
            ("adjustment", "of item", "amount", "label"),
            [
                (
                    each.kind,
                    each.line_no or "all",
                    Decimal(written(each.amount_minor, detail.order.currency)),
                    each.label,
                )
                for each in detail.adjustments
            ],
        ),
        (("earlier capture", "state", "until (UTC)", "what"), list(_earlier_captures(detail))),
        (("refund", "state", "amount", "requested (UTC)", "what"), list(_refunds(detail))),
        (
            ("event", "at (UTC)", "what", "step"),
            [(each.version, seconds(each.occurred_at), each.type, each.step) for each in detail.events],
        ),
        (
            ("message", "queue", "at (UTC)", "outcome", "note"),
            [
                (each.place, each.queue, seconds(each.at), each.outcome, shortened(each.note or "", 60))
                for each in detail.messages
            ],
        ),
        (
            ("notification", "by", "number", "state", "at (UTC)", "note"),
            list(map(_notification, detail.notifications)),
        ),
    ]
    for header, rows in tables:
        if rows:
            write("")
            write_table(header, rows)

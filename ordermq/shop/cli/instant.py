"""``ordermq order show --at``, ``history`` and ``diff``: an order at any instant, from its history alone."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from ordermq.cli.options import as_json, common
from ordermq.cli.output import note, shortened, write, write_json, write_table
from ordermq.cli.program import Program
from ordermq.cli.run import EXIT_CODES
from ordermq.clock import utc_now
from ordermq.shop.cli.program import load_shop
from ordermq.shop.folded import FoldedOrder, HistoryEvent
from ordermq.shop.instant import Change, order_at, order_diff, order_history
from ordermq.shop.money import written

_CLOCKS_DIFFER = timedelta(minutes=1)

_NOTHING = ((None, 0), (None, "none"))  # what an order begins with

# What a line of the history has room for; JSON has every change.
_SHOWN = frozenset(
    ("status", "payment", "goods", "refunded_minor", "total_minor", "points", "asks", "shipment_number")
)


def zoned_instant(value: str) -> datetime:
    """Return the instant of ``2026-11-01T10:42:00Z``; one without a time zone is refused."""
    try:
        found = datetime.fromisoformat(value)
        if found.tzinfo is not None:
            return found.astimezone(UTC)
    except (ValueError, OverflowError) as exc:
        raise click.BadParameter(
            f"{value!r} is not an instant; write for example 2026-11-01T10:42:00Z"
        ) from exc
    raise click.BadParameter(
        f"{value!r} names no time zone, so it could be any of 26 hours; add Z for UTC, or an offset: "
        f"{found.isoformat()}+01:00"
    )


def show_at(program: Program, order_id: str, at: datetime, *, as_json: bool) -> None:
    """Print an order as it was at an instant. Raises as ``order_at``."""
    if at > utc_now() + _CLOCKS_DIFFER:
        note(f"{_precise(at)} is in the future: this is all that is known by now")
    with program.session("ordermq order").transaction() as tx:
        order = order_at(order_id, at, tx)
    if as_json:
        write_json({"at": at, **order.document()})
        return
    for line in _head(order, at):
        write(line)
    write("")
    write_table(
        ("item", "product", "units", "price", "paid back", "returned"),
        [
            (
                each.line_no, each.product_id, each.quantity, written(each.unit_price_minor, order.currency),
                each.refunded or "", each.returned or "",
            )
            for each in order.lines
        ],
    )  # fmt: skip


@click.command(
    epilog=f"""\b
Examples:
  ordermq order history A-1001
  ordermq order history A-1001 --json | jq -c '[.version, .at, .type, .actor]'

{EXIT_CODES}"""
)
@click.argument("order_id")
@as_json
@common
def history(order_id: str, as_json: bool, config_path: str | None) -> None:
    """List every event of ORDER_ID, what it changed and who made it; exit 1 if there is no such order.

    The position is that in the history of all records (docs/audit.md); an event has none until the relay
    has numbered it. Who made it is a queue, a program or a person; older events name persons only. The events
    of an archived order are read out of its file; exit 65 if that is not where it was written.

    JSON lines: {version, position, at, type, step, actor, changes: [{name, before, after}], data}.
    """
    with load_shop(config_path).session("ordermq order").transaction() as tx:
        entries = order_history(order_id, tx)
    if as_json:
        for entry in entries:
            changes, data = list(map(_named, entry.changes)), entry.event.data
            write_json({**_event(entry.event), "position": entry.position, "changes": changes, "data": data})
        return
    write_table(
        ("event", "position", "at (UTC)", "what", "by", "changed"),
        [
            (
                each.event.version, each.position, _precise(each.event.occurred_at), each.event.type.value,
                shortened(each.event.by or "", 30), _sentence(each.changes),
            )
            for each in entries
        ],
    )  # fmt: skip


@click.command(
    epilog=f"""\b
Examples:
  ordermq order diff A-1001 --from 2026-11-01T10:00Z
  ordermq order diff A-1001 --from 2026-11-01T10:00Z --to 2026-11-01T10:42:00Z
  ordermq order diff A-1001 --from 2026-11-01T11:00+01:00 --to 2026-11-02T00:00Z --json

{EXIT_CODES}"""
)
@click.argument("order_id")
@click.option(
    "--from", "before", type=zoned_instant, required=True, metavar="TIME", help="The earlier instant."
)
@click.option("--to", "after", type=zoned_instant, metavar="TIME", help="The later instant. Default: now.")
@as_json
@common
def diff(
    *, order_id: str, before: datetime, after: datetime | None, as_json: bool, config_path: str | None
) -> None:
    """Show what changed of ORDER_ID from one instant to another, and the events that changed it.

    Exit 1 if there is no such order, or if it was accepted after --from; 0 also if nothing changed.

    JSON: {order_id, from, to, from_version, to_version, changes: [{name, before, after}], events}.
    """
    after = after or utc_now()
    with load_shop(config_path).session("ordermq order").transaction() as tx:
        found = order_diff(order_id, before, after, tx)
    if as_json:
        write_json({
            "order_id": order_id, "from": before, "to": after, "from_version": found.before.version,
            "to_version": found.after.version, "changes": list(map(_named, found.changes)),
            "events": list(map(_event, found.events)),
        })  # fmt: skip
        return
    if not found.events:
        write(f"nothing happened to order {order_id}: it is at version {found.before.version} both times")
        return
    rows = [row for each in found.changes for row in _rows(each)]
    write_table(("what", "before", "after"), rows)
    write("")
    write_table(
        ("event", "at (UTC)", "what", "step", "by"),
        [
            (each.version, _precise(each.occurred_at), each.type.value, each.step or "", each.by or "")
            for each in found.events
        ],
    )


def _head(order: FoldedOrder, at: datetime) -> Iterator[str]:
    def money(minor: int) -> str:
        return f"{written(minor, order.currency)} {order.currency}"

    status = order.state.status
    pending = f", pending: {', '.join(sorted(order.state.pending))}" if order.state.pending else ""
    yield f"order      {order.order_id}"
    yield f"at         {_precise(at)}"
    yield f"version    {order.version}, of {_precise(order.changed_at)}"
    yield f"state      {status}{pending}"
    if order.because:
        yield f"because    {shortened(order.because, 400)}"
    if order.asks:
        yield f"attention  a person had to look, since {order.asks}"
    yield f"customer   {order.customer_id}"
    yield f"total      {money(order.total_minor)}"
    yield f"accepted   {_precise(order.recorded_at)}"
    if order.ended_at:
        yield f"finished   {_precise(order.ended_at)}"
    yield f"payment    {order.payment}{f', {order.capture_id}' if order.capture_id else ''}"
    if order.refunded_minor:
        yield f"paid back  {money(order.refunded_minor)}"
    yield f"goods      {order.goods}"
    if order.shipment_number is not None:
        yield f"shipment   {order.shipment_number}"
    if order.points is not None:
        yield f"points     {order.points}"


def _event(event: HistoryEvent) -> dict[str, Any]:
    return {
        "version": event.version, "at": event.occurred_at, "type": event.type.value,
        "step": event.step and event.step.value, "actor": event.by,
    }  # fmt: skip


def _named(change: Change) -> dict[str, Any]:
    return dict(zip(("name", "before", "after"), change, strict=True))


def _sentence(changes: Sequence[Change]) -> str:
    """Return changes in one line: ``status placed -> reserved, +capture, -reserve``."""
    parts = []
    for name, before, after in changes:
        if name == "pending":
            parts += [f"+{each}" for each in after if each not in (before or ())]
            parts += [f"-{each}" for each in before or () if each not in after]
        elif name in _SHOWN and (before, after) not in _NOTHING:
            was = "" if before is None else f"{_text(before)} -> "
            parts.append(f"{name} {was}{_text(after) or 'none'}")
    return ", ".join(parts)


def _rows(change: Change) -> Iterator[tuple[str, str, str]]:
    """Yield the rows of a table for a change: of the lines of an order only what differs."""
    name, before, after = change
    if name != "lines":
        yield name, _text(before), _text(after)
        return
    for old, new in zip(before, after, strict=True):  # the lines of an order stay
        for column, value in new.items():
            if old[column] != value:
                yield f"line {new['line_no']} {column}", str(old[column]), str(value)


def _text(value: object) -> str:
    """Return a value of a change for a table."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return _precise(value)
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)


def _precise(instant: datetime) -> str:
    """Return an instant in UTC to the millisecond."""
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S}.{instant.microsecond // 1000:03}"

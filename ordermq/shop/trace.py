"""What the shop knows of an order for ``ordermq trace``: events, payments, notifications. Only reads.

Events and reasons hold no personal data, and the contact is not read.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from ordermq.module import ModuleTrace, TraceEntry
from ordermq.shop.archives.restoring import Archive, archive_of
from ordermq.shop.commands import EMAIL, INVENTORY, NOTIFY, PAYMENT, POINTS, SHIPPING, command_of
from ordermq.shop.events import Step
from ordermq.shop.money import written
from ordermq.shop.recorded import read_body, read_columns
from ordermq.shop.replay import sends
from ordermq.shop.saga import terms_of
from ordermq.task import Transaction
from ordermq.task.transaction import Row

_QUEUES = (INVENTORY, PAYMENT, NOTIFY, EMAIL, POINTS, SHIPPING)

_ORDER = """
    SELECT status, pending, currency, total_minor, attention_reason, charge, notify, version
      FROM shop.orders WHERE order_id = %s
"""

_HELD = "SELECT held_by, hold_reason FROM ordermq.holds WHERE correlation_id = %s AND released_at IS NULL"

_EVENTS = """
    SELECT version, type, step, occurred_at, convert_from(body, 'UTF8')
      FROM shop.order_events WHERE order_id = %s ORDER BY version
"""

# When, what kind, what of it, its state, an amount, a note.
_ROWS = """
    SELECT updated_at, 'payment', 'capture ' || capture_no, state, amount_minor,
           coalesce(reason, capture_id)
      FROM shop.payments WHERE order_id = %(id)s
    UNION ALL
    SELECT ended_at, 'payment', 'capture ' || capture_no, state, amount_minor, coalesce(reason, capture_id)
      FROM shop.earlier_payments WHERE order_id = %(id)s
    UNION ALL
    SELECT updated_at, 'payment', 'refund ' || refund_no, state, amount_minor, refund_id
      FROM shop.refunds WHERE order_id = %(id)s
    UNION ALL
    SELECT updated_at, 'notification',
           template || ' by ' || channel || CASE WHEN number > 0 THEN ' ' || number ELSE '' END,
           state, NULL, reason
      FROM shop.notifications WHERE order_id = %(id)s
    UNION ALL
    SELECT created_at, 'shipment', 'number ' || shipment_number, 'created', NULL, NULL
      FROM shop.shipments WHERE order_id = %(id)s
    UNION ALL
    SELECT awarded_at, 'points', points || ' points', 'awarded', NULL, NULL
      FROM shop.points WHERE order_id = %(id)s
"""


def of_order(tx: Transaction, config: Any, correlation_id: str) -> ModuleTrace | None:
    """Return what there is of the order; None if the correlation id is no order's."""
    row = tx.fetch_one(_ORDER, (correlation_id,))
    if row is None:
        return None
    status, pending, currency, total_minor, attention, charge, notify, newest = row
    events = tx.fetch_all(_EVENTS, (correlation_id,))
    history = [
        (version, read_columns(type_, step, version, correlation_id)) for version, type_, step, *_ in events
    ]
    sent = dict(sends(history, terms_of(charge, notify)))
    steps = sorted(Step(each) for each in pending)
    commands = {step: command_of(step, correlation_id, sent[step]) for step in steps if step in sent}
    waits_for = [f"a person: {attention}"] if attention else []
    waits_for += [
        f"its release: {by} holds it ({why}); ordermq order release {correlation_id}"
        for by, why in tx.fetch_all(_HELD, (correlation_id,))
    ]
    unsent = [step for step in steps if step not in sent]
    archived = archive_of(correlation_id, tx)
    waits_for += [f"{step}, which no event of its history sends: ordermq reconcile" for step in unsent]
    return ModuleTrace(
        f"order {correlation_id}: {status}, {currency} {written(total_minor, currency)}",
        entries=[
            *_entries_of(events),
            *_entries_beside(tx, correlation_id, currency),
            *([_entry_of(archived)] if archived else []),
        ],
        messages=_messages(correlation_id, newest),
        pending={(each.queue, each.message_id): step for step, each in commands.items()},
        waits_for=waits_for,
        action_subjects=[f"order {correlation_id}"],
        if_lost=f'ordermq-publish replay --order {correlation_id} --reason "..."',
    )


def _entry_of(archive: Archive) -> TraceEntry:
    text = f"its events were archived in {archive.file}"
    return TraceEntry(archive.archived_at, "archive", text, {"file": archive.file})


def _entries_of(events: Sequence[Row]) -> Iterator[TraceEntry]:
    for version, type_, step, occurred_at, body in events:
        reason = read_body(body, version).data.get("reason")
        text = f"{version} {type_}" + (f", ends {step}" if step else "") + (f": {reason}" if reason else "")
        yield TraceEntry(occurred_at, "event", text, {"version": version, "type": type_, "step": step})


def _entries_beside(tx: Transaction, order_id: str, currency: str) -> Iterator[TraceEntry]:
    for at, kind, what, state, amount_minor, note in tx.fetch_all(_ROWS, {"id": order_id}):
        money = "" if amount_minor is None else f", {currency} {written(amount_minor, currency)}"
        text = f"{what}: {state}{money}" + (f" ({note})" if note else "")
        yield TraceEntry(at, kind, text, {"what": what, "state": state, "amount_minor": amount_minor})


def _messages(order_id: str, newest: int) -> list[tuple[str, str]]:
    """Return each message that events up to ``newest`` may have sent.

    Their ids are made of order, event and queue, so they are known of an archived order too.
    """
    versions = range(1, newest + 1)
    return [(queue, f"{order_id}:{version}:{queue}") for version in versions for queue in _QUEUES]

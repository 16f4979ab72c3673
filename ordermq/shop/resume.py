"""Find messages of orders that got lost on their way, and send them again under their own ids.

A queue was purged, a broker lost its disk, a database was restored from a backup: then a
step is pending and no message will ever end it. The order's history says which message
that was; the tables say where it was last seen.

    the tables say                       what is done
    nothing                              sent as it was the first time
    inbox: retry or postponed at hop h   sent as hop h + 1, which must have been lost
    outbox: waits                        nothing: it is on its way, or will be when it is due
    a dead letter is open                nothing: ``ordermq dead replay`` is the way
    inbox: dead, no letter open          sent as the next hop: its replay was lost, or discarded
    inbox: done                          nothing, but reported, because this cannot be; with
                                         ``anew`` it is reopened and sent as the next hop

Invariants
    RSM1  A message that was not lost after all is handled once: the one sent again has the
        same id and hop, and the inbox accepts one of the two. With ``anew`` too: what a
        handler does is decided by the order's pending steps, its rows and the idempotency
        keys, not by the inbox alone.
    RSM2  The order stays locked until the commit, so no step ends between looking and sending.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from msgspec.structs import replace

from ordermq.errors import IllegalEvent
from ordermq.message import Command
from ordermq.message.envelope import MAX_HOP
from ordermq.shop.commands import command_of
from ordermq.shop.events import Event, EventType, Step
from ordermq.shop.journal import Journal
from ordermq.shop.saga import DEFAULT_TERMS, State, Terms, advance
from ordermq.store import StoreTransaction, inbox, message_location, outgoing
from ordermq.store.message_location import MessageLocation
from ordermq.store.outgoing import OutboxRow

_EVENTS = """
    SELECT order_id, version, type, step FROM shop.order_events
     WHERE order_id = ANY(%s) ORDER BY order_id, version
"""


class Found(StrEnum):
    """What was done with the message of a pending step, or with the order as a whole."""

    SENT = "sent"
    WAITING = "waiting"
    DEAD = "dead"
    IMPOSSIBLE = "impossible"
    AT_REST = "at_rest"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Resumed:
    """The answer for one pending step, or for an order without any; ``note`` is for the operator."""

    order_id: str
    found: Found
    step: Step | None = None
    queue: str | None = None
    message_id: str | None = None
    hop: int | None = None
    note: str = ""


def resume_orders(order_ids: Iterable[str], tx: StoreTransaction, *, anew: bool = False) -> list[Resumed]:
    """Send the lost messages of these orders again, in the caller's transaction.

    ``anew``: also messages that are done although their step is pending. Returns an
    answer for each pending step, and one for each order without any.
    """
    wanted = list(dict.fromkeys(order_ids))
    answers, pending = _look_up(wanted, tx)
    locations = message_location.find(tx, [(command.queue, command.message_id) for command, _ in pending])
    again = []
    for command, step in pending:
        location = locations[command.queue, command.message_id]
        found, note = judge(location, anew=anew)
        hop = location.hop
        if found is Found.SENT:
            hop = location.next_hop
            if location.outcome == "done" or hop == MAX_HOP:
                inbox.reopen(tx, command.queue, command.message_id, hop)
            again.append(_next_hop(command, location))
        answers.append(
            Resumed(command.correlation_id, found, step, command.queue, command.message_id, hop, note)
        )
    tx.append(again)
    return answers


def _look_up(
    order_ids: Sequence[str], tx: StoreTransaction
) -> tuple[list[Resumed], list[tuple[Command, Step]]]:
    """Lock the orders; return the answers that need no message, and the commands of the pending steps."""
    journal = Journal(tx, order_ids)
    senders_of = {
        order_id: senders(events, journal.orders[order_id].state.terms)
        for order_id, events in _histories(order_ids, tx).items()
    }
    answers: list[Resumed] = []
    pending: list[tuple[Command, Step]] = []
    for order_id in order_ids:
        order = journal.orders.get(order_id)
        if order is None:
            answers.append(Resumed(order_id, Found.UNKNOWN, note="no such order"))
            continue
        if not order.state.pending:
            answers.append(Resumed(order_id, Found.AT_REST, note=f"{order.state.status}, nothing is pending"))
        for step in sorted(order.state.pending):
            version = senders_of.get(order_id, {}).get(step)
            if version is None:
                note = "no event of the order's history sends this step: see 'ordermq reconcile'"
                answers.append(Resumed(order_id, Found.IMPOSSIBLE, step, note=note))
            else:
                pending.append((command_of(step, order_id, version, order.traceparent), step))
    return answers, pending


def _next_hop(command: Command, location: MessageLocation) -> OutboxRow:
    row = outgoing.new_row(command, {})
    return row._replace(envelope=replace(row.envelope, hop=location.next_hop, replay_no=location.replays))


def judge(location: MessageLocation, *, anew: bool = False) -> tuple[Found, str]:
    """Decide what to do with the message of a pending step; return that and a note. Pure."""
    if location.open_letter is not None:
        return Found.DEAD, (
            f'ordermq dead replay {location.open_letter} --reason "..."; '
            "if no handler can ever read it, discard it and resume the order"
        )
    if location.available_at is not None:
        return Found.WAITING, f"in the outbox, due {location.available_at:%Y-%m-%d %H:%M:%S}"
    match location.outcome:
        case "done" if anew:
            return Found.SENT, "the message was done without its step"
        case "done":
            return (
                Found.IMPOSSIBLE,
                "the message is done, but its step is pending: use --anew after a restored backup; "
                "otherwise this is a bug",
            )
        case None:
            return Found.SENT, "no consumer has seen the message"
        case outcome:
            return Found.SENT, f"last seen as {outcome}"


def senders(events: Sequence[tuple[int, Event]], terms: Terms = DEFAULT_TERMS) -> dict[Step, int]:
    """Return the version of the event that last sent each step; {} for an impossible history. Pure."""
    state: State | None = None
    sent: dict[Step, int] = {}
    try:
        for version, event in events:
            move = advance(state, event, terms)
            state = move.state
            sent |= dict.fromkeys(move.sends, version)
    except IllegalEvent:
        return {}
    return sent


def _histories(order_ids: Sequence[str], tx: StoreTransaction) -> dict[str, list[tuple[int, Event]]]:
    histories: dict[str, list[tuple[int, Event]]] = {}
    for order_id, version, event_type, step in tx.fetch_all(_EVENTS, (list(order_ids),)):
        event = Event(EventType(event_type), Step(step) if step else None)
        histories.setdefault(order_id, []).append((version, event))
    return histories

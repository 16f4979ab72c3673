"""Send messages of orders again from their history, each under its own id: what was lost, and nothing else.

A queue was purged, a broker lost its disk, a database was restored from a backup: then a
step is pending and no message will ever end it. The order's history says which messages its events
sent; the tables say where each was last seen.

    of a message, history and tables say     what is done
    its step has ended, or was sent again    absorbed: to do it again is what an inbox prevents
    pending; nothing seen of it              sent as it was the first time
    pending; inbox: retry or postponed at h  sent as hop h + 1, which must have been lost
    pending; outbox: waits                   absorbed: it is on its way, or will be when it is due
    pending; a dead letter is open           refused: ``ordermq dead replay`` is the way
    pending; inbox: dead, no letter open     sent as the next hop: its replay was lost, or discarded
    pending; inbox: done                     refused, because this cannot be; with ``anew`` it is
                                             reopened and sent as the next hop
    pending; a text or e-mail                refused, unless ``allow_notify``

So an order that is older than the inbox remembers gets its pending steps and no other.

Invariants
    RPL1  A message that was not lost after all is handled once: the one sent again has the
        same id and hop, and the inbox accepts one of the two. With ``anew`` too: what a
        handler does is decided by the order's pending steps, its rows and the idempotency
        keys, not by the inbox alone.
    RPL2  The order stays locked until the commit, so no step ends between looking and sending.
    RPL3  Only the message that a pending step waits for is sent: what was done is not done again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from msgspec.structs import replace

from ordermq.errors import EventUnreadable, IllegalEvent
from ordermq.message import Command
from ordermq.message.envelope import MAX_HOP
from ordermq.shop.commands import command_of
from ordermq.shop.effects import AtStake, effect_of
from ordermq.shop.events import NOTIFY, Event, Step
from ordermq.shop.journal import Journal, LockedOrder
from ordermq.shop.recorded import read_columns
from ordermq.shop.saga import DEFAULT_TERMS, State, Terms, advance
from ordermq.store import StoreTransaction, inbox, message_location, outgoing
from ordermq.store.message_location import MessageLocation
from ordermq.store.outgoing import OutboxRow
from ordermq.task.forecast import Effect
from ordermq.task.transaction import Row

_EVENTS = """
    SELECT order_id, version, type, step FROM shop.order_events
     WHERE order_id = ANY(%s) ORDER BY order_id, version
"""


class Found(StrEnum):
    """What is done with a message, or with an order as a whole."""

    SENT = "sent"
    DONE = "done"
    WAITING = "waiting"
    DEAD = "dead"
    SUPPRESSED = "suppressed"
    IMPOSSIBLE = "impossible"
    CHANGED = "changed"
    UNKNOWN = "unknown"

    @property
    def counts_as(self) -> str:
        """Where a summary counts it: ``sent``, ``absorbed`` or ``refused``."""
        if self is Found.SENT:
            return "sent"
        return "absorbed" if self in (Found.DONE, Found.WAITING) else "refused"


@dataclass(frozen=True, slots=True)
class Wish:
    """Which messages of the chosen orders may be sent. ``queue`` None: those of every queue.

    ``anew``: also messages that are done although their step is pending.
    """

    queue: str | None = None
    allow_notify: bool = False
    anew: bool = False


@dataclass(frozen=True, slots=True)
class SentCommand:
    """A command that an event of the order sent, and whether its step waits for this very one."""

    step: Step
    command: Command
    is_awaited: bool


@dataclass(frozen=True, slots=True)
class OrderFacts:
    """What is known of an order, which is locked; ``order`` None: there is none.

    ``unsent`` are pending steps that no event of the history sends. ``locations`` are those of the
    awaited commands, by message_id. ``unreadable`` names an event that this code cannot read.
    """

    order_id: str
    order: LockedOrder | None
    commands: Sequence[SentCommand] = ()
    unsent: Sequence[Step] = ()
    locations: Mapping[str, MessageLocation] = field(default_factory=dict)
    unreadable: str = ""


@dataclass(frozen=True, slots=True)
class Planned:
    """What is to be done with one message, or with an order without any; ``note`` is for the operator."""

    order_id: str
    found: Found
    step: Step | None = None
    command: Command | None = None
    hop: int = 0
    replay_no: int = 1
    reopens: bool = False
    effect: Effect | None = None
    note: str = ""

    @property
    def message_id(self) -> str | None:
        """The id of the message."""
        return self.command.message_id if self.command else None


def replay_orders(order_ids: Iterable[str], tx: StoreTransaction, wish: Wish) -> list[Planned]:
    """Send the lost messages of these orders again, in the caller's transaction; return the plan."""
    planned = plan_orders(order_ids, tx, wish)
    _execute(planned, tx)
    return planned


def plan_orders(order_ids: Iterable[str], tx: StoreTransaction, wish: Wish) -> list[Planned]:
    """Return what ``replay_orders`` would do. The orders stay locked until the transaction ends (RPL2)."""
    return [each for facts in _read(order_ids, tx) for each in plan(facts, wish)]


def plan(facts: OrderFacts, wish: Wish) -> list[Planned]:
    """Decide about every message that the order's events sent. Pure."""
    if facts.order is None:
        return [Planned(facts.order_id, Found.UNKNOWN, note="no such order")]
    if facts.unreadable:
        return [Planned(facts.order_id, Found.IMPOSSIBLE, note=facts.unreadable)]
    note = "no event of the order's history sends this step: see 'ordermq reconcile'"
    planned = [Planned(facts.order_id, Found.IMPOSSIBLE, step, note=note) for step in facts.unsent]
    planned += [
        _plan(each, facts.order, facts.locations.get(each.command.message_id), wish)
        for each in facts.commands
        if wish.queue in (None, each.command.queue)
    ]
    return planned


def _plan(sent: SentCommand, order: LockedOrder, location: MessageLocation | None, wish: Wish) -> Planned:
    step, command = sent.step, sent.command
    if not sent.is_awaited or location is None:
        return Planned(order.order_id, Found.DONE, step, command, note="its step has ended")
    found, note = judge(location, anew=wish.anew)
    if found is Found.SENT and step in NOTIFY and not wish.allow_notify:
        found, note = Found.SUPPRESSED, "customers are told only with --allow-notify"
    if found is not Found.SENT:
        return Planned(order.order_id, found, step, command, location.hop or 0, note=note)
    hop = location.next_hop
    return Planned(
        order.order_id, found, step, command, hop,
        replay_no=max(1, location.replays),
        reopens=location.outcome == "done" or hop == MAX_HOP,
        effect=effect_of(step, order.state, stake_of(order)),
        note=note,
    )  # fmt: skip


def judge(location: MessageLocation, *, anew: bool = False) -> tuple[Found, str]:
    """Decide what to do with the message of a pending step; return that and a note. Pure."""
    if location.open_letter is not None:
        return Found.DEAD, (
            f'ordermq dead replay {location.open_letter} --reason "..."; '
            "if no handler can ever read it, discard it and replay the order"
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


def stake_of(order: LockedOrder) -> AtStake:
    """Return the money of an order."""
    return AtStake(order.total_minor, order.refunded_minor, order.currency)


def sends(events: Iterable[tuple[int, Event]], terms: Terms = DEFAULT_TERMS) -> list[tuple[Step, int]]:
    """Return each step that events sent, with the event's version; [] for an impossible history. Pure."""
    state: State | None = None
    sent: list[tuple[Step, int]] = []
    try:
        for version, event in events:
            move = advance(state, event, terms)
            state = move.state
            sent += [(step, version) for step in move.sends]
    except IllegalEvent:
        return []
    return sent


def _read(order_ids: Iterable[str], tx: StoreTransaction) -> list[OrderFacts]:
    """Lock the orders; read what their events sent, and where the messages are that they wait for."""
    wanted = list(dict.fromkeys(order_ids))
    journal = Journal(tx, wanted)
    histories = _histories(wanted, tx)
    found = [_facts(each, journal.orders.get(each), histories.get(each, ())) for each in wanted]
    awaited = [each.command for facts in found for each in facts.commands if each.is_awaited]
    locations = message_location.find(tx, [(each.queue, each.message_id) for each in awaited])
    by_id = {message_id: location for (_, message_id), location in locations.items()}
    return [
        OrderFacts(each.order_id, each.order, each.commands, each.unsent, by_id, each.unreadable)
        for each in found
    ]


def _facts(order_id: str, order: LockedOrder | None, rows: Sequence[Row]) -> OrderFacts:
    if order is None:
        return OrderFacts(order_id, None)
    try:
        events = [(version, read_columns(type_, step, version)) for _, version, type_, step in rows]
    except EventUnreadable as exc:
        return OrderFacts(order_id, order, unreadable=str(exc))
    sent = sends(events, order.state.terms)
    last, pending = dict(sent), order.state.pending
    commands = [
        SentCommand(
            step, command_of(step, order_id, version, order.traceparent),
            is_awaited=step in pending and last[step] == version,
        )
        for step, version in sent
    ]  # fmt: skip
    return OrderFacts(order_id, order, commands, sorted(pending - last.keys()))


def _execute(planned: Iterable[Planned], tx: StoreTransaction) -> None:
    rows = []
    for each in planned:
        if each.found is Found.SENT and each.command is not None:
            if each.reopens:
                inbox.reopen(tx, each.command.queue, each.command.message_id, each.hop)
            rows.append(_row(each.command, each))
    tx.append(rows)


def _row(command: Command, planned: Planned) -> OutboxRow:
    row = outgoing.new_row(command, {})
    return row._replace(envelope=replace(row.envelope, hop=planned.hop, replay_no=planned.replay_no))


def _histories(order_ids: Sequence[str], tx: StoreTransaction) -> dict[str, list[Row]]:
    histories: dict[str, list[Row]] = {}
    for row in tx.fetch_all(_EVENTS, (list(order_ids),)):
        histories.setdefault(row[0], []).append(row)
    return histories

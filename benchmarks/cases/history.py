"""The history of orders: append, fold, any instant, and the comparison of all tables with it.

``n`` events are in the database, of orders of six as a good day has them. ``eventsourcing`` has the same
number of events for each aggregate, but a fiftieth of them: it writes each through Python.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from importlib import import_module
from random import Random
from statistics import median
from typing import Any

from benchmarks.case import Case, Contender, Medians, Missing, Target, Wrong, below
from benchmarks.ground import Ground
from ordermq.shop.events import Event, EventType, Step, stored
from ordermq.shop.fold import fold
from ordermq.shop.instant import order_at
from ordermq.shop.journal import Journal
from ordermq.shop.model import Item, Order
from ordermq.shop.placement import NewOrder
from ordermq.shop.recorded import read_history
from ordermq.store import Session

PER_ORDER = 6
LONG = 50  # events of an order that a person has looked at again and again
BATCH = 500  # events in one transaction
APPENDS, ALONE = 20_000, 300
LOOKS = 200
PEERS_SHARE = 50
LOADED = 20_000  # orders that are added to the database in one statement

_T = EventType
_NOW = datetime(2026, 11, 1, 10, 42, tzinfo=UTC)
_PLACE = "ORDER"  # stands for the id
_ORDER = Order(
    order_id=_PLACE, customer_id="c-1", currency="EUR", total_minor=2598, card_token=_PLACE,
    items=(Item(product_id="p-1", quantity=2, unit_price_minor=1299),),
)  # fmt: skip
_MADE: dict[str, Any] = {"occurred_at": _NOW, "actor": "consumer payment", "trace_id": "1" * 32}
_AFTER: list[tuple[EventType, Step, str, dict[str, Any]]] = [
    (_T.STOCK_RESERVED, Step.RESERVE, "reserved", {}),
    (
        _T.PAYMENT_CAPTURED, Step.CAPTURE, "paid",
        {"capture_id": "cap_0123456789", "amount_minor": 2598, "currency": "EUR"},
    ),
    (_T.SHIPMENT_CREATED, Step.SHIP, "paid", {"shipment_number": 7}),
    (_T.POINTS_AWARDED, Step.AWARD, "paid", {"points": 25}),
    (_T.NOTIFICATION_SENT, Step.NOTIFY_CONFIRMED, "completed", {"provider_id": "sms_0123456789"}),
]  # fmt: skip

_LOAD = """
    INSERT INTO shop.orders (order_id, customer_id, status, pending, version, currency, total_minor,
                             content_sha256, traceparent, placed_at, terminal_at)
    SELECT 'A-' || n, 'c-1', 'completed', '{}', cardinality(%(bodies)s), 'EUR', 2598,
           %(hash)s, '', now(), now()
      FROM generate_series(%(first)s, %(last)s) AS n;
    INSERT INTO shop.order_items (order_id, line_no, product_id, quantity, unit_price_minor, freight_minor)
    SELECT 'A-' || n, 1, 'p-1', 2, 1299, 0 FROM generate_series(%(first)s, %(last)s) AS n;
    INSERT INTO shop.shipments (order_id, shipment_number) OVERRIDING SYSTEM VALUE
    SELECT 'A-' || n, n FROM generate_series(%(first)s, %(last)s) AS n;
    INSERT INTO shop.order_events (order_id, version, type, step, occurred_at, body)
    SELECT 'A-' || n, e.version, e.type, e.step, %(now)s + e.version * interval '1 minute',
           convert_to(replace(replace(e.body, '"ORDER"', '"A-' || n || '"'),
                              '"shipment_number":7', '"shipment_number":' || n), 'UTF8')
      FROM generate_series(%(first)s, %(last)s) AS n
     CROSS JOIN unnest(%(types)s, %(steps)s, %(bodies)s) WITH ORDINALITY AS e (type, step, body, version)
     ORDER BY n, e.version
"""


def _bodies(events: int) -> list[tuple[str, str | None, str]]:
    """Return type, step and body of the first ``events`` of an order."""
    first = NewOrder(_ORDER, _ORDER.content_hash(), "", _NOW, "shop").event()
    rows = [first]
    for version, (kind, step, status, data) in enumerate(_AFTER, start=2):
        event = Event(kind, step)
        rows.append(
            stored(
                _PLACE,
                version,
                event,
                status=status,
                occurred_at=_NOW,
                data=data,
                actor="shop",
                trace_id="1" * 32,
            )
        )
    for version in range(len(rows) + 1, events + 1):
        data, event = {"by": "anna@desk", "reason": "looked at it"}, Event(_T.ATTENTION_RESOLVED)
        rows.append(
            stored(
                _PLACE,
                version,
                event,
                status="completed",
                occurred_at=_NOW,
                data=data,
                actor="anna",
                trace_id="1" * 32,
            )
        )
    return [(each.type, each.step, each.body.decode()) for each in rows]


def _load(session: Session, first: int, last: int, events: int = PER_ORDER) -> None:
    types, steps, bodies = map(list, zip(*_bodies(events), strict=True))
    for begin in range(first, last + 1, LOADED):
        with session.transaction() as tx:
            tx.execute("SET LOCAL statement_timeout = '300s'")
            tx.execute(_LOAD, {
                "types": [str(each) for each in types], "steps": steps, "bodies": bodies, "now": _NOW,
                "hash": _ORDER.content_hash(), "first": begin, "last": min(begin + LOADED - 1, last),
            })  # fmt: skip


def _ordermq(ground: Ground, n: int) -> Mapping[str, float]:
    ground.command("ordermq", "db", "migrate")
    orders = max(n // PER_ORDER, 20)
    with closing(Session(ground.database, name="benchmark")) as session:
        _load(session, 1, orders)
        _load(session, orders + 1, orders + 1, LONG)
        with session.transaction() as tx:
            tx.execute("SET LOCAL statement_timeout = '300s'")
            tx.execute("ANALYZE shop.orders, shop.order_events, shop.order_items, shop.shipments")
        found = {"at_5m": _at_ms(session, Random(1), orders), "at_50": _at_ms(session, None, orders + 1)}
        began_s = time.perf_counter()
        ground.command("ordermq", "projection", "rebuild", "--all", "--check")
        found["rebuild"] = (orders * PER_ORDER + LONG) / (time.perf_counter() - began_s)
        ids = [f"A-{number}" for number in range(1, min(orders, APPENDS) + 1)]
        append_s, _ = _timed(lambda: [_append(session, each) for each in _slices(ids, BATCH)])
        alone_s, _ = _timed(lambda: [_append(session, [each]) for each in ids[:ALONE]])
        found |= {"append": len(ids) / append_s, "append_alone": len(ids[:ALONE]) / alone_s}
    return found


def _fold(_: Ground, n: int) -> Mapping[str, float]:
    text = f"[{','.join(body for _, _, body in _bodies(LONG))}]"
    short = f"[{','.join(body for _, _, body in _bodies(PER_ORDER))}]"
    taken = []
    for _ in range(LOOKS):
        seconds, order = _timed(lambda: fold(read_history(text)))
        if order is None or order.version != LONG:
            raise Wrong("the fold is not of all events")
        taken.append(1000 * seconds)
    rounds = max(n // PER_ORDER // 100, 10)
    seconds, _ = _timed(lambda: [fold(read_history(short)) for _ in range(rounds)])
    return {"50": median(taken), "rate": rounds * PER_ORDER / seconds}


def _at_ms(session: Session, random: Random | None, orders: int) -> float:
    """Return the median of the state of a random order, or of the last, at a random instant."""
    taken = []
    for look in range(LOOKS):
        number = random.randint(1, orders) if random else orders
        at = _NOW.replace(minute=43 + look % PER_ORDER)
        with session.transaction() as tx:
            tx.fetch_one("SELECT 1")
            seconds, order = _timed(lambda number=number, at=at, tx=tx: order_at(f"A-{number}", at, tx))
        if order.version != look % PER_ORDER + 1:
            raise Wrong(f"A-{number} is at version {order.version}")
        taken.append(1000 * seconds)
    return median(taken)


def _append(session: Session, order_ids: Sequence[str]) -> None:
    """Add an event to each order as a consumer or a command does: its row is locked and changed too."""
    with session.transaction() as tx:
        journal = Journal(tx, order_ids)
        for each in order_ids:
            journal.record(each, _T.ATTENTION_RESOLVED, by="anna@desk", reason="looked at it")
        journal.write()


def _peer(ground: Ground, n: int) -> Mapping[str, float]:
    try:
        import_module("eventsourcing.postgres")
    except ImportError as exc:
        raise Missing(f"{exc}; pip install 'ordermq[bench]'") from exc
    return {name: float(value) for name, value in ground.run(
        "eventsourcing_history", timeout_s=3600.0, orders=max(n // PER_ORDER // PEERS_SHARE, 20), batch=BATCH,
        alone=ALONE, long=LONG, per_order=PER_ORDER, looks=LOOKS,
    ).items()}  # fmt: skip


def _slices(values: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for first in range(0, len(values), size):
        yield values[first : first + size]


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    began_s = time.perf_counter()
    result = call()
    return time.perf_counter() - began_s, result


def _of(key: str) -> Callable[[Medians], float]:
    return lambda found: found[key]


CASE = Case(
    name="history",
    what="the history of orders; n is the number of events in the database",
    unit="events/s",
    n=5_000_000,
    smoke_n=600,
    rounds=1,
    by_name_only=True,
    units={"_50": "ms", "_at_5m": "ms", "_at": "ms"},
    contenders=[
        Contender("fold", _fold, "in memory, from bodies as they are stored"),
        Contender("ordermq", _ordermq, f"orders of {PER_ORDER} events; {BATCH} events in a transaction"),
        Contender("eventsourcing", _peer, "as shipped, on PostgreSQL (programs/eventsourcing_history.py)"),
    ],
    targets=[
        below(2.0, "fold_50", "ms"),
        below(20.0, "ordermq_at_5m", "ms"),
        Target("rebuild >= 50,000 events/s", _of("ordermq_rebuild"), 50_000),
        Target("append in batches >= 15,000 events/s", _of("ordermq_append"), 15_000),
        Target(
            "append in batches >= 10 x one commit an event",
            lambda found: found["ordermq_append"] / found["ordermq_append_alone"],
            10,
        ),
    ],
)

"""Rows in ordermq's outbox, as an application leaves them there."""

from benchmarks.programs import orders
from ordermq.config.settings import DatabaseSettings
from ordermq.store import Session
from ordermq.store.outgoing import OutboxRow

_AT_ONCE = 1000


def fill(settings: DatabaseSettings, n: int) -> None:
    """Commit ``n`` orders into the outbox."""
    session = Session(settings, name="bench fill")
    for start in range(0, n, _AT_ONCE):
        add(session, start, min(n, start + _AT_ONCE))
    with session.transaction() as tx:
        tx.execute("ANALYZE ordermq.outbox")
    session.close()


def add(session: Session, start: int, end: int) -> None:
    """Commit the orders from ``start`` to before ``end`` into the outbox."""
    with session.transaction() as tx:
        tx.append(
            [
                OutboxRow(orders.QUEUE, orders.envelope(number), orders.body(number))
                for number in range(start, end)
            ]
        )

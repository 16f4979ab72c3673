"""Check every invariant of the shop against its database and the gateways' own books.

For a system that has come to rest: while orders are under way it reports those that
moved while it read. All queries see one snapshot; the gateways' books are copied into
temporary tables a page at a time, so memory does not grow with the orders.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

from ordermq.shop.gateways import LedgerEntry
from ordermq.shop.reconcile import checks
from ordermq.shop.reconcile.history import disagreement
from ordermq.shop.reconcile.report import MAX_OFFENDERS, Check, ReconcileReport
from ordermq.store import Session, Transaction

_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"

_LEDGER = """
    CREATE TEMPORARY TABLE ledger (order_id text, kind text, amount_minor bigint, currency text)
        ON COMMIT DROP
"""
_TEXTS = "CREATE TEMPORARY TABLE texts (reference text) ON COMMIT DROP"

# Orders with the same history and state are one row: few of each differ.
_HISTORIES = """
    SELECT path, status, pending, needs_attention, count(*), (array_agg(order_id))[1:%s]
      FROM (SELECT o.order_id, o.status, o.pending, o.attention_reason IS NOT NULL AS needs_attention,
                   string_agg(e.type || coalesce(':' || e.step, ''), ' ' ORDER BY e.version) AS path
              FROM shop.orders AS o LEFT JOIN shop.order_events AS e USING (order_id)
             GROUP BY o.order_id) AS histories
     GROUP BY path, status, pending, needs_attention
"""


def reconcile(
    session: Session,
    *,
    ledger: Iterable[list[LedgerEntry]] | None,
    texts: Iterable[list[str]] | None,
) -> ReconcileReport:
    """Make every check. Blocks for seconds with many orders; changes nothing.

    ``ledger`` are the payment service's books (``PaymentGateway.ledger()``), ``texts``
    the references of what the SMS service sent (``SmsGateway.sent()``), by pages; None
    leaves their checks out. Raises StoreError, or what reading the books raises.
    """
    found: list[Check] = []
    with session.transaction() as tx:
        tx.execute(_SNAPSHOT)
        found += _made(checks.ORDERS, tx)
        found.append(_history(tx))
        if ledger is not None:
            _copy_ledger(ledger, tx)
            found += _made(checks.PAYMENT_BOOKS, tx)
        if texts is not None:
            _copy_texts(texts, tx)
            found += _made(checks.MESSAGE_BOOKS, tx)
        found += _made(checks.MESSAGES, tx)
    return ReconcileReport(tuple(found))


def _made(queries: Mapping[str, str], tx: Transaction) -> list[Check]:
    return [_check(name, query, tx) for name, query in queries.items()]


def _check(name: str, query: str, tx: Transaction) -> Check:
    row = tx.fetch_one(
        f"""WITH wrong (what) AS ({query})
            SELECT (SELECT count(*) FROM wrong),
                   ARRAY(SELECT what FROM wrong ORDER BY what LIMIT {MAX_OFFENDERS})"""  # noqa: S608 # constants
    )
    note = tx.fetch_one(checks.NOTES[name]) if name in checks.NOTES else None
    return Check(name, row[0] if row else 0, tuple(row[1]) if row else (), note[0] if note else "")


def _history(tx: Transaction) -> Check:
    wrong: Counter[str] = Counter()
    offenders: list[str] = []
    histories = tx.fetch_all(_HISTORIES, (MAX_OFFENDERS,))
    for path, status, pending, needs_attention, count, order_ids in histories:
        fault = disagreement(path or "", status, pending, needs_attention=needs_attention)
        if fault is not None:
            wrong[fault] += count
            offenders += [f"{order_id}: {fault}" for order_id in order_ids]
    note = f"{len(histories)} different histories"
    return Check("history_agrees", wrong.total(), tuple(sorted(offenders)[:MAX_OFFENDERS]), note)


def _copy_ledger(pages: Iterable[list[LedgerEntry]], tx: Transaction) -> None:
    tx.execute(_LEDGER)
    for page in pages:
        rows = [(entry.order_id, entry.kind, entry.amount_minor, entry.currency) for entry in page]
        tx.execute_values("INSERT INTO ledger (order_id, kind, amount_minor, currency) VALUES %s", rows)


def _copy_texts(pages: Iterable[list[str]], tx: Transaction) -> None:
    tx.execute(_TEXTS)
    for page in pages:
        tx.execute_values("INSERT INTO texts (reference) VALUES %s", [(reference,) for reference in page])

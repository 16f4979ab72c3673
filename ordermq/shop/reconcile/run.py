"""The shop's checks for ``ordermq reconcile``: its tables, and the books of the services it calls.

The books are copied into temporary tables a page at a time, so memory does not grow
with the orders.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from ordermq.shop.gateways import LedgerEntry, PaymentGateway, SmsGateway
from ordermq.shop.reconcile import checks
from ordermq.shop.reconcile.history import disagreement
from ordermq.shop.settings import SECTION, ShopSettings
from ordermq.store.checks import MAX_OFFENDERS, Check, checks_of
from ordermq.task import Transaction

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


def check_orders(tx: Transaction, config: Any, ask_services: bool) -> Iterator[Check]:
    """Yield the checks of orders, their history, stock and payments against each other."""
    yield from checks_of(tx, checks.ORDERS, checks.NOTES)
    yield _history(tx)


def check_books(tx: Transaction, config: Any, ask_services: bool) -> Iterator[Check]:
    """Yield the checks against the books of the payment service and the SMS service, which are asked."""
    if ask_services:
        settings: ShopSettings = config.section(SECTION)
        yield from payment_books(tx, PaymentGateway.from_settings(settings).ledger())
        yield from message_books(tx, SmsGateway.from_settings(settings).sent())


def check_messages(tx: Transaction, config: Any, ask_services: bool) -> Iterator[Check]:
    """Yield the checks of what is still to be sent, and of dead letters against their orders."""
    return checks_of(tx, checks.MESSAGES, checks.NOTES)


def payment_books(tx: Transaction, ledger: Iterable[list[LedgerEntry]]) -> Iterator[Check]:
    """Yield the checks against ``ledger``, the pages of ``PaymentGateway.ledger()``."""
    tx.execute(_LEDGER)
    for page in ledger:
        rows = [(entry.order_id, entry.kind, entry.amount_minor, entry.currency) for entry in page]
        tx.execute_values("INSERT INTO ledger (order_id, kind, amount_minor, currency) VALUES %s", rows)
    yield from checks_of(tx, checks.PAYMENT_BOOKS, checks.NOTES)


def message_books(tx: Transaction, texts: Iterable[list[str]]) -> Iterator[Check]:
    """Yield the checks against ``texts``, the references that ``SmsGateway.sent()`` returns by pages."""
    tx.execute(_TEXTS)
    for page in texts:
        tx.execute_values("INSERT INTO texts (reference) VALUES %s", [(reference,) for reference in page])
    yield from checks_of(tx, checks.MESSAGE_BOOKS, checks.NOTES)


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

"""The shop's checks for ``ordermq reconcile``: its tables, and the books of the services it calls.

The books are copied into temporary tables a page at a time, so memory does not grow
with the orders.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple
from typing import Any

from ordermq.shop.gateways import LedgerEntry
from ordermq.shop.gateways.chosen import email_gateway, payment_gateway, text_gateway
from ordermq.shop.money import decimals_of
from ordermq.shop.notifications import NotificationChannel
from ordermq.shop.reconcile import checks
from ordermq.shop.reconcile.history import disagreement
from ordermq.shop.saga import terms_of
from ordermq.shop.settings import SECTION, ShopSettings
from ordermq.store.checks import ACKNOWLEDGE, MAX_OFFENDERS, Check, check_named, checks_of
from ordermq.task import Transaction
from ordermq.task.transaction import Row

_ENTRIES = """
    CREATE TEMPORARY TABLE entries (entry_no bigint, kind text, idempotency_key text, order_id text,
                                    capture_id text, amount_minor bigint, currency text) ON COMMIT DROP
"""
# Shops may share an account. Ours is what has our shop's name or a key of ours, what is about a capture of
# ours, and what was done by hand, without a key of ordermq's form, for an order of ours.
_LEDGER = r"""
    CREATE TEMPORARY TABLE ledger ON COMMIT DROP AS
    SELECT e.entry_no, e.kind, e.idempotency_key, coalesce(k.order_id, c.order_id, e.order_id) AS order_id,
           e.capture_id, e.amount_minor, e.currency, o.currency AS order_currency,
           k.order_id IS NOT NULL OR c.order_id IS NOT NULL OR starts_with(e.key, 'capture:' || %s || ':')
               OR o.order_id IS NOT NULL AND NOT starts_with(e.key, 'capture:') AS is_ours
      FROM (SELECT *, regexp_replace(idempotency_key, '^refund:(\d+:)?', '') AS key FROM entries) AS e
      LEFT JOIN (SELECT idempotency_key, order_id FROM shop.payments
                 UNION ALL SELECT idempotency_key, order_id FROM shop.earlier_payments) AS k
             ON k.idempotency_key = e.key
      LEFT JOIN (SELECT capture_id, min(order_id) AS order_id
                   FROM (SELECT capture_id, order_id FROM shop.payments
                         UNION ALL SELECT capture_id, order_id FROM shop.earlier_payments) AS captures
                  WHERE capture_id IS NOT NULL GROUP BY capture_id) AS c ON c.capture_id = e.capture_id
      LEFT JOIN shop.orders AS o ON o.order_id = coalesce(k.order_id, c.order_id, e.order_id)
"""
# "wanted" is how many captures there may be: the present one, and those before it that were refunded.
_BOOKED = """
    CREATE TEMPORARY TABLE booked ON COMMIT DROP AS
    SELECT order_id, count(*) FILTER (WHERE kind = 'capture') AS captures,
           count(*) FILTER (WHERE kind <> 'capture') AS refunds,
           coalesce(sum(amount_minor) FILTER (WHERE kind = 'capture'), 0) AS captured_minor,
           coalesce(sum(amount_minor) FILTER (WHERE kind <> 'capture'), 0) AS refunded_minor,
           min(amount_minor) FILTER (WHERE kind = 'capture') AS least,
           max(amount_minor) FILTER (WHERE kind = 'capture') AS most,
           bool_or(currency <> order_currency) AS is_other_currency, coalesce(min(wanted), 1) AS wanted
      FROM ledger
      LEFT JOIN (SELECT order_id, 1 + count(*) AS wanted FROM shop.earlier_payments WHERE state = 'refunded'
                  GROUP BY order_id) AS earlier USING (order_id)
     WHERE is_ours GROUP BY order_id
"""
_CANNOT_LIST = "not checked: the gateway cannot list what the service did"
_NO_MAIL_BOOKS = "not checked: SMTP has no books; shop.mail_ledger_url can name some"
_MESSAGES = """
    CREATE TEMPORARY TABLE listed (channel text) ON COMMIT DROP;
    CREATE TEMPORARY TABLE messages (channel text, reference text) ON COMMIT DROP
"""

# Orders with the same history and state are one row: few of each differ.
_HISTORIES = f"""
    SELECT path, status, pending, charge, notify, needs_attention, coalesce(known, '{{}}'), count(*),
           (array_agg(order_id))[1:{MAX_OFFENDERS}]
      FROM (SELECT o.order_id, o.status, o.pending, o.charge, o.notify,
                   o.attention_reason IS NOT NULL AS needs_attention,
                   string_agg(e.type || coalesce(':' || e.step, ''), ' ' ORDER BY e.version) AS path
              FROM shop.orders AS o LEFT JOIN shop.order_events AS e USING (order_id)
             WHERE o.archive_id IS NULL
             GROUP BY o.order_id) AS histories
      LEFT JOIN (SELECT split_part(split_part(subject, ': ', 1), ' ', 2) AS order_id,
                        array_agg(substr(subject, strpos(subject, ': ') + 2)) AS known
                   FROM ordermq.actions
                  WHERE action = '{ACKNOWLEDGE}' AND starts_with(subject, 'history_agrees ')
                  GROUP BY 1) AS acknowledged USING (order_id)
     GROUP BY path, status, pending, charge, notify, needs_attention, known
"""  # noqa: S608 # constants


def check_orders(tx: Transaction, config: Any, ask_services: bool) -> Iterator[Check]:
    """Yield the checks of orders, their history, stock, payments and points against each other."""
    yield from checks_of(tx, checks.ORDERS, checks.NOTES)
    yield from checks_of(tx, _points(tx), checks.NOTES)
    with check_named("history_agrees"):
        histories = tx.fetch_all(_HISTORIES)
    yield _history(histories)


def check_books(tx: Transaction, config: Any, ask_services: bool) -> Iterator[Check]:
    """Yield the checks against the books of the services for payments, texts and e-mails, which are asked."""
    if not ask_services:
        return
    settings: ShopSettings = config.section(SECTION)
    payment, text, email = payment_gateway(config), text_gateway(config), email_gateway(config)
    if payment.can_list:
        yield from payment_books(tx, payment.ledger(), settings.name)
    else:
        yield Check("payment_books", 0, (), _CANNOT_LIST)
    books: dict[NotificationChannel, Iterable[list[str]]] = {}
    if text.can_list:
        books[NotificationChannel.TEXT] = text.sent()
    else:
        yield Check("text_books", 0, (), _CANNOT_LIST)
    if email.can_list:
        books[NotificationChannel.EMAIL] = email.sent()
    elif email.can_send:
        yield Check("email_books", 0, (), _NO_MAIL_BOOKS)
    if books:
        yield from message_books(tx, books)


def check_messages(tx: Transaction, config: Any, ask_services: bool) -> Iterator[Check]:
    """Yield the checks of what is still to be sent, and of dead letters against their orders."""
    return checks_of(tx, checks.MESSAGES, checks.NOTES)


def payment_books(
    tx: Transaction, ledger: Iterable[list[LedgerEntry]], shop: str = "shop"
) -> Iterator[Check]:
    """Yield the checks against ``ledger``, the pages of ``PaymentGateway.ledger()``.

    Entries of other shops than ``shop`` are named in a note and not counted.
    """
    tx.execute(_ENTRIES)
    for page in ledger:
        tx.execute_values("INSERT INTO entries VALUES %s", [astuple(entry) for entry in page])
    with check_named("payment_books"):
        tx.execute(_LEDGER, (shop,))
        tx.execute(_BOOKED)
    yield from checks_of(tx, checks.PAYMENT_BOOKS, checks.NOTES)


def message_books(
    tx: Transaction, books: Mapping[NotificationChannel, Iterable[list[str]]]
) -> Iterator[Check]:
    """Yield the checks against ``books``: by channel the pages of what its gateway says was sent."""
    tx.execute(_MESSAGES)
    for channel, pages in books.items():
        tx.execute("INSERT INTO listed VALUES (%s)", (channel,))
        for page in pages:
            rows = [(channel, reference) for reference in page]
            tx.execute_values("INSERT INTO messages VALUES %s", rows)
    yield from checks_of(tx, checks.MESSAGE_BOOKS, checks.NOTES)


def _points(tx: Transaction) -> dict[str, str]:
    """Return the checks of points, for the currencies of the orders."""
    found = tx.fetch_all("SELECT DISTINCT currency FROM shop.orders WHERE currency ~ '^[A-Z]{3}$'")
    units = ", ".join(f"('{currency}', {10 ** decimals_of(currency)})" for (currency,) in found)
    return {name: sql.format(units=units or "('', 1)") for name, sql in checks.POINTS.items()}


def _history(histories: list[Row]) -> Check:
    wrong: Counter[str] = Counter()
    offenders: list[str] = []
    for path, status, pending, charge, notify, needs_attention, known, count, order_ids in histories:
        terms = terms_of(charge, notify)
        fault = disagreement(path or "", status, pending, needs_attention=needs_attention, terms=terms)
        if fault is not None and fault not in known:
            wrong[fault] += count
            offenders += [f"{order_id}: {fault}" for order_id in order_ids]
    note = f"{len(histories)} different histories"
    return Check("history_agrees", wrong.total(), tuple(sorted(offenders)[:MAX_OFFENDERS]), note)

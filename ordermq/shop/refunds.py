"""The ``refunds`` table: a row each time that money or goods of an order went back.

    none ──> open ──> refunded    the payment service has given the money back
      │        ├────> given_back  somebody had done so at the service before
      │        ├────> by_hand     a person reported it
      │        └────> skipped     there was nothing to give back
      ├──> by_hand
      └──> returned (goods alone)

Invariants
    RFD1  What went back of a capture, and what is about to, is never more than was captured, and
        no more units of a line are refunded or returned than were ordered. The order's lock
        decides; constraints of orders and order_items hold it too.
    RFD2  An order has at most one open refund. Each has a number and a key of its own, and the key is
        written before the service is first called under it.
    RFD3  While rows are read and changed, the row of their order is locked.
"""

import json
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple

from ordermq.shop.gateways import Refund
from ordermq.shop.payments import FOREVER_S
from ordermq.task import Transaction

LineUnits = tuple[int, int]
"""The number of a line, and units of it."""


class RefundState(StrEnum):
    """The states of a refund; the module draws how they follow each other."""

    OPEN = "open"
    REFUNDED = "refunded"
    GIVEN_BACK = "given_back"
    BY_HAND = "by_hand"
    SKIPPED = "skipped"
    RETURNED = "returned"


class RefundRow(NamedTuple):
    """A row. ``key_lives``: the service still knows the key; None if it was never used."""

    order_id: str
    refund_no: int
    amount_minor: int
    state: RefundState
    idempotency_key: str | None
    refund_id: str | None
    request: str
    key_lives: bool | None

    def of_capture(self, capture_id: str, currency: str) -> Refund:
        """Return what to ask the service for."""
        return Refund(self.idempotency_key or "", capture_id, self.amount_minor, currency)


def new_key(capture_key: str, refund_no: int) -> str:
    """Return the idempotency key of a refund that is tried for the first time.

    That of the first refund has no number, as it had when an order could have only one.
    """
    return f"refund:{capture_key}" if refund_no == 1 else f"refund:{refund_no}:{capture_key}"


# Those of an earlier capture are over, and count for nothing.
_READ = """
    SELECT order_id, refund_no, amount_minor, state, idempotency_key, refund_id, request,
           called_at > clock_timestamp() - %s * interval '1 second',
           capture_no = coalesce((SELECT p.capture_no FROM shop.payments AS p
                                   WHERE p.order_id = r.order_id), 1)
      FROM shop.refunds AS r WHERE order_id = ANY(%s) ORDER BY order_id, refund_no
"""

_ADD = """
    INSERT INTO shop.refunds (order_id, refund_no, amount_minor, state, idempotency_key, called_at, refund_id,
                              request, lines, is_restocked, capture_no)
    SELECT order_id, refund_no, amount_minor, state, idempotency_key,
           CASE WHEN idempotency_key IS NOT NULL THEN clock_timestamp() END,
           refund_id, request, lines::jsonb, is_restocked,
           coalesce((SELECT p.capture_no FROM shop.payments AS p WHERE p.order_id = v.order_id), 1)
      FROM (VALUES %s) AS v (order_id, refund_no, amount_minor, state, idempotency_key, refund_id, request,
                             lines, is_restocked)
"""
_ADD_TEMPLATE = "(%s, %s, %s::bigint, %s, %s::text, %s::text, %s, %s, %s)"

_SAVE = """
    UPDATE shop.refunds AS r
       SET amount_minor = v.amount_minor, state = v.state, idempotency_key = v.idempotency_key,
           called_at = CASE WHEN v.idempotency_key IS NOT NULL
                            THEN coalesce(called_at, clock_timestamp()) END,
           refund_id = v.refund_id, updated_at = now()
      FROM (VALUES %s) AS v (order_id, refund_no, amount_minor, state, idempotency_key, refund_id)
     WHERE r.order_id = v.order_id AND r.refund_no = v.refund_no
"""
_SAVE_TEMPLATE = "(%s, %s, %s::bigint, %s, %s::text, %s::text)"


class Refunds:
    """The refunds of some orders: read when this object is made, changed by ``write()``.

    For one transaction (RFD3).
    """

    def __init__(self, order_ids: Iterable[str], tx: Transaction, *, key_life_s: float = FOREVER_S) -> None:
        """``key_life_s``: for how many seconds after its first use the service knows a key."""
        self._tx = tx
        self._rows: dict[str, dict[int, RefundRow]] = {}
        self._last: dict[str, int] = {}
        self._added: dict[tuple[str, int], tuple[str, bool]] = {}
        self._changed: set[tuple[str, int]] = set()
        for *row, is_present in tx.fetch_all(_READ, (key_life_s, sorted(set(order_ids)))):
            found = RefundRow(*row)._replace(state=RefundState(row[3]))
            self._last[found.order_id] = found.refund_no
            if is_present:
                self._keep(found)

    def of(self, order_id: str) -> Sequence[RefundRow]:
        """Return the refunds of the order's present capture, the oldest first."""
        return list(self._rows.get(order_id, {}).values())

    def open(self, order_id: str) -> RefundRow | None:
        """Return the order's open refund (RFD2)."""
        return next((each for each in self.of(order_id) if each.state is RefundState.OPEN), None)

    def get(self, order_id: str, refund_no: int) -> RefundRow | None:
        """Return a refund of the order's present capture by its number."""
        return self._rows.get(order_id, {}).get(refund_no)

    def add(
        self,
        order_id: str,
        amount_minor: int,
        state: RefundState,
        *,
        refund_id: str | None = None,
        request: str = "",
        lines: Sequence[LineUnits] = (),
        is_restocked: bool = False,
    ) -> RefundRow:
        """Add a refund under the next number of its order; written by ``write()``."""
        number = self._last.get(order_id, 0) + 1
        row = RefundRow(order_id, number, amount_minor, state, None, refund_id, request, None)
        self._added[order_id, number] = (json.dumps(lines), is_restocked)
        self._last[order_id] = number
        self._keep(row)
        return row

    def change(self, row: RefundRow) -> None:
        """Put ``row`` in place of the one of its number; written by ``write()``."""
        self._keep(row)
        if (row.order_id, row.refund_no) not in self._added:
            self._changed.add((row.order_id, row.refund_no))

    def write(self) -> None:
        """Write the changes."""
        rows = [
            (*self._rows[order_id][number][:7], *rest)
            for (order_id, number), rest in sorted(self._added.items())
        ]
        self._tx.write_values(_ADD, rows, template=_ADD_TEMPLATE)
        changed = [self._rows[order_id][number][:6] for order_id, number in sorted(self._changed)]
        self._tx.write_values(_SAVE, changed, template=_SAVE_TEMPLATE)
        self._added.clear()
        self._changed.clear()

    def _keep(self, row: RefundRow) -> None:
        self._rows.setdefault(row.order_id, {})[row.refund_no] = row

"""Giving back a part of a paid order, and goods of it that come back.

A refund is of units of lines, of an amount, or of all that is left. Units of a line are worth their part of
its share (``split``), the units that were paid back before counted first. The same request again is the same
refund, unless it is asked for again on purpose. The order stays paid or completed, also if all went back:
its status says where its goods are, and ``refunded_minor`` how much of its money is back.

    RFD1 (``refunds``) holds here: what is asked for is compared with what was captured, paid back,
    ordered and returned before, while the order is locked.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ordermq.errors import BadInput, OrderConflict, OrderNotFound
from ordermq.shop import reservations
from ordermq.shop.events import EventType, Step
from ordermq.shop.journal import Journal, LockedOrder
from ordermq.shop.lines import OrderLines
from ordermq.shop.money import written
from ordermq.shop.payments import Payments
from ordermq.shop.refunds import LineUnits, RefundRow, Refunds, RefundState
from ordermq.shop.saga import CANCELLED, Charge, Status, can_happen
from ordermq.store import StoreTransaction, actions

MAX_REASON_CHARS = 200


@dataclass(frozen=True, slots=True)
class RefundRequested:
    """The order after the request. ``lines`` are the numbers of lines, and units of each.

    ``restocked`` are the units of each product that are on hand again. ``is_duplicate``: the same was
    asked for before, as the refund of this number, so nothing changed.
    """

    order_id: str
    refund_no: int
    status: Status
    amount_minor: int
    currency: str
    lines: tuple[LineUnits, ...]
    restocked: Mapping[str, int]
    is_duplicate: bool


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is to go back; ``amount_minor`` None means what ``paid_back`` is worth.

    Units are by line; None means all that are left.
    """

    paid_back: Mapping[int, int] | None
    amount_minor: int | None
    returned: Mapping[int, int] | None
    is_restocked: bool

    @property
    def request(self) -> str:
        """What was asked for, as the same words for the same request."""
        words = [
            "refund " + _words(self.paid_back) if self.paid_back != {} else "",
            f"amount {self.amount_minor}" if self.amount_minor is not None else "",
            "return " + _words(self.returned) if self.returned != {} else "",
            "restock" if self.is_restocked else "",
        ]
        return ", ".join(filter(None, words))


def refund_order(
    order_id: str,
    tx: StoreTransaction,
    *,
    lines: Mapping[int, int] | None = None,
    amount_minor: int | None = None,
    restock: bool = False,
    by: str,
    reason: str,
    again: bool = False,
) -> RefundRequested:
    """Ask for a refund of a paid or completed order, in the caller's transaction.

    ``lines`` are units by the number of their line; ``amount_minor`` is given back in place of what they are
    worth, or without lines at all. Without both, all that is left goes back. ``restock``: the goods
    came back and are on hand again. ``by`` and ``reason`` are recorded and hold nothing personal.
    ``again``: also if the same was asked for before. Raises OrderNotFound, BadInput, or OrderConflict if
    the order is not paid, or a refund of it is under way.
    """
    if amount_minor is not None:
        if amount_minor <= 0:
            raise BadInput(f"amount: {amount_minor} is not more than 0")
        if lines is None and restock:
            raise BadInput("an amount alone has no goods to restock: name the lines too")
        lines = lines or {}
    asked = _Asked(lines, amount_minor, lines if restock else {}, restock)
    return _Request(order_id, tx, by, reason).make(asked, "order.refund", again=again)


def return_goods(
    order_id: str,
    tx: StoreTransaction,
    *,
    lines: Mapping[int, int],
    refund: bool = True,
    restock: bool = True,
    by: str,
    reason: str,
    again: bool = False,
) -> RefundRequested:
    """Record goods of a shipped order that came back, in the caller's transaction.

    ``refund``: what they are worth goes back. ``restock``: they are on hand again. The rest is as for
    ``refund_order``.
    """
    asked = _Asked(lines if refund else {}, None, lines, restock)
    return _Request(order_id, tx, by, reason).make(asked, "order.return", again=again)


class _Request:
    """One request for an order, in one transaction, with the order locked."""

    def __init__(self, order_id: str, tx: StoreTransaction, by: str, reason: str) -> None:
        self._tx = tx
        self._by = by
        self._reason = reason
        self._journal = Journal(tx, [order_id], by=by)
        order = self._journal.orders.get(order_id)
        if order is None:
            raise OrderNotFound(f"no order {order_id[:80]!r}")
        self._order: LockedOrder = order
        self._refunds = Refunds([order_id], tx)
        self._lines = OrderLines(order_id, tx)

    def make(self, asked: _Asked, action: str, *, again: bool) -> RefundRequested:
        """Do what is asked for, unless it was asked for before."""
        known = [each for each in self._refunds.of(self._order.order_id) if each.request == asked.request]
        if known and not again:
            return self._answer(known[-1], (), {}, is_duplicate=True)
        paid_back = self._units(asked.paid_back, self._lines.left_to_refund(), "paid back")
        returned = self._units(asked.returned, self._lines.left_to_return(), "returned")
        amount_minor = self._amount(asked, paid_back)
        if returned:
            self._check_shipped()
        if not amount_minor and not returned:
            raise BadInput(f"order {self._order.order_id}: there is nothing to give back")
        about = tuple(sorted((paid_back or returned).items()))
        row = self._refunds.add(
            self._order.order_id,
            amount_minor,
            RefundState.OPEN if amount_minor else RefundState.RETURNED,
            request=asked.request,
            lines=about,
            is_restocked=asked.is_restocked,
        )
        self._refunds.write()
        self._lines.count(paid_back, returned)
        restocked = self._restock(returned if asked.is_restocked else {}, row)
        self._record(row, paid_back, returned, is_restocked=asked.is_restocked)
        subject = [f"order {self._order.order_id}"]
        actions.record(self._tx, self._by, action, subject, f"{self._named(row)}: {self._reason}")
        return self._answer(row, about, restocked, is_duplicate=False)

    def _units(self, asked: Mapping[int, int] | None, left: Mapping[int, int], word: str) -> dict[int, int]:
        """Return the units of each line; all that are left if None was asked for. Raises BadInput."""
        if asked is None:
            return {line_no: units for line_no, units in left.items() if units}
        for line_no, units in asked.items():
            if line_no not in left:
                raise BadInput(f"order {self._order.order_id} has no line {line_no}")
            if not 1 <= units <= left[line_no]:
                raise BadInput(
                    f"order {self._order.order_id}, line {line_no}: {units} units cannot be {word}; "
                    f"{left[line_no]} are left"
                )
        return dict(asked)

    def _amount(self, asked: _Asked, paid_back: Mapping[int, int]) -> int:
        """Return what is to go back; 0 if goods alone do. Raises BadInput or OrderConflict."""
        wanted_minor = self._lines.worth(paid_back) if asked.amount_minor is None else asked.amount_minor
        if not wanted_minor and asked.paid_back is not None and asked.amount_minor is None:
            return 0
        self._check_refundable()
        left_minor = self._captured_minor() - self._order.refunded_minor
        if asked.paid_back is None and asked.amount_minor is None:
            wanted_minor = left_minor
        if wanted_minor > left_minor:
            hint = "; --amount gives back less" if asked.amount_minor is None else ""
            raise BadInput(
                f"order {self._order.order_id}: {self._money(wanted_minor)} cannot go back, only"
                f" {self._money(left_minor)} of what was taken is left{hint}"
            )
        return wanted_minor

    def _captured_minor(self) -> int:
        order_id = self._order.order_id
        return Payments([order_id], self._tx, settles_s=0.0).rows[order_id].amount_minor

    def _check_refundable(self) -> None:
        order = self._order
        if can_happen(order.state, EventType.REFUND_REQUESTED):
            return
        if order.state.terms.charge is Charge.FREE:
            raise OrderConflict(f"order {order.order_id} was free: there is no money to give back")
        if order.state.status in (Status.PAID, Status.COMPLETED) and Step.REFUND in order.state.pending:
            refund = self._refunds.open(order.order_id)
            number = f"refund {refund.refund_no}" if refund else "a refund"
            raise OrderConflict(
                f"order {order.order_id}: {number} is under way; ask when it has ended, see: ordermq order"
                f" show {order.order_id}"
            )
        raise OrderConflict(_not_paid(order))

    def _check_shipped(self) -> None:
        order = self._order
        if not can_happen(order.state, EventType.GOODS_RETURNED):
            if order.state.status in (Status.PAID, Status.COMPLETED):
                raise OrderConflict(
                    f"order {order.order_id} is not shipped yet, so nothing can come back: see 'ordermq order"
                    " cancel'"
                )
            raise OrderConflict(_not_paid(order))

    def _restock(self, returned: Mapping[int, int], row: RefundRow) -> dict[str, int]:
        units: Counter[str] = Counter()
        for line_no, count in returned.items():
            units[self._lines.product(line_no)] += count
        if not units:
            return {}
        reservations.take_back(self._order.order_id, units, self._tx)
        for product_id, count in sorted(units.items()):
            why = f"by {count}: return {row.refund_no} of order {row.order_id}: {self._reason}"
            actions.record(self._tx, self._by, "stock.restock", [f"product {product_id}"], why)
        return dict(sorted(units.items()))

    def _record(
        self, row: RefundRow, paid_back: Mapping[int, int], returned: Mapping[int, int], *, is_restocked: bool
    ) -> None:
        about: dict[str, Any] = {
            "refund_no": row.refund_no,
            "by": self._by,
            "reason": self._reason[:MAX_REASON_CHARS],
        }
        if returned:
            self._journal.record(
                row.order_id, EventType.GOODS_RETURNED,
                lines=sorted(returned.items()), is_restocked=is_restocked,
                paid_back=[] if row.amount_minor else sorted(paid_back.items()), **about,
            )  # fmt: skip
        if row.amount_minor:
            self._journal.record(
                row.order_id, EventType.REFUND_REQUESTED, lines=sorted(paid_back.items()),
                amount_minor=row.amount_minor, currency=self._order.currency, **about,
            )  # fmt: skip
        self._journal.write()

    def _named(self, row: RefundRow) -> str:
        if not row.amount_minor:
            return f"return {row.refund_no}, {row.request}"
        return f"refund {row.refund_no} of {self._money(row.amount_minor)}, {row.request}"

    def _money(self, amount_minor: int) -> str:
        return f"{written(amount_minor, self._order.currency)} {self._order.currency}"

    def _answer(
        self, row: RefundRow, lines: Sequence[LineUnits], restocked: Mapping[str, int], *, is_duplicate: bool
    ) -> RefundRequested:
        order = self._order
        return RefundRequested(
            order.order_id, row.refund_no, order.state.status, row.amount_minor, order.currency, tuple(lines),
            restocked, is_duplicate,
        )  # fmt: skip


def _words(units: Mapping[int, int] | None) -> str:
    """Return units by line as ``1x2 3x1``; ``all`` for all that are left."""
    return "all" if units is None else " ".join(f"{line}x{count}" for line, count in sorted(units.items()))


def _not_paid(order: LockedOrder) -> str:
    if order.state.status in CANCELLED:
        return f"order {order.order_id} is {order.state.status}: what was taken for it goes back by itself"
    return f"order {order.order_id} is {order.state.status}, not paid yet: see 'ordermq order cancel'"

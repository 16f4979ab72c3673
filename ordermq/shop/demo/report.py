"""What the demo reports at its end: a table for a person, ``build/demo.json`` for a program. Pure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Latencies:
    """Milliseconds from an order's acceptance to its terminal status; None without any order."""

    p50: float | None
    p99: float | None


@dataclass(frozen=True)
class Kinds:
    """How many orders have a discount, cost nothing, were paid before, or are paid back in part.

    ``texts`` and ``emails`` are how many were sent to customers.
    """

    discounted: int
    free: int
    paid_before: int
    paid_back_in_part: int
    texts: int
    emails: int


@dataclass(frozen=True)
class Waiting:
    """Medians in milliseconds; ``background`` is from an order's acceptance to its terminal status."""

    order: float
    stock: float
    payment_and_sms: float
    in_line: float
    placed: float
    background: float

    def lines(self) -> list[str]:
        """Return the table's lines, within 80 columns."""
        rows = [
            ("a customer waits for", "in line", "with ordermq"),
            ("the order to be written", _ms(self.order), _ms(self.placed)),
            ("the stock", _ms(self.stock), "-"),
            ("payment and SMS", _ms(self.payment_and_sms), "-"),
            ("all of it", _ms(self.in_line), _ms(self.placed)),
            ("(done in the background after)", "", _ms(self.background)),
        ]
        return [f"{name:<32}{in_line:>10}{placed:>15}" for name, in_line, placed in rows]


@dataclass(frozen=True)
class DemoReport:
    """The figures of one run; ``cancelled_by`` counts orders by the event that cancelled them."""

    accepted: int
    rejected: int
    duplicates: int
    completed: int
    cancelled: int
    refunded: int
    seconds: float
    orders_per_s: float
    latency_ms: Latencies
    published: int
    redelivered: int
    restarts: int
    attention: int
    cancelled_by: Mapping[str, int]
    kinds: Kinds | None
    waiting: Waiting | None = None
    reconcile: str = ""

    def as_json(self) -> dict[str, object]:
        return asdict(self)

    def lines(self) -> list[str]:
        """Return the table's lines, within 80 columns."""
        causes = {
            "out of stock": self.cancelled_by.get("stock_rejected", 0),
            "declined": self.cancelled_by.get("payment_declined", 0),
            "by the customer": self.cancelled_by.get("cancel_requested", 0),
            "given up": self.cancelled_by.get("payment_failed", 0)
            + self.cancelled_by.get("reservation_failed", 0),
        }
        rows = [
            ("orders accepted", f"{self.accepted}"),
            *self._kinds(),
            ("orders rejected", f"{self.rejected}"),
            ("duplicates", f"{self.duplicates}"),
            ("completed", f"{self.completed}"),
            *self._paid_back(),
            ("cancelled or refunded", f"{self.cancelled + self.refunded}"),
            *((f"  {cause}", f"{count}") for cause, count in causes.items() if count),
            ("  of these refunded", f"{self.refunded}"),
            ("need a human's attention", f"{self.attention}"),
            *self._notifications(),
            ("seconds, first placed to last settled", f"{self.seconds:.1f}"),
            ("orders/s end to end", f"{self.orders_per_s:.0f}"),
            ("latency p50, placed to terminal", _ms(self.latency_ms.p50)),
            ("latency p99", _ms(self.latency_ms.p99)),
            ("messages published", f"{self.published}"),
            ("messages redelivered", f"{self.redelivered}"),
        ]
        if self.restarts:
            rows.append(("processes started again", f"{self.restarts}"))
        width = max(len(name) for name, _ in rows) + 2
        lines = [f"{name:<{width}}{value:>12}" for name, value in rows]
        return [*lines, "", *self.waiting.lines(), ""] if self.waiting else lines

    def _kinds(self) -> list[tuple[str, str]]:
        if self.kinds is None:
            return []
        return [
            ("  with a discount", f"{self.kinds.discounted}"),
            ("  free", f"{self.kinds.free}"),
            ("  paid before they came", f"{self.kinds.paid_before}"),
        ]

    def _paid_back(self) -> list[tuple[str, str]]:
        return [("  of these paid back in part", f"{self.kinds.paid_back_in_part}")] if self.kinds else []

    def _notifications(self) -> list[tuple[str, str]]:
        if self.kinds is None:
            return []
        return [
            ("texts sent to customers", f"{self.kinds.texts}"),
            ("e-mails sent to customers", f"{self.kinds.emails}"),
        ]


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms"

"""Where the demo's orders come from: a file, or a seed; some of the latter were paid before they come."""

import gzip
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import msgspec

from ordermq.errors import OutcomeUnknown
from ordermq.shop.gateways import Captured, PaymentGateway
from ordermq.shop.gateways.payment import Capture
from ordermq.shop.intake import Entry, read_orders
from ordermq.shop.intake.demand import demand_of, stock_for
from ordermq.shop.intake.generate import json_line, varied
from ordermq.shop.model import Contact, Notify, Order, PaidBefore

COVER = 0.97  # of the demand for the best sellers: the rest is out of stock
PAID_ONE_IN = 30  # orders of a marketplace, which took the money itself
EMAIL_ONE_IN = 10  # customers who want an e-mail as well as a text
APPROVED = "0001"  # the end of a card token that the sandbox neither declines nor delays


@dataclass(frozen=True)
class OrderSource:
    """The orders of the file ``path``, or those of the seed."""

    path: Path | None
    format: str
    count: int
    seed: int
    _references: dict[str, str] = field(default_factory=dict)

    def pay_some(self, gateway: PaymentGateway) -> None:
        """Take the money of some orders of the seed as a marketplace does, before they come."""
        if self.path is not None:
            return
        for number, order in enumerate(varied(self.count, self.seed)):
            token = order.card_token or ""
            if number % PAID_ONE_IN == 0 and token.endswith(APPROVED):
                capture = Capture(
                    f"market:{order.order_id}", order.order_id, order.total_minor, order.currency, token
                )
                captured = gateway.capture(capture)
                if not isinstance(captured, Captured):
                    raise OutcomeUnknown(f"the sandbox did not take the money of order {order.order_id}")
                self._references[order.order_id] = captured.capture_id

    def lines(self) -> Iterator[bytes]:
        """Yield the first ``count`` records as bytes of an order file."""
        if self.path is None:
            for number, order in enumerate(varied(self.count, self.seed)):
                yield json_line(self._paid(_emailed(order) if number % EMAIL_ONE_IN == 1 else order))
            return
        with self.path.open("rb") as file:
            is_gzip = file.peek(2)[:2] == b"\x1f\x8b"
            yield from islice(gzip.GzipFile(fileobj=file) if is_gzip else file, self.count)

    def stock(self) -> list[tuple[str, int]]:
        """Return stock for what the orders ask for, with too little of the best sellers."""
        stream = io.BufferedReader(_Joined(self.lines()))
        orders = (each for each in read_orders(stream, self.format) if isinstance(each, Entry))
        return stock_for(demand_of(orders), cover=COVER)

    def _paid(self, order: Order) -> Order:
        reference = self._references.get(order.order_id)
        if reference is None:
            return order
        return msgspec.structs.replace(order, payment=PaidBefore(reference=reference), card_token=None)


def _emailed(order: Order) -> Order:
    contact = Contact(phone=order.contact.phone, email=f"{order.customer_id}@somewhere.example")
    return msgspec.structs.replace(order, contact=contact, notify=Notify.BOTH)


class _Joined(io.RawIOBase):
    """Chunks of bytes as a stream."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type] # typeshed says object, io says buffer
        self._left = self._left or next(self._chunks, b"")
        size = min(len(view), len(self._left))
        view[:size], self._left = self._left[:size], self._left[size:]
        return size

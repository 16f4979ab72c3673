"""Customers: orders that come in at a constant rate, and the answer that each of them got."""

import threading
from collections.abc import Iterator
from itertools import chain, islice

import msgspec

from ordermq.clock import monotonic_s
from ordermq.errors import OrderMQError
from ordermq.shop.gateways import Capture, Captured, PaymentGateway
from ordermq.shop.intake.generate import varied
from ordermq.shop.model import Contact, Notify, Order, PaidBefore
from ordermq.shop.place import Placed, place_orders
from ordermq.store import Session, outbox

#: Must stand in no log: names and addresses of every customer hold it.
PLANTED = "quibblethwaite"
BATCH = 50
EMAIL_ONE_IN = 4  # of them, half also want a text
PAID_ONE_IN, PAID_AMONG = 40, 2400  # a marketplace has taken the money of these before they come
LAST_TRY_S = 60.0


def orders_of(seed: int) -> Iterator[Order]:
    """Yield orders for ever, some free, discounted or told of by e-mail.

    Each carries personal data that would be seen in a log.
    """
    for number, order in enumerate(varied(10**9, seed)):
        contact = Contact(phone=order.contact.phone, email=f"zoe@{PLANTED}.example", name=f"Zoe {PLANTED}")
        notify = Notify.TEXT
        if number % EMAIL_ONE_IN == 0:
            notify = Notify.BOTH if number % (2 * EMAIL_ONE_IN) else Notify.EMAIL
        yield msgspec.structs.replace(order, contact=contact, notify=notify)


def paid_before(orders: Iterator[Order], gateway: PaymentGateway) -> Iterator[Order]:
    """Return these orders; a marketplace has taken the money of some of them at ``gateway``."""
    first = list(islice(orders, PAID_AMONG))
    for number in range(0, PAID_AMONG, PAID_ONE_IN):
        order = first[number]
        if order.card_token is None or not order.card_token.endswith("0001"):
            continue
        key = f"market:{order.order_id}"
        capture = Capture(key, order.order_id, order.total_minor, order.currency, order.card_token)
        taken = gateway.capture(capture)
        if isinstance(taken, Captured):
            paid = PaidBefore(reference=taken.capture_id)
            first[number] = msgspec.structs.replace(order, payment=paid, card_token=None)
    return chain(first, orders)


class Customers(threading.Thread):
    """Place orders, ``rate`` a second: open loop, so that an outage piles up who comes meanwhile.

    An order whose answer did not come is placed again under its id until it is answered.
    ``accepted`` holds the orders that were answered with yes, and only those.
    """

    def __init__(self, session: Session, seed: int, rate: float) -> None:
        super().__init__(name="customers", daemon=True)
        self.accepted: list[str] = []
        self.failure: BaseException | None = None
        self._session = session
        self._orders = orders_of(seed)
        self._rate = rate
        self._stopping = threading.Event()
        self._stopped_s = 0.0

    def pay_before(self, gateway: PaymentGateway) -> None:
        """Have the money of some orders taken before they come. Before ``start``."""
        self._orders = paid_before(self._orders, gateway)

    def run(self) -> None:
        began_s, count = monotonic_s(), 0
        try:
            while not self._stopping.is_set():
                due = int((monotonic_s() - began_s) * self._rate) - count
                if due <= 0:
                    self._stopping.wait(0.02)
                    continue
                count += self._place(list(islice(self._orders, min(due, BATCH))))
        except BaseException as exc:  # the runner's thread raises it
            self.failure = exc
        finally:
            self._session.close()

    def stop(self) -> None:
        """Let no more come; the last one gets an answer."""
        self._stopped_s = monotonic_s()
        self._stopping.set()
        self.join(LAST_TRY_S + 30.0)
        if self.failure is not None:
            raise self.failure

    def _place(self, orders: list[Order]) -> int:
        while True:
            try:
                with self._session.transaction() as tx:
                    answers = place_orders(orders, tx)
                break
            except OrderMQError as exc:
                if not exc.retryable or self._is_late():
                    raise
                threading.Event().wait(0.1)
        outbox.wake_relay(self._session)
        self.accepted += [each.order_id for each in answers if isinstance(each, Placed)]
        return len(orders)

    def _is_late(self) -> bool:
        return self._stopping.is_set() and monotonic_s() - self._stopped_s > LAST_TRY_S

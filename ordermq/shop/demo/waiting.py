"""How long a customer waits: for every step in line, or only for the order to be placed.

Both ways use the same orders, handlers, tables and third parties, and are slowed down
alike: triggers delay the writing of an order and of its stock, the sandbox its answers.
In line, the shop does one step after the other while the customer waits; no customer
waits for points and shipment, so these go through the pipeline.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median

from ordermq.shop import Contact, Item, Order, ShopSettings, load_stock, place_order
from ordermq.shop.commands import CapturePayment, ReserveStock, SendNotification, Template
from ordermq.shop.demo.report import Waiting
from ordermq.shop.gateways.http_payment import HttpPaymentGateway
from ordermq.shop.gateways.http_text import HttpTextGateway
from ordermq.shop.handlers import CapturePaymentHandler, SendNotificationHandler, reserve_stock
from ordermq.shop.sandbox.private import PrivateSandbox
from ordermq.store import Session, StoreTransaction, outbox
from ordermq.task import DONE
from ordermq.testing.handling import Ran, run_handler
from ordermq.testing.stack.errors import StackError
from ordermq.testing.wait import wait_until

ORDERS = 10
ORDER_MS, STOCK_MS, PAYMENT_MS, SMS_MS = 80, 60, 400, 280
PRODUCT, CARD = "demo-waiting", "tok_gen_0001"  # the sandbox approves it

_SLOW = f"""
    CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_sleep(TG_ARGV[0]::float8 / 1000);
        RETURN NULL;
    END
    $$;
    CREATE TRIGGER slow BEFORE INSERT ON shop.orders FOR EACH STATEMENT EXECUTE FUNCTION slow({ORDER_MS});
    CREATE TRIGGER slow BEFORE UPDATE ON shop.stock FOR EACH STATEMENT EXECUTE FUNCTION slow({STOCK_MS})
"""
_AS_BEFORE = "DROP FUNCTION slow CASCADE"
# The pipeline must not do again what has been done in line.
_TAKE_BACK = "DELETE FROM ordermq.outbox WHERE correlation_id = %s AND routing_key = %s"
_BACKGROUND = """
    SELECT extract(epoch FROM percentile_cont(0.5) WITHIN GROUP (ORDER BY terminal_at - accepted_at))::float8,
           count(terminal_at)
      FROM shop.orders WHERE order_id = ANY(%s)
"""


def measure(session: Session, sandbox: PrivateSandbox) -> Waiting:
    """Let a few customers wait, one after the other, in both ways. The pipeline must be running.

    Raises StackError if an order does not come to its end.
    """
    with session.transaction() as tx:
        load_stock([(PRODUCT, 2 * ORDERS)], tx)
    with _slow(session, sandbox):
        shop = _InLine(session, sandbox)
        in_line = [shop.serve(_order("inline", number)) for number in range(ORDERS)]
        ids = [f"demo-placed-{number}" for number in range(ORDERS)]
        placed = [_timed(lambda n=number: _place(_order("placed", n), session)) for number in range(ORDERS)]  # type: ignore[misc] # of a lambda
        everyone = [*ids, *(f"demo-inline-{number}" for number in range(ORDERS))]
        try:
            wait_until(lambda: _ended(everyone, session)[1] == len(everyone), 60.0, what="orders ended")
        except TimeoutError as exc:
            raise StackError(f"not every order of a waiting customer came to its end: {exc}") from exc
    return Waiting(
        order=median(each[0] for each in in_line),
        stock=median(each[1] for each in in_line),
        payment_and_sms=median(each[2] for each in in_line),
        in_line=median(sum(each) for each in in_line),
        placed=median(placed),
        background=1000 * _ended(ids, session)[0],
    )


class _InLine:
    """A shop that does everything while its customer waits."""

    def __init__(self, session: Session, sandbox: PrivateSandbox) -> None:
        self._session = session
        settings = ShopSettings(payment_url=sandbox.payment_url, sms_url=sandbox.sms_url)
        self._capture = CapturePaymentHandler(HttpPaymentGateway.from_settings(settings), settles_s=60.0)
        self._notify = SendNotificationHandler(HttpTextGateway.from_settings(settings))

    def serve(self, order: Order) -> tuple[float, float, float]:
        """Do one order; return what it waited for: the order, the stock, payment and SMS."""
        return (
            _timed(lambda: self._write(order)),
            _timed(lambda: self._reserve(order.order_id)),
            _timed(lambda: self._pay_and_tell(order.order_id)),
        )

    def _write(self, order: Order) -> None:
        with self._session.transaction() as tx:
            place_order(order, tx)
            tx.execute(_TAKE_BACK, (order.order_id, "inventory"))

    def _reserve(self, order_id: str) -> None:
        def take_back(tx: StoreTransaction) -> None:
            tx.execute(_TAKE_BACK, (order_id, "payment"))

        message = ReserveStock(order_id=order_id)
        _check(run_handler(reserve_stock, message, session=self._session, commit=True, check=take_back))

    def _pay_and_tell(self, order_id: str) -> None:
        def take_back(tx: StoreTransaction) -> None:
            tx.execute(_TAKE_BACK, (order_id, "notify"))

        pay = CapturePayment(order_id=order_id)
        _check(run_handler(self._capture, pay, session=self._session, commit=True, check=take_back))
        tell = SendNotification(order_id=order_id, template=Template.ORDER_CONFIRMED)
        _check(run_handler(self._notify, tell, session=self._session, commit=True))


@contextmanager
def _slow(session: Session, sandbox: PrivateSandbox) -> Iterator[None]:
    with session.transaction() as tx:
        tx.execute(_SLOW)
    sandbox.behave("payment", latency_ms=PAYMENT_MS)
    sandbox.behave("sms", latency_ms=SMS_MS)
    try:
        yield
    finally:
        sandbox.behave("payment")
        sandbox.behave("sms")
        with session.transaction() as tx:
            tx.execute(_AS_BEFORE)


def _place(order: Order, session: Session) -> None:
    with session.transaction() as tx:
        place_order(order, tx)
    outbox.wake_relay(session)


def _order(name: str, number: int) -> Order:
    return Order(
        order_id=f"demo-{name}-{number}", customer_id="demo", currency="EUR",
        items=(Item(product_id=PRODUCT, quantity=1, unit_price_minor=1999),), total_minor=1999,
        card_token=CARD, contact=Contact(phone="+4930123456"),
    )  # fmt: skip


def _ended(order_ids: list[str], session: Session) -> tuple[float, int]:
    with session.transaction() as tx:
        row = tx.fetch_one(_BACKGROUND, (order_ids,))
    return (row[0] or 0.0, row[1]) if row else (0.0, 0)


def _timed(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - began)


def _check(ran: Ran) -> None:
    if ran.outcomes != [DONE]:
        raise StackError(f"a step in line was not done: {ran.outcomes}")

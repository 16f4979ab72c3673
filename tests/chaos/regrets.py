"""Customers who change their mind: they cancel, give another card, or want a part of their money back."""

import threading
from collections.abc import Callable

from ordermq.errors import BadInput, OrderConflict, OrderMQError
from ordermq.shop.cancel import cancel_order
from ordermq.shop.pay import pay_order
from ordermq.shop.refunding import refund_order
from ordermq.store import Session, StoreTransaction, outbox

EVERY_S = 0.25
GOOD_CARD = "tok_gen_0001"

_UNDER_WAY = """
    SELECT order_id FROM shop.orders
     WHERE status IN ('placed', 'reserved', 'paid') AND attention_reason IS NULL
     ORDER BY accepted_at DESC LIMIT 1
"""
_DUE = "SELECT order_id FROM shop.orders WHERE status = 'payment_due' ORDER BY accepted_at LIMIT 1"
_COMPLETED = """
    SELECT order_id FROM shop.orders AS o
     WHERE status = 'completed' AND pending = '{}' AND charge <> 'free' AND attention_reason IS NULL
       AND NOT EXISTS (SELECT FROM shop.refunds AS r WHERE r.order_id = o.order_id)
     ORDER BY accepted_at LIMIT 2
"""


def _cancel(order_id: str, tx: StoreTransaction) -> None:
    cancel_order(order_id, tx, "changed their mind")


def _pay(order_id: str, tx: StoreTransaction) -> None:
    pay_order(order_id, GOOD_CARD, tx)


def _give_back(order_id: str, tx: StoreTransaction) -> None:
    refund_order(order_id, tx, lines={1: 1}, restock=True, by="chaos", reason="not as expected")


class Regrets(threading.Thread):
    """Does a little of each four times a second, as long as the load goes on."""

    def __init__(self, session: Session) -> None:
        super().__init__(name="regrets", daemon=True)
        self.failure: BaseException | None = None
        self._session = session
        self._stopping = threading.Event()

    def run(self) -> None:
        try:
            while not self._stopping.wait(EVERY_S):
                for which, act in ((_UNDER_WAY, _cancel), (_DUE, _pay), (_COMPLETED, _give_back)):
                    self._act(which, act)
        except BaseException as exc:  # the runner's thread raises it
            self.failure = exc
        finally:
            self._session.close()

    def stop(self) -> None:
        """Do no more. Raises what went wrong."""
        self._stopping.set()
        if self.ident is not None:
            self.join(60.0)
        if self.failure is not None:
            raise self.failure

    def _act(self, which: str, act: Callable[[str, StoreTransaction], None]) -> None:
        try:
            with self._session.transaction() as tx:
                for (order_id,) in tx.fetch_all(which):
                    act(order_id, tx)
            outbox.wake_relay(self._session)
        except (OrderConflict, BadInput):
            return  # something happened to the order in between
        except OrderMQError as exc:
            if not exc.retryable:
                raise

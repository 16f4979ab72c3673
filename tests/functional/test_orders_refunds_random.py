"""Random refunds, returns, reports and cancellations: the books balance whatever comes in whatever order."""

from contextlib import suppress
from random import Random

import pytest

from ordermq.errors import BadInput, OrderConflict
from ordermq.shop import Adjustment, cancel_order, refund_order, return_goods
from ordermq.shop.by_hand import refunded_by_hand
from ordermq.shop.gateways import Refund
from ordermq.task import DONE
from tests.support.shop import an_order, open_shop

ORDERS, STEPS = 12, 8
QUEUES = ("payment", "points", "notify", "shipping")


def random_order(order_id, random):
    """An order of one to three lines with adjustments, by card or free."""
    items = [(f"p-{random.randint(1, 3)}", random.randint(1, 4)) for _ in range(random.randint(1, 3))]
    total = 500 * sum(units for _, units in items)
    discount = total if random.random() < 0.15 else random.randint(0, total // 2)
    adjustments = (Adjustment("discount", -discount), Adjustment("fee", 7 if total > discount else 0))
    return an_order(
        order_id,
        *items,
        adjustments=adjustments,
        total_minor=total + sum(each.amount_minor for each in adjustments),
    )


class Person:
    """Does to an order whatever comes to mind; what is refused changes nothing."""

    def __init__(self, shop, order, random):
        self.shop, self.order, self.random = shop, order, random

    def act(self):
        by_choice = (self.refund, self.give_all, self.give_amount, self.come_back, self.by_hand, self.cancel)
        act = self.random.choice((*by_choice, self.refund, self.come_back, self.at_the_dashboard, self.work))
        if act == self.work:
            self.work()
            return
        with suppress(BadInput, OrderConflict), self.shop.session.transaction() as tx:
            act(tx)

    def refund(self, tx):
        refund_order(
            self.order.order_id, tx, lines=self._lines(), restock=self.random.random() < 0.3,
            again=self.random.random() < 0.7, by="r", reason="r",
        )  # fmt: skip

    def give_all(self, tx):
        refund_order(self.order.order_id, tx, again=True, by="r", reason="r")

    def give_amount(self, tx):
        amount_minor = self.random.randint(1, self.order.total_minor + 1)
        refund_order(self.order.order_id, tx, amount_minor=amount_minor, by="r", reason="r")

    def come_back(self, tx):
        return_goods(
            self.order.order_id, tx, lines=self._lines(), refund=self.random.random() < 0.5,
            restock=self.random.random() < 0.5, again=self.random.random() < 0.7, by="r", reason="r",
        )  # fmt: skip

    def by_hand(self, tx, amount_minor=None, reference="re_1"):
        amount_minor = amount_minor or self.random.randint(1, self.order.total_minor + 1)
        amount = f"{amount_minor / 100:.2f}"
        refunded_by_hand(self.order.order_id, amount, tx, by="r", reference=reference, reason="r")

    def at_the_dashboard(self, tx):
        """Money goes back at the service, and a person says so at once."""
        amount_minor = self.random.randint(1, 600)
        capture = tx.fetch_one(
            "SELECT capture_id FROM shop.payments WHERE order_id = %s AND state = 'captured'",
            (self.order.order_id,),
        )
        if capture is not None:
            self.by_hand(tx, amount_minor, f"dash-{amount_minor}")
            key = f"dash:{self.order.order_id}:{amount_minor}"
            self.shop.payment.refund(Refund(key, capture[0], amount_minor, "EUR"))

    def cancel(self, tx):
        if self.random.random() < 0.3:
            cancel_order(self.order.order_id, tx, "r")

    def work(self):
        """Consumers do what there is to do in two queues; a refund may be given up before it was made."""
        for message in self.shop.take(*self.random.sample(QUEUES, k=2)):
            is_given_up = message.envelope.type == "RefundPayment" and self.random.random() < 0.2
            if is_given_up or self.shop.attempt(message) != DONE:  # such as one that came too early
                self.shop.die(message)

    def _lines(self):
        number = self.random.randint(1, len(self.order.items))
        return {number: self.random.randint(1, self.order.items[number - 1].quantity)}


@pytest.mark.parametrize("seed", [1, 2])
def test_no_sequence_gives_back_more_than_was_taken_and_all_books_balance(database, sandbox, seed):
    # RFD1
    random = Random(seed)
    with open_shop(database, sandbox) as shop:
        shop.load(p_1=1000, p_2=1000, p_3=1000)
        orders = [random_order(f"o-{number}", random) for number in range(ORDERS)]
        shop.place(*orders)
        shop.run("inventory")
        shop.run(*random.choice([("payment",), ("payment", "shipping", "points", "notify")]))
        people = [Person(shop, order, random) for order in orders]
        for _ in range(STEPS):
            random.choice(people).act() if random.random() < 0.2 else [each.act() for each in people]
        shop.run()
        totals = {order.order_id: order.total_minor for order in orders}
        check(shop, totals)


def check(shop, totals):
    """Compare the service's ledger with the orders, line by line."""
    taken, back = dict.fromkeys(totals, 0), dict.fromkeys(totals, 0)
    for entry in shop.sandbox.ledger("payment"):
        where = taken if entry["kind"] == "capture" else back
        where[entry["order_id"]] += entry["amount_minor"]
    for order_id, total_minor in totals.items():
        detail = shop.show(order_id)
        assert taken[order_id] in (0, total_minor)
        assert back[order_id] <= detail.order.refunded_minor <= taken[order_id]
        for item in detail.items:
            assert 0 <= item.refunded <= item.quantity
            assert 0 <= item.returned <= item.quantity
        if detail.points is not None and "adjust_points" not in detail.order.pending:
            kept_minor = total_minor - detail.order.refunded_minor
            is_kept = detail.order.status in ("paid", "completed")
            assert detail.points == (kept_minor // 100 if is_kept else 0)
    wrong = {check.name: check.offenders for check in shop.reconcile().checks if check.wrong}
    # Refunds that were given up wait for a person, and so does the order's money.
    assert wrong == {}, wrong

"""A night in which the payment service refused everything: the orders go on from their payment."""

from ordermq.testing import wait_until
from tests.support.pipeline import PROCESSES
from tests.support.shop import an_order

REWIND = (
    "ordermq",
    "order",
    "rewind",
    "--state",
    "cancelled",
    "--to",
    "capture",
    "--yes",
    "--reason",
    "back",
)


def captures(sandbox):
    return [each for each in sandbox.ledger("payment") if each["kind"] == "capture"]


def test_orders_whose_payment_was_given_up_are_started_again_as_was_forecast(pipeline, sandbox):
    pipeline.stock(p_1=6)
    others = [each for each in PROCESSES if each != "payment"]
    pipeline.begin(*others)
    pipeline.begin("payment", ORDERMQ_SHOP_PAYMENT_URL=f"{sandbox.payment_url}/moved")
    orders = [an_order(f"o-{number}") for number in range(6)]
    pipeline.place(orders)
    pipeline.wait_for_letters(6, "")
    at_rest = "SELECT count(*) FROM shop.orders WHERE status = 'cancelled' AND pending = '{}'"
    wait_until(lambda: pipeline.value(at_rest) == 6, 40.0, what="6 orders that are undone")
    pipeline.stop("payment")
    named = pipeline.run("ordermq", "order", "rewind", "o-9", "--to", "capture", "--reason", "back")
    assert (named.returncode, "order o-9: refused (no such order)" in named.stdout) == (65, True)
    forecast = pipeline.json(*REWIND, "--dry-run")
    assert (forecast["in"], forecast["rewound"], forecast["refused"]) == (6, 6, 0)
    assert forecast["forecast"]["captures"] == {"count": 6, "amounts": {"EUR": "30.00"}}
    assert pipeline.count("cancelled") == 6
    printed = pipeline.ok(*REWIND)
    assert "6 orders: 6 captures will be asked for (EUR 30.00), 0 texts; 6 rewound\n" in printed
    assert "in 6 = rewound 6 + unchanged 0 + refused 0" in printed
    assert pipeline.json(*REWIND)["in"] == 0
    pipeline.begin("payment")
    pipeline.end_well(6)
    assert pipeline.count("completed") == 6
    assert sum(each["amount_minor"] for each in captures(sandbox)) == 3000
    assert pipeline.value("SELECT count(*) FROM shop.refunds WHERE state = 'open'") == 0
    assert pipeline.value("SELECT count(*) FROM ordermq.actions WHERE action = 'order.rewind'") == 6

"""A product whose stock was never loaded is not sold out; and stock that is corrected by hand."""

import pytest

from ordermq.config import load
from ordermq.errors import BadInput
from ordermq.shop import cancel_order
from ordermq.shop.history import why_cancelled
from ordermq.shop.settings import SECTION, ShopSettings
from ordermq.shop.stock import correct_stock
from ordermq.task import DONE, Postpone
from ordermq.task.registry import Registry
from tests.support.shop import an_order, open_shop


@pytest.fixture
def shop(database):
    with open_shop(database) as shop:
        shop.load(p_1=5)
        yield shop


def reserve(shop):
    """Handle what waits for the inventory; return the outcomes."""
    messages = shop.take("inventory")
    return messages, [shop.handle(message)[0] for message in messages]


def test_an_order_of_a_product_that_was_never_loaded_asks_once_and_goes_on_once_it_is(shop):
    shop.place(an_order("o-1", ("p-1", 1), ("p-new", 2)))
    assert reserve(shop)[1] == [DONE]
    assert (shop.order().status, shop.order().pending) == ("placed", ["reserve"])
    assert "p-new" in shop.order().attention_reason
    [message], [outcome] = reserve(shop)
    assert message.envelope.message_id == "o-1:2:inventory"
    assert isinstance(outcome, Postpone)
    assert isinstance(shop.handle(message)[0], Postpone)
    assert shop.events() == ["order_placed", "stock_unknown"]
    assert shop.stock()["p-1"] == (5, 0, 0)
    shop.load(p_new=2)
    assert shop.handle(message) == [DONE]
    assert shop.order().status == "reserved"
    assert shop.stock() == {"p-1": (4, 1, 0), "p-new": (0, 2, 0)}


def test_of_a_batch_only_the_order_of_an_unknown_product_waits(shop):
    shop.place(an_order("o-1"), an_order("o-2", ("p-new", 1)), an_order("o-3", ("p-1", 9)))
    assert shop.handle(*shop.take("inventory")) == [DONE, DONE, DONE]
    assert [shop.order(each).status for each in ("o-1", "o-2", "o-3")] == ["reserved", "placed", "cancelled"]


def test_an_order_that_waits_for_its_product_can_be_cancelled(shop):
    shop.place(an_order("o-1", ("p-new", 1)))
    reserve(shop)
    with shop.session.transaction() as tx:
        cancel_order("o-1", tx, "changed my mind")
    assert reserve(shop)[1] == [DONE]
    assert (shop.order().status, "stock_rejected" in shop.events()) == ("cancelled", True)


def test_a_shop_may_have_orders_of_unknown_products_rejected(shop, tmp_path):
    (tmp_path / "ordermq.toml").write_text('[shop]\nunknown_product = "reject"\n')
    config = load(tmp_path / "ordermq.toml", extra_sections={SECTION: ShopSettings})
    shop.place(an_order("o-1", ("p-new", 1)))
    [message] = shop.take("inventory")
    bound = Registry([message.handler]).bound_to(config).find(message.queue, message.envelope)
    with shop.session.transaction() as tx:
        assert bound.call([message.payload], tx) == [DONE]
    assert shop.order().status == "cancelled"
    assert why_cancelled(shop.show().events) == "no stock was ever loaded of p-new"


def test_stock_is_corrected_for_losses_and_returns_but_never_below_what_is_promised(shop):
    shop.place(an_order("o-1", ("p-1", 3)))
    reserve(shop)
    with shop.session.transaction() as tx:
        assert correct_stock("p-1", -2, tx) == (3, 0)
        assert correct_stock("p-1", 1, tx) == (4, 1)
        with pytest.raises(BadInput, match="1 units are on hand"):
            correct_stock("p-1", -2, tx)
        with pytest.raises(BadInput, match="never loaded"):
            correct_stock("p-9", 1, tx)
    assert shop.stock() == {"p-1": (1, 3, 0)}

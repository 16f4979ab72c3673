"""The handler of ``gifts`` on a real database; every test gets one of its own."""

from ordermq import DONE, Retry, run_handler

from giftshop.gifts import WrapGift, wrap_gift


def test_a_wrapped_gift_is_written_down(database_settings):
    def is_written(tx):
        assert tx.fetch_all("SELECT order_id, ribbon FROM gifts") == [("A-1", "red")]

    ran = run_handler(wrap_gift, WrapGift(order_id="A-1"), session=database_settings, check=is_written)

    assert ran.outcomes == [DONE]


def test_a_gift_waits_for_a_ribbon_that_is_not_there(database_settings):
    ran = run_handler(wrap_gift, WrapGift(order_id="A-2", ribbon="gold"), session=database_settings)

    assert ran.outcomes == [Retry("there is no gold ribbon")]

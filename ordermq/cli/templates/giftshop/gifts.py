"""The queue ``gifts``: what one of its messages says, and what is done with it."""

from ordermq import DONE, Module, Outcome, Payload, Retry, RetryOptions, Transaction, handler

RIBBONS = ("red", "green")


class WrapGift(Payload):
    """Wrap the gift of one order. This is the body of the message, as JSON."""

    order_id: str
    ribbon: str = "red"


@handler(queue="gifts", message=WrapGift, key="order_id", retry=RetryOptions(attempts=3, cap_s=2.0))
def wrap_gift(message: WrapGift, tx: Transaction) -> Outcome:
    """Write down that the gift is wrapped. The row commits together with the record of the message."""
    if message.ribbon not in RIBBONS:
        return Retry(f"there is no {message.ribbon} ribbon")
    tx.write("INSERT INTO gifts (order_id, ribbon) VALUES (%s, %s)", (message.order_id, message.ribbon))
    return DONE


module = Module("giftshop", handlers=[wrap_gift], migrations="giftshop.migrations")

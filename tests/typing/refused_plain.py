"""What mypy --strict finds in plain handlers; each line says with which words."""

from collections.abc import Sequence

# E: has no attribute "handlr"
from ordermq import (
    DONE,
    DeliveryInfo,
    Outcome,
    Retry,
    Transaction,
    handler,
    handlr,  # noqa: F401 # misspelt on purpose
)
from tests.typing.gifts import ShipGift, WrapGift


# E: expected "Callable[[WrapGift, Transaction]
@handler(queue="gifts", message=WrapGift)
def wrong_payload(message: ShipGift, tx: Transaction) -> Outcome:
    return DONE


# E: expected "Callable[[WrapGift, Transaction]
@handler(queue="gifts", message=WrapGift)
def missing_transaction(message: WrapGift) -> Outcome:
    return DONE


# E: expected "Callable[[WrapGift]
@handler(queue="gifts", message=WrapGift, inbox=False)
def superfluous_transaction(message: WrapGift, tx: Transaction) -> Outcome:
    return DONE


# E: expected "Callable[[Sequence[WrapGift], Transaction]
@handler(queue="gifts", message=WrapGift, batch=50)
def one_message_of_a_batch(message: WrapGift, tx: Transaction) -> Sequence[Outcome]:
    return [DONE]


# E: expected "Callable[[WrapGift, Transaction]
@handler(queue="gifts", message=WrapGift)
def batch_without_batch(messages: Sequence[WrapGift], tx: Transaction) -> Outcome:
    return DONE


# E: incompatible type "Callable[[WrapGift, Transaction], str]"
@handler(queue="gifts", message=WrapGift)
def wrong_return(message: WrapGift, tx: Transaction) -> str:
    return "done"


# E: expected "Callable[[Sequence[WrapGift], Transaction], Sequence[Done
@handler(queue="gifts", message=WrapGift, batch=50)
def one_outcome_for_many(messages: Sequence[WrapGift], tx: Transaction) -> Outcome:
    return DONE


# E: incompatible type "Callable[[WrapGift, Transaction, DeliveryInfo]
@handler(queue="gifts", message=WrapGift)
def wrong_name_of_the_context(message: WrapGift, tx: Transaction, info: DeliveryInfo) -> Outcome:
    return DONE


# E: cannot be "str"
@handler(queue="gifts", message=str)
def no_payload(message: str, tx: Transaction) -> Outcome:
    return DONE


# E: makes function "wrong_key" untyped
@handler(queue="gifts", message=WrapGift, key=1)
def wrong_key(message: WrapGift, tx: Transaction) -> Outcome:
    return DONE


@handler(queue="gifts", message=WrapGift)
def fine(message: WrapGift, tx: Transaction) -> Outcome:
    # E: read-only
    message.ribbon = "blue"
    # E: has no attribute "ribon"
    return Retry(message.ribon)


def use(tx: Transaction) -> None:
    # E: expected "WrapGift"
    fine.command(ShipGift(order_id="A-1"))
    # E: Unexpected keyword argument "order"
    fine.command(WrapGift(order=1))
    # E: expected "Command | Iterable[Command]"
    tx.send("gifts")
    # E: has no attribute "commit"
    tx.commit()

"""Every shape that a plain handler may have."""

from collections.abc import Sequence

from ordermq import (
    DONE,
    Command,
    Dead,
    DeliveryInfo,
    Done,
    Outcome,
    Retry,
    RetryOptions,
    Transaction,
    handler,
)
from tests.typing.gifts import ShipGift, WrapGift


def give_up(message: WrapGift, reason: str, tx: Transaction) -> None:
    tx.write("INSERT INTO lost (order_id, reason) VALUES (%s, %s)", (message.order_id, reason))


@handler(queue="gifts", message=WrapGift, key="order_id", on_dead=give_up, retry=RetryOptions(attempts=3))
def single(message: WrapGift, tx: Transaction) -> Outcome:
    row = tx.fetch_one("SELECT ribbon FROM ribbons WHERE name = %s", (message.ribbon,))
    if row is None:
        return Retry("no such ribbon", 60.0) if message.ribbon else Dead("no ribbon")
    tx.send(ship.command(ShipGift(order_id=message.order_id)))
    tx.send([ship.command(ShipGift(order_id=message.order_id), delay_s=5.0, message_id="mine")])
    return DONE


@handler(queue="parcels", message=ShipGift)
def ship(message: ShipGift, tx: Transaction) -> None:
    tx.after_commit(lambda: print(message.order_id))


@handler(queue="gifts", message=WrapGift, batch=50)
def many(messages: Sequence[WrapGift], tx: Transaction) -> list[Outcome]:
    tx.write_values("INSERT INTO gifts VALUES %s", [(each.order_id,) for each in messages])
    return [DONE for _ in messages]


@handler(queue="gifts", message=WrapGift, inbox=False)
def bare(message: WrapGift) -> Done:
    return DONE


@handler(queue="gifts", message=WrapGift, inbox=False, batch=50)
def bare_many(messages: Sequence[WrapGift]) -> Sequence[Outcome]:
    return [DONE] * len(messages)


@handler(queue="gifts", message=WrapGift)
def asks(message: WrapGift, tx: Transaction, delivery: DeliveryInfo) -> Outcome:
    return Dead("replayed") if delivery.is_replayed and delivery.deadline.left_s < 1.0 else DONE


@handler(queue="gifts", message=WrapGift, batch=50)
def many_ask(
    messages: Sequence[WrapGift], tx: Transaction, deliveries: Sequence[DeliveryInfo]
) -> Sequence[Outcome]:
    return [DONE if each.attempt == 1 else Dead("again") for each in deliveries]


@handler(queue="gifts", message=WrapGift, inbox=False)
def bare_asks(message: WrapGift, delivery: DeliveryInfo) -> Outcome:
    return DONE


@handler(queue="gifts", message=WrapGift, inbox=False, batch=5)
def bare_many_ask(messages: Sequence[WrapGift], deliveries: Sequence[DeliveryInfo]) -> Sequence[Outcome]:
    return [DONE] * len(messages)


def use(tx: Transaction) -> Outcome | None:
    command: Command = many.command(WrapGift(order_id="A-1", ribbon="blue"))
    tx.send(command)
    return single(WrapGift(order_id="A-1"), tx)

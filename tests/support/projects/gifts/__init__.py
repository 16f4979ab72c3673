"""A project without orders: gifts are wrapped, and a card is written for each."""

from dataclasses import dataclass

from ordermq import DONE, Module, Outcome, Payload, Transaction, handler
from ordermq.config import setting
from ordermq.store.checks import checks_of


class WrapGift(Payload):
    """Wrap a gift."""

    gift_id: str


class WriteCard(Payload):
    """Write the card of a gift."""

    gift_id: str


@dataclass(frozen=True)
class GiftSettings:
    """The section ``[gifts]``."""

    greeting: str = setting("With love", "what stands on a card")


@handler(queue="cards", message=WriteCard, key="gift_id")
def write_card(message: WriteCard, tx: Transaction) -> Outcome:
    """Write the card of a wrapped gift."""
    tx.write("UPDATE gifts.gifts SET has_card = true WHERE gift_id = %s", (message.gift_id,))
    return DONE


@handler(queue="gifts", message=WrapGift, key="gift_id")
def wrap_gift(message: WrapGift, tx: Transaction) -> Outcome:
    """Wrap a gift and have its card written."""
    tx.write("INSERT INTO gifts.gifts (gift_id) VALUES (%s)", (message.gift_id,))
    tx.send([write_card.command(WriteCard(gift_id=message.gift_id))])
    return DONE


def check_cards(tx, config, ask_services):
    """Yield the check that each gift has its card."""
    query = "SELECT gift_id || ': no card' FROM gifts.gifts WHERE NOT has_card"
    note = f"SELECT '{config.section('gifts').greeting}'"
    return checks_of(tx, {"gifts_have_cards": query}, {"gifts_have_cards": note})


module = Module(
    "gifts",
    handlers=[wrap_gift, write_card],
    settings=GiftSettings,
    migrations="tests.support.projects.gifts.migrations",
    commands="tests.support.projects.gifts.commands",
    checks=[check_cards],
    correlation_name="gift_id",
)

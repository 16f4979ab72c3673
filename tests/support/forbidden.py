"""What the least privileges refuse: tried by test_least_privilege.py, listed in docs/security.md."""

from typing import NamedTuple

from ordermq.amqp import subscribe
from ordermq.message.envelope import Properties, Publishing


class Forbidden(NamedTuple):
    """What a role must not do, in words, and how it is tried: SQL, or a call on the broker."""

    role: str
    what: str
    how: str

    @property
    def row(self):
        """The row of docs/security.md."""
        return f"| {self.role} | {self.what} | `{self.how}` |"


_ANY_CONSUMER = (
    ("change the history of an order", "UPDATE shop.order_events SET body = ''"),
    ("delete the history of an order", "DELETE FROM shop.order_events"),
    ("empty the history", "TRUNCATE shop.order_events"),
    ("turn off the trigger that guards the history", "ALTER TABLE shop.order_events DISABLE TRIGGER ALL"),
    ("change what an order costs", "UPDATE shop.orders SET total_minor = 1"),
    ("delete an order", "DELETE FROM shop.orders"),
    ("forget what was handled", "DELETE FROM ordermq.inbox"),
    ("read what waits to be sent", "SELECT body FROM ordermq.outbox"),
    ("delete a dead letter", "DELETE FROM ordermq.dead_letters"),
)

DATABASE = {
    "consumer-payment": (
        *_ANY_CONSUMER,
        ("read phone numbers", "SELECT phone FROM shop.contacts"),
        ("change a card", "UPDATE shop.contacts SET card_token = 'tok_mine'"),
        ("change what a payment takes", "UPDATE shop.payments SET amount_minor = 1"),
        ("lift a limit on calls", "DELETE FROM ordermq.limits"),
        ("resume a paused queue", "UPDATE ordermq.pauses SET resumed_at = now()"),
        ("release a held order", "UPDATE ordermq.holds SET released_at = now()"),
        ("write that a person did something", "INSERT INTO ordermq.actions DEFAULT VALUES"),
        ("make a table", "CREATE TABLE shop.mine (a int)"),
        ("become the owner of the tables", "SET ROLE :deployer"),
        ("read files of the server", "SELECT pg_read_file('PG_VERSION')"),
        ("run programs on the server", "COPY (SELECT 1) TO PROGRAM 'true'"),
    ),
    "consumer-inventory": (
        ("read contacts", "SELECT * FROM shop.contacts"),
        ("write payments", "UPDATE shop.payments SET state = 'captured'"),
        ("invent stock", "UPDATE shop.stock SET loaded = loaded + 1"),
    ),
    "consumer-notify": (
        ("read cards", "SELECT card_token FROM shop.contacts"),
        ("read the names of customers", "SELECT name FROM shop.contacts"),
        ("write payments", "INSERT INTO shop.payments (order_id) VALUES ('A-1')"),
    ),
    "consumer-email": (("read cards", "SELECT card_token FROM shop.contacts"),),
    "consumer-points": (("read contacts", "SELECT * FROM shop.contacts"),),
    "consumer-shipping": (
        ("read contacts", "SELECT * FROM shop.contacts"),
        ("write refunds", "UPDATE shop.refunds SET amount_minor = 1"),
    ),
    "consumer-dead": (("read contacts", "SELECT * FROM shop.contacts"),),
    "shop": (
        ("read the contacts of customers", "SELECT * FROM shop.contacts"),
        ("change a card", "UPDATE shop.contacts SET card_token = 'tok_mine'"),
        ("read who ordered", "SELECT customer_id FROM shop.orders"),
        ("change an order", "UPDATE shop.orders SET status = 'paid'"),
        ("read payments", "SELECT * FROM shop.payments"),
        ("change the history of an order", "UPDATE shop.order_events SET body = ''"),
        ("read what waits to be sent", "SELECT body FROM ordermq.outbox"),
        ("read dead letters", "SELECT * FROM ordermq.dead_letters"),
    ),
    "shop-service": (
        ("read phone numbers", "SELECT phone FROM shop.contacts"),
        ("delete the history of an order", "DELETE FROM shop.order_events"),
        ("change what a payment takes", "UPDATE shop.payments SET amount_minor = 1"),
        ("change what people did", "UPDATE ordermq.actions SET actor = 'somebody else'"),
    ),
    "relay": (
        ("write a message of its own", "INSERT INTO ordermq.outbox DEFAULT VALUES"),
        ("change a message", "UPDATE ordermq.outbox SET body = ''"),
        ("read dead letters' bodies", "SELECT body FROM ordermq.dead_letters"),
        ("read contacts", "SELECT * FROM shop.contacts"),
        ("read the history of orders", "SELECT * FROM shop.order_events"),
        ("change an order", "UPDATE shop.orders SET status = 'paid'"),
    ),
    "events": (
        ("read contacts", "SELECT * FROM shop.contacts"),
        ("change the history of an order", "UPDATE shop.order_events SET body = ''"),
    ),
    "prune": (
        ("read dead letters' bodies", "SELECT body FROM ordermq.dead_letters"),
        ("read what waits to be sent", "SELECT body FROM ordermq.outbox"),
        ("read anything of the shop", "SELECT * FROM shop.orders"),
    ),
    "reconcile": (
        ("read contacts", "SELECT * FROM shop.contacts"),
        ("read dead letters' bodies", "SELECT body FROM ordermq.dead_letters"),
        ("mend what it finds", "UPDATE shop.orders SET status = 'paid'"),
    ),
    "monitor": (
        ("read contacts", "SELECT * FROM shop.contacts"),
        ("read dead letters' bodies", "SELECT body FROM ordermq.dead_letters"),
        ("pause a queue", "INSERT INTO ordermq.pauses DEFAULT VALUES"),
        ("read what people did", "SELECT * FROM ordermq.actions"),
    ),
    "operator-read": (
        ("read contacts", "SELECT * FROM shop.contacts"),
        ("read what waits to be sent", "SELECT body FROM ordermq.outbox"),
        ("read dead letters' bodies", "SELECT body FROM ordermq.dead_letters"),
        ("discard a dead letter", "UPDATE ordermq.dead_letters SET discarded_at = now()"),
        ("send a message", "INSERT INTO ordermq.outbox DEFAULT VALUES"),
        ("hold an order", "INSERT INTO ordermq.holds DEFAULT VALUES"),
    ),
    "operator-write": (
        ("change the history of an order", "UPDATE shop.order_events SET body = ''"),
        ("change what an order costs", "UPDATE shop.orders SET total_minor = 1"),
        ("change what people did", "UPDATE ordermq.actions SET actor = 'somebody else'"),
        ("delete what people did", "DELETE FROM ordermq.actions"),
        ("delete a dead letter", "DELETE FROM ordermq.dead_letters"),
        ("take back what waits to be sent", "DELETE FROM ordermq.outbox"),
        ("change a table", "ALTER TABLE shop.orders ADD COLUMN mine int"),
    ),
    "deployer": (
        ("change the history of an order", "UPDATE shop.order_events SET body = ''"),
        ("make a role", "CREATE ROLE mine"),
        ("make a database", "CREATE DATABASE mine"),
    ),
}  # fmt: skip

BROKER = {
    "consumer-payment": (
        ("publish a command", "publish orders shipping"),
        ("publish past the exchange", "publish '' orders.shipping"),
        ("publish as the broker's dead-lettering does", "publish orders.dead payment"),
        ("read another queue", "subscribe orders.shipping"),
        ("empty another queue", "queue_purge orders.shipping"),
        ("delete its own queue", "queue_delete orders.payment"),
        ("make a queue", "queue_declare mine"),
        ("bind its queue to more", "queue_bind orders.payment orders shipping"),
    ),
    "consumer-dead": (("read another queue", "subscribe orders.payment"),),
    "relay": (
        ("read a queue", "subscribe orders.payment"),
        ("empty a queue", "queue_purge orders.payment"),
        ("delete a queue", "queue_delete orders.payment"),
        ("make an exchange", "exchange_declare orders.mine"),
        ("divert a queue's messages", "queue_bind orders.shipping orders payment"),
        ("publish to another exchange", "publish amq.topic payment"),
    ),
    "monitor": (
        ("read a queue", "subscribe orders.payment"),
        ("empty a queue", "queue_purge orders.payment"),
        ("publish a command", "publish orders shipping"),
    ),
    "operator-read": (
        ("publish a command", "publish orders shipping"),
        ("empty a queue", "queue_purge orders.payment"),
    ),
    "operator-write": (
        ("read a queue", "subscribe orders.payment"),
        ("empty a queue", "queue_purge orders.payment"),
        ("delete a queue", "queue_delete orders.payment"),
        ("publish past the exchange", "publish '' orders.shipping"),
        ("publish as the broker's dead-lettering does", "publish orders.dead payment"),
    ),
    "deployer": (("make a queue of another prefix", "queue_declare mine"),),
    **{
        role: (("log in to the broker", "connect"),)
        for role in ("shop", "shop-service", "prune", "reconcile")
    },
}

ALL = [
    Forbidden(role, what, how)
    for table in (DATABASE, BROKER)
    for role, tries in table.items()
    for what, how in tries
]


def attempt(manager, how):
    """Try something on an open connection to the broker. Raises what the broker answers."""
    verb, *names = how.replace("''", "").split(" ")
    channel = manager.open_channel()
    match verb:
        case "subscribe":
            subscribe(manager, *names, prefetch=1, consumer_tag="forbidden", epoch=1).close(5.0)
        case "publish":
            exchange, routing_key = names
            channel.write(channel.encode(Publishing(exchange, routing_key, Properties(), b"{}")))
            channel.call("exchange_declare", 5.0, exchange="amq.direct", passive=True)
        case "queue_bind":
            queue, exchange, routing_key = names
            channel.call(verb, 5.0, queue=queue, exchange=exchange, routing_key=routing_key)
        case _:
            channel.call(verb, 5.0, **{verb.partition("_")[0]: names[0]})

"""The transaction of ordermq.store is one as handlers know it; so is one that joined a connection."""

from psycopg2.extensions import connection

import ordermq
from ordermq.store import Session, StoreTransaction
from tests.typing.gifts import WrapGift


def write(tx: ordermq.Transaction) -> int:
    return tx.execute("DELETE FROM gifts")


def owned(session: Session) -> int:
    with session.transaction() as tx:
        return write(tx)


def joined(own: connection) -> None:
    write(ordermq.join_transaction(own))
    own.commit()
    ordermq.wake_relay(own)


def as_protocol(tx: StoreTransaction) -> ordermq.Transaction:
    tx.send(ordermq.Command("elsewhere", "m-1", "A-1", WrapGift(order_id="A-1")))
    return tx

"""The only door to psycopg2: sessions, transactions, migrations and the framework's tables."""

from ordermq.store.outbox import wake_relay
from ordermq.store.session import Session
from ordermq.store.transaction import StoreTransaction, join_transaction

__all__ = ["Session", "StoreTransaction", "join_transaction", "wake_relay"]

"""The only door to psycopg2: sessions, transactions, migrations and the framework's tables."""

from ordermq.store.session import Session
from ordermq.store.transaction import Transaction

__all__ = ["Session", "Transaction"]

"""The shop's checks for ``ordermq reconcile``: orders, history, stock, payments, messages. See ``run``."""

from ordermq.shop.reconcile.run import check_books, check_messages, check_orders, message_books, payment_books

__all__ = ["check_books", "check_messages", "check_orders", "message_books", "payment_books"]

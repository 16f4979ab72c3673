"""Does everything of the shop agree: orders, history, stock, money, messages? See ``run``."""

from ordermq.shop.reconcile.run import check_books, check_messages, check_orders, message_books, payment_books

__all__ = ["check_books", "check_messages", "check_orders", "message_books", "payment_books"]

"""Does everything agree: orders, history, stock, money, messages? See ``run``."""

from ordermq.orders.reconcile.report import Check, Report
from ordermq.orders.reconcile.run import reconcile

__all__ = ["Check", "Report", "reconcile"]

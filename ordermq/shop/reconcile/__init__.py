"""Does everything agree: orders, history, stock, money, messages? See ``run``."""

from ordermq.shop.reconcile.report import Check, ReconcileReport
from ordermq.shop.reconcile.run import reconcile

__all__ = ["Check", "ReconcileReport", "reconcile"]

"""The shop: orders, stock, payments and texts to customers, built on the framework.

``module`` is what plugs it in; the names of ``__all__`` are imported when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ordermq.module import Module

if TYPE_CHECKING:
    from ordermq.shop.adjustment import Adjustment, AdjustmentKind
    from ordermq.shop.cancel import Cancelled, cancel_order
    from ordermq.shop.expected import expect_version
    from ordermq.shop.folded import FoldedOrder
    from ordermq.shop.instant import order_at, order_diff, order_history
    from ordermq.shop.model import Contact, Item, Notify, Order, PaidBefore
    from ordermq.shop.pay import CardReplaced, pay_order
    from ordermq.shop.place import Placed, place_order, place_orders
    from ordermq.shop.refunding import RefundRequested, refund_order, return_goods
    from ordermq.shop.saga import Status
    from ordermq.shop.settings import ShopSettings
    from ordermq.shop.stock import load_stock

__all__ = [
    "Adjustment",
    "AdjustmentKind",
    "Cancelled",
    "CardReplaced",
    "Contact",
    "FoldedOrder",
    "Item",
    "Notify",
    "Order",
    "PaidBefore",
    "Placed",
    "RefundRequested",
    "ShopSettings",
    "Status",
    "cancel_order",
    "expect_version",
    "load_stock",
    "module",
    "order_at",
    "order_diff",
    "order_history",
    "pay_order",
    "place_order",
    "place_orders",
    "refund_order",
    "return_goods",
]

module = Module(
    "shop",
    handlers=["ordermq.shop.handlers"],
    choose_handlers="ordermq.shop.handlers.points:choose",
    settings="ordermq.shop.settings:ShopSettings",
    migrations="ordermq.shop.migrations",
    grants="ordermq.shop.grants:GRANTS",
    gauges="ordermq.shop.gauges:read",
    status="ordermq.shop.status:lines",
    trace="ordermq.shop.trace:of_order",
    on_unreadable="ordermq.shop.unreadable:ask_for_person",
    commands="ordermq.shop.cli",
    forecast="ordermq.shop.forecast:forecast",
    checks=[
        "ordermq.shop.reconcile:check_orders",
        "ordermq.shop.reconcile:check_books",
        "ordermq.shop.reconcile:check_messages",
    ],
    records=["ordermq.shop.events:RECORDS"],
    sandbox="ordermq.shop.sandbox.private:PrivateSandbox",
    correlation_name="order_id",
)

_HOMES = {
    "Adjustment": "adjustment",
    "AdjustmentKind": "adjustment",
    "Cancelled": "cancel",
    "CardReplaced": "pay",
    "Contact": "model",
    "FoldedOrder": "folded",
    "Item": "model",
    "Notify": "model",
    "Order": "model",
    "PaidBefore": "model",
    "Placed": "place",
    "RefundRequested": "refunding",
    "ShopSettings": "settings",
    "Status": "saga",
    "cancel_order": "cancel",
    "expect_version": "expected",
    "load_stock": "stock",
    "order_at": "instant",
    "order_diff": "instant",
    "order_history": "instant",
    "pay_order": "pay",
    "place_order": "place",
    "place_orders": "place",
    "refund_order": "refunding",
    "return_goods": "refunding",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value

"""The order pipeline: a shop built on the framework."""

from ordermq.shop import gauges, unreadable
from ordermq.shop.cancel import Cancelled, cancel_order
from ordermq.shop.model import Contact, Item, Order
from ordermq.shop.place import Placed, place_order, place_orders
from ordermq.shop.saga import Status
from ordermq.shop.settings import SECTION, ShopSettings
from ordermq.shop.stock import load_stock

__all__ = [
    "GAUGES",
    "MIGRATIONS",
    "ON_UNREADABLE",
    "SETTINGS",
    "Cancelled",
    "Contact",
    "Item",
    "Order",
    "Placed",
    "ShopSettings",
    "Status",
    "cancel_order",
    "load_stock",
    "place_order",
    "place_orders",
]

MIGRATIONS = ("shop", "ordermq.shop.migrations")
"""Scope and package of the shop's tables, for ``store.migrate``."""

GAUGES = gauges.read
"""What the active relay is to show of the shop."""

ON_UNREADABLE = unreadable.ask_for_person
"""What follows from a dead letter that names an order and that no handler could read."""

SETTINGS = {SECTION: ShopSettings}
"""The shop's sections of the settings, by name."""

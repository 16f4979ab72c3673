"""The shop's gauges, which the active relay exports; see ``gauges`` of ``ordermq.module.Module``."""

from collections.abc import Mapping
from typing import Any

from prometheus_client import Gauge

from ordermq.observe import metrics
from ordermq.shop import queries
from ordermq.shop.settings import SECTION, ShopSettings
from ordermq.task import Transaction

stuck = metrics.gauge("orders_stuck", "Orders under way to which nothing happened for shop.stuck_after_s")
attention = metrics.gauge("orders_attention", "Orders that need a person")


def read(tx: Transaction, config: Any) -> Mapping[Gauge, float]:
    """Return what the gauges are now: two counts over partial indexes."""
    settings: ShopSettings = config.section(SECTION)
    return {
        stuck: queries.count_stuck(
            tx, older_than_s=settings.stuck_after_s, action_s=settings.payment_action_s
        ),
        attention: queries.count_attention(tx),
    }

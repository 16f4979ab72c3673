"""The shop's gauges, which the active relay exports; see ``gauges`` of ``ordermq.module.Module``.

Each query reads an index of the orders that are under way or need a person, and at most MOST_ORDERS.
"""

from collections.abc import Mapping
from typing import Any

from prometheus_client import Gauge

from ordermq.observe import metrics
from ordermq.shop import queries
from ordermq.shop.settings import SECTION, ShopSettings
from ordermq.store import server
from ordermq.task import Transaction

MOST_ORDERS = 20_000
MOST_CURRENCIES = 20
AGES_S = {"0s": 0, "5m": 300, "1h": 3600, "1d": 86_400}
HOT_TABLES = ("shop.orders", "shop.payments", "shop.reservations", "shop.stock")

stuck = metrics.gauge(
    "orders_stuck",
    "Orders under way to which nothing happened for `shop.stuck_after_s` (10 min); those that wait by design,"
    " for another card, for the customer to confirm a payment or because a person holds them back, are not"
    " counted while there is time",
    worry="above 0",
)
attention = metrics.gauge("orders_attention", "Orders that need a person", worry="above 0")
waiting_minor = metrics.gauge(
    "orders_waiting_minor",
    "What the orders come to, in minor units, that are `stuck`, need a person (`attention`), or have an open"
    f" dead letter (`dead`); of each at most {MOST_ORDERS:,}, of the dead letters the oldest",
    "why",
    "currency",
    worry="money that waits",
)
payments_unknown = metrics.gauge(
    "payments_unknown",
    "Payments under way or of unknown outcome that were asked for so long ago or longer",
    "older_than",
    worry="any older than `1h`",
)
payments_unknown_oldest = metrics.gauge(
    "payments_unknown_oldest_seconds", "Age of the oldest of them", worry="above an hour"
)

_UNKNOWN = """
    SELECT extract(epoch FROM now() - p.called_at)::float8
      FROM (SELECT order_id FROM shop.orders WHERE is_under_way ORDER BY accepted_at LIMIT %s) AS o
      JOIN shop.payments AS p USING (order_id)
     WHERE p.state IN ('intent', 'unknown')
"""

_WORTH_STUCK = f"""
    SELECT currency, sum(total_minor)::bigint
      FROM (SELECT currency, total_minor FROM shop.orders WHERE {queries.IS_STUCK} LIMIT %(limit)s) AS counted
     GROUP BY currency ORDER BY 2 DESC LIMIT %(currencies)s
"""  # noqa: S608 # a constant

_WORTH_ATTENTION = """
    SELECT currency, sum(total_minor)::bigint
      FROM (SELECT currency, total_minor FROM shop.orders
             WHERE attention_reason IS NOT NULL LIMIT %(limit)s) AS counted
     GROUP BY currency ORDER BY 2 DESC LIMIT %(currencies)s
"""

_WORTH_DEAD = """
    SELECT currency, sum(total_minor)::bigint
      FROM (SELECT DISTINCT correlation_id
              FROM (SELECT correlation_id FROM ordermq.dead_letters
                     WHERE replayed_at IS NULL AND discarded_at IS NULL
                     ORDER BY died_at LIMIT %(limit)s) AS letters) AS d
      JOIN shop.orders AS o ON o.order_id = d.correlation_id
     GROUP BY currency ORDER BY 2 DESC LIMIT %(currencies)s
"""


def read(tx: Transaction, config: Any) -> Mapping[Gauge, Any]:
    """Return what the gauges are now."""
    settings: ShopSettings = config.section(SECTION)
    ages_s = [row[0] for row in tx.fetch_all(_UNKNOWN, (MOST_ORDERS,))]
    dead = server.dead_rows(tx, HOT_TABLES)
    return {
        stuck: queries.count_stuck(
            tx, older_than_s=settings.stuck_after_s, action_s=settings.payment_action_s
        ),
        attention: queries.count_attention(tx),
        waiting_minor: _worth(tx, settings),
        payments_unknown: {
            (name,): sum(age_s >= least_s for age_s in ages_s) for name, least_s in AGES_S.items()
        },
        payments_unknown_oldest: max(ages_s, default=0.0),
        metrics.table_dead_rows: {(name,): count for name, count in dead.items()},
    }


def _worth(tx: Transaction, settings: ShopSettings) -> Mapping[tuple[str, str], float]:
    params = {
        "limit": MOST_ORDERS, "currencies": MOST_CURRENCIES,
        "older_than_s": settings.stuck_after_s, "action_s": settings.payment_action_s,
    }  # fmt: skip
    return {
        (why, currency): float(total)
        for why, sql in (("stuck", _WORTH_STUCK), ("attention", _WORTH_ATTENTION), ("dead", _WORTH_DEAD))
        for currency, total in tx.fetch_all(sql, params)
    }

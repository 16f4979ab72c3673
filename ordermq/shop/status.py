"""The shop's lines of ``ordermq status``: orders that stand still, that are held, and that need a person."""

from collections.abc import Iterator
from typing import Any

from ordermq.module import StatusLine
from ordermq.shop import queries
from ordermq.shop.money import written
from ordermq.shop.settings import SECTION, ShopSettings
from ordermq.task import Transaction

_MOST_HELD = 10  # named on the screen

_HELD = "SELECT correlation_id FROM ordermq.holds WHERE released_at IS NULL ORDER BY hold_id DESC LIMIT %s"

# An index finds them, and more are not sums the time.
_WAITING = """
    SELECT currency, count(*), sum(total_minor)::bigint
      FROM (SELECT currency, total_minor FROM shop.orders
             WHERE attention_reason IS NOT NULL LIMIT 100000) AS waiting
     GROUP BY currency ORDER BY currency
"""


def lines(tx: Transaction, config: Any) -> Iterator[StatusLine]:
    """Yield the lines; the money is what the orders that need a person are worth."""
    settings: ShopSettings = config.section(SECTION)
    stuck = queries.count_stuck(tx, older_than_s=settings.stuck_after_s, action_s=settings.payment_action_s)
    yield StatusLine(
        "stuck",
        f"{stuck} orders to which nothing happened for {settings.stuck_after_s:g} s" if stuck else "0 orders",
        not stuck,
        {"orders": stuck},
    )
    held = [row[0] for row in tx.fetch_all(_HELD, (_MOST_HELD + 1,))]
    names = ", ".join(held[:_MOST_HELD]) + ", ..." * (len(held) > _MOST_HELD)
    yield StatusLine("held", f"held back: {names}" if held else "0 orders", True, {"orders": held})
    found = tx.fetch_all(_WAITING)
    count = sum(row[1] for row in found)
    sums = [f"{currency} {written(total, currency)}" for currency, _, total in found]
    yield StatusLine(
        "attention",
        f"{count} orders need a person: {', '.join(sums)}" if count else "0 orders",
        not count,
        {"orders": count, "worth_minor": {currency: total for currency, _, total in found}},
    )

"""Which orders a bulk command is about: by id, by when they were accepted, by where they are."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ordermq.store import Session

PAGE = 10_000  # ids in memory at once

_CONDITIONS = {
    "order_ids": "order_id = ANY(%(order_ids)s)",
    "since": "accepted_at >= %(since)s",
    "until": "accepted_at < %(until)s",
    "status": "status = %(status)s",
    "older_than_s": "updated_at < now() - %(older_than_s)s * interval '1 second'",
}


@dataclass(frozen=True, slots=True)
class Selection:
    """Orders to which all that is given here applies; None and False choose every order.

    ``since`` and ``until`` are about when the order was accepted, ``older_than_s`` about its last event.
    """

    order_ids: tuple[str, ...] | None = None
    since: datetime | None = None
    until: datetime | None = None
    status: str | None = None
    is_under_way: bool = False
    needs_person: bool = False
    older_than_s: float | None = None

    def count(self, session: Session) -> int:
        """Return how many orders are chosen; of given ids, how many were given."""
        if self.order_ids is not None:
            return len(self.order_ids)
        condition, params = self._condition()
        sql = f"SELECT count(*) FROM shop.orders WHERE {condition}"  # noqa: S608 # constants; values are bound
        with session.transaction() as tx:
            row = tx.fetch_one(sql, params)
        return int(row[0]) if row else 0

    def ids(self, session: Session) -> Iterator[str]:
        """Yield the ids of the orders, a page in memory at once; given ids also if there is no such order."""
        if self.order_ids is not None:
            yield from self.order_ids
            return
        condition, params = self._condition()
        sql = f"""
            SELECT order_id FROM shop.orders WHERE {condition} AND order_id > %(after)s
             ORDER BY order_id LIMIT %(page)s
        """  # noqa: S608 # as above
        after = ""
        while True:
            with session.transaction() as tx:
                page = [row[0] for row in tx.fetch_all(sql, {**params, "after": after, "page": PAGE})]
            yield from page
            if len(page) < PAGE:
                return
            after = page[-1]

    def _condition(self) -> tuple[str, dict[str, Any]]:
        params = {name: getattr(self, name) for name in _CONDITIONS}
        given = [sql for name, sql in _CONDITIONS.items() if params[name] is not None]
        given += ["is_under_way"] * self.is_under_way
        given += ["attention_reason IS NOT NULL"] * self.needs_person
        return " AND ".join(given) or "true", params

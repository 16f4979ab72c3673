"""Which orders: by id, by when they were accepted, by their attributes, by where they are."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

from ordermq.shop.saga import CANCELLED, TERMINAL, Status
from ordermq.store import Session

PAGE = 10_000  # ids in memory at once

_CONDITIONS = {
    "since": "accepted_at >= %(since)s",
    "until": "accepted_at < %(until)s",
    "older_than_s": "updated_at < now() - %(older_than_s)s * interval '1 second'",
}

_HELD = """order_id IN (SELECT correlation_id FROM ordermq.holds WHERE released_at IS NULL
                AND (%(held_until)s::timestamptz IS NULL OR held_at <= %(held_until)s))"""


@dataclass(frozen=True, slots=True)
class Selection:
    """Orders to which all that is given here applies; what has its default chooses every order.

    ``since`` and ``until`` are about when the order was accepted, ``older_than_s``
    and ``unchanged_since`` about its last event, ``held_until`` about when it was held.
    """

    order_ids: tuple[str, ...] | None = None
    since: datetime | None = None
    until: datetime | None = None
    status: Status | None = None
    is_under_way: bool = False
    needs_person: bool = False
    is_held: bool = False
    held_until: datetime | None = None
    older_than_s: float | None = None
    unchanged_since: datetime | None = None
    attributes: tuple[tuple[str, str], ...] = ()

    @property
    def is_empty(self) -> bool:
        """True if every order is chosen."""
        return self == Selection()

    @property
    def is_of_few(self) -> bool:
        """True if an index has all orders to which a condition applies, and they are few."""
        return self.needs_person or self.is_held

    def and_also(self, more: "Selection") -> "Selection":
        """Return this selection with the conditions of ``more`` on top, which win where both have one."""
        given = {each.name: getattr(more, each.name) for each in fields(more)}
        given = {name: value for name, value in given.items() if value != getattr(EVERY, name)}
        return replace(self, **given | {"attributes": (*self.attributes, *more.attributes)})

    def count(self, session: Session) -> int:
        """Return how many orders are chosen; of given ids, how many were given."""
        if self.order_ids is not None:
            return len(self.order_ids)
        condition, params = self.condition()
        sql = f"SELECT count(*) FROM shop.orders WHERE {condition}"  # noqa: S608 # constants; values are bound
        with session.transaction() as tx:
            row = tx.fetch_one(sql, params)
        return int(row[0]) if row else 0

    def ids(self, session: Session) -> Iterator[str]:
        """Yield the ids of the orders, a page in memory at once; given ids also if there is no such order."""
        if self.order_ids is not None:
            yield from self.order_ids
            return
        condition, params = self.condition()
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

    def condition(self) -> tuple[str, dict[str, Any]]:
        """Return the condition in SQL on the columns of ``shop.orders``, and what it binds."""
        params = {name: getattr(self, name) for name in _CONDITIONS}
        given = [sql for name, sql in _CONDITIONS.items() if params[name] is not None]
        if self.status is not None:
            # Each kind of status has an index that finds its newest orders; completed ones are among all.
            params["status"] = str(self.status)
            given.append("status = %(status)s")
            given += ["is_under_way"] * (self.status not in TERMINAL)
            given += ["ended_as = %(status)s"] * (self.status in CANCELLED)
        if self.unchanged_since is not None:
            params["unchanged_since"] = self.unchanged_since
            given.append("updated_at <= %(unchanged_since)s")
        given += ["is_under_way"] * self.is_under_way
        given += ["attention_reason IS NOT NULL"] * self.needs_person
        given += [_HELD] * self.is_held
        params["held_until"] = self.held_until
        if self.is_of_few:
            given += ["attributes @> %(attributes)s::jsonb"] * bool(self.attributes)
            params["attributes"] = json.dumps(dict(self.attributes))
        else:
            having, wanted = self.having("order_id")
            given += [f"order_id IN ({each})" for each in having]
            params |= wanted
        return " AND ".join(given) or "true", params

    def having(self, columns: str) -> tuple[list[str], dict[str, Any]]:
        """Return the query of the orders that have each of the attributes, and what the queries bind."""
        queries: list[str] = []
        params: dict[str, Any] = {}
        for number, (name, value) in enumerate(dict(self.attributes).items()):
            params |= {f"name_{number}": name, f"value_{number}": value}
            queries.append(
                f"SELECT {columns} FROM shop.order_attributes"  # noqa: S608 # constants; values are bound
                f" WHERE name = %(name_{number})s AND value = %(value_{number})s"
            )
        return queries, params


EVERY = Selection()

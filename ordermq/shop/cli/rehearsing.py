"""What placing the orders of a file would answer, although none of them is placed.

Each batch of a dry run is rolled back. So the database does not know the orders of the batches before,
and they are remembered here: in a temporary database of SQLite, so memory stays bounded.

Invariants
    DRY1  A dry run gives every order the answer that a run would have given at that time.
"""

import sqlite3
from collections.abc import Callable, Sequence

from ordermq.shop.model import Order
from ordermq.shop.place import Answers, Known, Placed, answer_to
from ordermq.shop.saga import Status

_TABLE = "CREATE TABLE accepted (order_id TEXT PRIMARY KEY, content BLOB) WITHOUT ROWID"
_CACHE_KIB = 16 * 1024


class Rehearsal:
    """The orders that a dry run would have placed until now. Owned by one thread."""

    def __init__(self) -> None:
        self._accepted = sqlite3.connect("", isolation_level=None)  # a file without a name, gone at the end
        self._accepted.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self._accepted.execute("PRAGMA synchronous = OFF")
        self._accepted.execute(_TABLE)
        self._accepted.execute("BEGIN")

    def place(self, orders: Sequence[Order], ask: Callable[[Sequence[Order]], Answers]) -> Answers:
        """Answer for ``orders``. ``ask`` answers for those that the dry run has not seen; it may raise."""
        known = {order.order_id: self._content(order.order_id) for order in orders}
        unseen = [order for order in orders if known[order.order_id] is None]
        asked = iter(ask(unseen) if unseen else [])
        answers: Answers = []
        for order in orders:
            content = known[order.order_id]
            if content is None:
                answers.append(next(asked))
            else:
                answers.append(answer_to(order, Known(content), is_duplicate=True))
        self._remember(orders, answers)
        return answers

    def place_unasked(self, orders: Sequence[Order]) -> Answers:
        """Answer for ``orders`` as a database without any order would."""
        return [answer for order in orders for answer in self.place([order], _all_new)]

    def _content(self, order_id: str) -> bytes | None:
        row = self._accepted.execute(
            "SELECT content FROM accepted WHERE order_id = ?", (order_id,)
        ).fetchone()
        return row[0] if row else None

    def _remember(self, orders: Sequence[Order], answers: Answers) -> None:
        self._accepted.executemany(
            "INSERT INTO accepted VALUES (?, ?)",
            [
                (order.order_id, order.content_hash())
                for order, answer in zip(orders, answers, strict=True)
                if isinstance(answer, Placed) and not answer.is_duplicate
            ],
        )


def _all_new(orders: Sequence[Order]) -> Answers:
    return [Placed(order.order_id, Status.PLACED, is_duplicate=False) for order in orders]

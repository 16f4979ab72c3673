"""The shop's own handlers without ordermq's runtime: a batch of one queue in one transaction.

The rows of the shop are those of ordermq's pipeline, and the statements are the same. There is no
outbox, no inbox, no lease, no retry and no dead letter: what a handler sends is handed to the caller.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg2

from benchmarks.programs.shop import (
    InProcessCapture,
    InProcessNotification,
    award_points,
    create_shipment,
    reserve_stock,
)
from ordermq.message.payload import decode
from ordermq.store import StoreTransaction
from ordermq.store.outgoing import OutboxRow
from ordermq.task import DONE, Claim, Finished, Outcome
from ordermq.task.handler import handler_of

BATCH = 200
QUEUES = ("inventory", "payment", "notify", "points", "shipping")

_DEADLINE_S = 10.0


class DirectTransaction(StoreTransaction):
    """Keeps the messages that a handler sends, by queue."""

    def __init__(self, connection: Any) -> None:
        super().__init__(connection, begin=b"BEGIN")
        self.sent: dict[str, list[OutboxRow]] = defaultdict(list)

    def append(self, rows: Sequence[OutboxRow]) -> None:
        for row in rows:
            self.sent[row.routing_key].append(row)


class Database:
    """One connection, and transactions on it that cost the round trips of ordermq's."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.connection = psycopg2.connect(**job["postgres"])
        self.connection.autocommit = True

    @contextmanager
    def transaction(self) -> Iterator[DirectTransaction]:
        tx = DirectTransaction(self.connection)
        yield tx
        tx.commit()


class Handlers:
    """What handles a batch of a queue. Each queue has messages of one type here."""

    def __init__(self) -> None:
        self._outside = {
            handler_of(each).queue: (handler_of(each).message, each.from_config(None))
            for each in (InProcessCapture, InProcessNotification)
        }
        self._plain = {
            handler_of(each).queue: (handler_of(each).message, each)
            for each in (reserve_stock, award_points, create_shipment)
        }

    def handle(self, queue: str, rows: Sequence[OutboxRow], tx: DirectTransaction) -> None:
        """Handle the messages. Raises AssertionError unless all of them are done."""
        if queue in self._plain:
            message, function = self._plain[queue]
            outcomes = function([decode(row.body, message) for row in rows], tx)
        else:
            message, handler = self._outside[queue]
            claims = [Claim(decode(row.body, message), row.envelope, False, _DEADLINE_S) for row in rows]
            outcomes = _called(handler, claims, tx)
        assert all(outcome is DONE for outcome in outcomes), outcomes


def _called(handler: Any, claims: Sequence[Claim[Any]], tx: DirectTransaction) -> Sequence[Outcome]:
    """Prepare, call and complete: the services answer at once, so one transaction holds all three."""
    requests = handler.prepare(claims, tx)
    finished = [
        Finished(claim, handler.call(request))
        for claim, request in zip(claims, requests, strict=True)
        if not isinstance(request, Outcome)
    ]
    assert len(finished) == len(claims), requests
    outcomes: Sequence[Outcome] = handler.complete(finished, tx)
    return outcomes

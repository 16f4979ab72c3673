"""Settling: in which transaction a suspect's start is forgotten; and what it has no means to do."""

import ast
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest

from ordermq.consumer import settle
from ordermq.consumer.received import Readable
from ordermq.consumer.running import RunningHandlers
from ordermq.consumer.settle import Settler
from ordermq.message.envelope import Envelope
from ordermq.message.payload import Payload
from ordermq.task import DONE, Dead, Retry, handler
from ordermq.task.handler import handlers_in
from ordermq.task.retry import RetryPolicy


class Probe(Payload):
    order_id: str


@handler(queue="bare", message=Probe, key="order_id", batch=50, inbox=False)
def bare(messages):
    return [{"done": DONE, "retry": Retry("asked"), "dead": Dead("asked")}[each] for each in messages]


[BARE] = handlers_in({"bare": bare})


class Recorder:
    """A session whose transactions are lists of what was said in them, each statement's verb and table."""

    def __init__(self):
        self.transactions = []

    @contextmanager
    def transaction(self, *, traces=None):
        self.said, self.has_sent, self.traces = [], False, {}
        yield self
        self.transactions.append(self.said)

    def write(self, sql, params=None):
        self.said.append(" ".join(sql.split()[:3]))

    def write_values(self, sql, rows, *, template=None):
        self.said.append(" ".join(sql.split()[:3]))

    def append(self, rows):
        if rows:
            self.said.append("INSERT INTO ordermq.outbox")

    def fetch_all(self, sql, params):
        self.said.append(" ".join(sql.split()[:3]))
        return [(params["message_id"],)]


def suspect(answer):
    envelope = Envelope(answer, "Probe", 1, "o1", "", datetime.now(UTC))
    return Readable(envelope, b"{}", 1, (1,), True, BARE, answer)


@pytest.mark.parametrize(
    ("answer", "transactions"),
    [
        ("done", [["DELETE FROM ordermq.starts"]]),
        (
            "retry",
            [["INSERT INTO ordermq.inbox", "INSERT INTO ordermq.outbox", "DELETE FROM ordermq.starts"]],
        ),
        (
            "dead",
            [["INSERT INTO ordermq.inbox", "INSERT INTO ordermq.dead_letters", "DELETE FROM ordermq.starts"]],
        ),
    ],
)
def test_a_start_is_forgotten_by_the_transaction_that_settles_its_message(answer, transactions):
    session = Recorder()

    Settler(session, "bare", RetryPolicy(), Random(), RunningHandlers()).run([suspect(answer)])

    assert session.transactions == transactions


def test_settling_has_no_means_to_publish_or_to_ack():
    """SET1."""
    tree = ast.parse(Path(settle.__file__).read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not [name for name in imported if name.startswith("ordermq.amqp")]

"""What ``ordermq trace`` says of a message that nobody says anything good of, and of time."""

from dataclasses import replace

import pytest

from ordermq.cli.status.snapshot import QueueStatus, Snapshot
from ordermq.cli.trace.command import time_between
from ordermq.cli.trace.waiting import MessagePlace as At
from ordermq.cli.trace.waiting import PendingMessage, find_out
from ordermq.clock import utc_now
from ordermq.store.processes import ProcessRow
from ordermq.store.timeline import HandledRow, SentRow

QUEUE = QueueStatus("payment", 3, 1, 1, None, 0.0, None)
MESSAGE = PendingMessage("payment", "A-1:2:payment", "capture")


def looks(queue=QUEUE, *processes, **changes):
    return Snapshot(utc_now(), queues=[replace(queue, **changes)], processes=processes)


def process(role="consumer", reason="", seen_s=1.0):
    queue = "payment" if role == "consumer" else ""
    state = "active" if role == "relay" else "running"
    return ProcessRow("p", role, queue, "h", 1, "0", 2, state, reason, 0, 0.0, 9.0, seen_s, 9.0, None)


def row(*, is_due=True, last_error=None):
    return SentRow("payment", "A-1:2:payment", "T", 2, 1, utc_now(), is_due, last_error, 0, None)


def slot():
    return HandledRow("payment", "A-1:2:payment", None, None, None, None, None, 0, None, utc_now())


@pytest.mark.parametrize(
    ("message", "snapshot", "place", "words"),
    [
        (MESSAGE, looks(), At.QUEUE, "its turn in queue payment (3 ready, 1 being handled)"),
        (MESSAGE, looks(ready=0), At.UNACKED, "a consumer of queue payment (0 ready, 1 being handled)"),
        (MESSAGE, looks(ready=0, unacked=0), At.LOST, "if this stays so the message is lost"),
        (MESSAGE, looks(ready=None), At.UNKNOWN, "of which the broker says nothing now"),
        (MESSAGE, looks(consumers=0), At.QUEUE, "NO CONSUMER runs"),
        (MESSAGE, looks(queue=replace(QUEUE, queue="x")), At.UNKNOWN, "no handler and no setting names"),
        (MESSAGE, looks(QUEUE, process(reason="until their gateway answers")), At.QUEUE,
         "; its consumers say: until their gateway answers"),
        (MESSAGE, looks(QUEUE, process(reason="old news", seen_s=99)), At.QUEUE, "1 being handled)"),
        (replace(MESSAGE, sent=row()), looks(QUEUE, process("relay")), At.OUTBOX, "the relay"),
        (replace(MESSAGE, sent=row()), looks(QUEUE, process("relay", seen_s=99)), At.OUTBOX,
         "NONE IS ACTIVE"),
        (replace(MESSAGE, sent=row(is_due=False)), looks(), At.OUTBOX, "its time, "),
        (replace(MESSAGE, sent=row(is_due=False), handled=slot()), looks(), At.OUTBOX,
         "because its key is over its share of a limit"),
    ],
)  # fmt: skip
def test_a_message_waits_for_what_comes_next_where_it_is(message, snapshot, place, words):
    found = find_out(message, snapshot)
    assert found.place is place
    assert words in found.waits_for


@pytest.mark.parametrize(
    ("after_s", "text"),
    [(0, "0.000s"), (59.9, "59.900s"), (187, "3m07s"), (5400, "1h30m"), (180_000, "2d02h")],
)
def test_times_can_be_compared_at_a_glance(after_s, text):
    assert time_between(after_s) == text

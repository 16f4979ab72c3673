"""What a process says of the messages it has in hand, and the limits it takes over while it runs."""

import logging
import re
from dataclasses import replace

from ordermq.cli.processes import in_flight
from ordermq.clock import monotonic_s, utc_now
from ordermq.config.settings import Settings
from ordermq.consumer.received import Readable
from ordermq.consumer.running import RunningHandlers
from ordermq.consumer.runtime import Consumer
from ordermq.lifecycle import MessageInHand
from ordermq.message.envelope import Envelope
from ordermq.observe import metrics
from ordermq.observe.counts import counts
from ordermq.observe.health import Health
from ordermq.task.handler import handlers_in
from ordermq.task.registry import Registry
from tests.support import probe


def test_the_table_names_each_message_with_its_handler_and_since_when_the_oldest_first(caplog):
    caplog.set_level(logging.ERROR)
    now_s = monotonic_s()
    rows = [
        MessageInHand("payment", f"m{n}", "Capture", "take", now_s - n)
        for n in range(in_flight.MOST_ROWS + 2)
    ]

    in_flight.answer(rows)

    head, columns, first, *_, last = caplog.records[-1].getMessage().splitlines()
    assert head == f"messages in flight: {len(rows)}"
    assert columns.split() == ["queue", "message_id", "type", "handler", "since"]
    assert re.fullmatch(r"payment +m201 +Capture +take +\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", first)
    assert last == "and 2 more"
    assert sum(each.getMessage().startswith("stack of thread") for each in caplog.records) > 0


def test_a_message_is_in_flight_while_its_handler_runs_and_shows_no_payload():
    running, handler = RunningHandlers(), handlers_in(vars(probe))[0]
    envelope = Envelope("m1", handler.type, 1, "o1", "", utc_now())
    with running.noted("single", [Readable(envelope, b"{}", 1, (1,), False, handler, None)]):
        (row,) = running.in_flight()
    assert row[:4] == ("single", "m1", handler.type, handler.call.__qualname__)
    assert running.in_flight() == []


def test_a_consumer_takes_over_its_limits_and_counts_what_it_did():
    metrics.settled.clear()
    consumer = Consumer(
        "single", Registry(handlers_in(vars(probe))), Settings(), config=None, owner="o", health=Health()
    )
    consumer._manager.close()
    new = replace(Settings().consumer, handler_deadline_s=7.0, drain_deadline_s=3.0)
    quiet = replace(Settings().observe, handled_lines_per_s=0.0)

    consumer.reload(replace(Settings(), consumer=new, observe=quiet))

    assert (consumer._running.deadline_s, consumer._drain_deadline_s) == (7.0, 3.0)
    assert consumer._lines.take(5) == (0, 0)
    metrics.settled.labels("single", "retry").inc(2)
    assert counts() == "handled 0, in flight 0, retries 2, postponed 0, duplicates 0, dead 0"

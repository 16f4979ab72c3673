"""Handlers whose payload says what they do, for tests of the runtime.

Effects are rows of the table ``effects``: one a handled message, so that a message
handled twice or not at all is seen by counting.
"""

import os
import signal
import time

from ordermq.message.payload import Payload
from ordermq.module import Module
from ordermq.task import DONE, Dead, ExternalHandler, Postpone, Retry, external, handler

SCHEMA = """
    CREATE TABLE effects (order_id text, queue text, at timestamptz DEFAULT clock_timestamp());
    CREATE TABLE deaths (order_id text NOT NULL, reason text NOT NULL);
    CREATE TABLE calls (order_id text NOT NULL, resumed boolean NOT NULL)
"""


class Probe(Payload):
    """``do``: ok, raise, data, retry, postpone, dead, sleep; endless: exit, sigkill, segfault, spin."""

    order_id: str
    do: str = "ok"
    seconds: float = 0.0


def _write_death(message, reason, tx):
    tx.execute("INSERT INTO deaths VALUES (%s, %s)", (message.order_id, reason))


def _decide(message):
    if message.do == "raise":
        raise RuntimeError("asked to raise")
    if message.do == "sleep":
        time.sleep(message.seconds)
    end(message)
    return {
        "retry": Retry("asked to retry", 0.05),
        "postpone": Postpone("asked to wait", 0.05),
        "dead": Dead("asked to die"),
    }.get(message.do, DONE)


def end(message):
    """End the process, or never return, if the message says so."""
    match message.do:
        case "exit":
            os._exit(3)
        case "sigkill" | "segfault" as way:
            os.kill(os.getpid(), signal.SIGKILL if way == "sigkill" else signal.SIGSEGV)
            time.sleep(60.0)  # another thread may be the one that takes the signal
        case "spin":
            while True:
                pass


@handler(queue="batch", message=Probe, key="order_id", batch=50, on_dead=_write_death)
def handle_batch(messages, tx):
    for message in messages:
        if message.do == "data":
            tx.execute("SELECT 1 / 0")
    outcomes = [_decide(message) for message in messages]
    tx.execute_values(
        "INSERT INTO effects (order_id, queue) VALUES %s", [(each.order_id, "batch") for each in messages]
    )
    return outcomes


@handler(queue="single", message=Probe, key="order_id", on_dead=_write_death)
def handle_single(message, tx):
    tx.execute("INSERT INTO effects (order_id, queue) VALUES (%s, 'single')", (message.order_id,))
    return _decide(message)


BARE: list[str] = []  # order ids, in the order in which handle_bare saw them


@handler(queue="bare", message=Probe, key="order_id", batch=50, on_dead=_write_death, inbox=False)
def handle_bare(messages):
    BARE.extend(each.order_id for each in messages)
    return [_decide(message) for message in messages]


@external(queue="call", message=Probe, key="order_id", on_dead=_write_death)
class CallOut(ExternalHandler):
    """Its call sleeps ``seconds``; what it decides is decided in ``complete``."""

    def prepare(self, claims, tx):
        rows = [(each.message.order_id, each.resumed) for each in claims]
        tx.execute_values("INSERT INTO calls VALUES %s", rows)
        return [each.message for each in claims]

    def call(self, message):
        time.sleep(message.seconds)
        if message.do == "raise":
            raise RuntimeError("asked to raise")
        end(message)
        return "called"

    def complete(self, finished, tx):
        done = [each.claim.message for each in finished if not isinstance(each.result, Exception)]
        rows = [(message.order_id, "call") for message in done]
        tx.execute_values("INSERT INTO effects (order_id, queue) VALUES %s", rows)
        return [
            Retry(str(each.result), 0.05)
            if isinstance(each.result, Exception)
            else _decide(each.claim.message)
            for each in finished
        ]


module = Module("probe", handlers=[__name__])

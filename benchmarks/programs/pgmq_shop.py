"""The shop's pipeline on PGMQ: read, effects, the next messages and the deletion commit together."""

import sys
import time
from typing import Any

import msgspec

from benchmarks.programs.direct import BATCH, Database, DirectTransaction, Handlers
from benchmarks.programs.job import worker_job
from ordermq.message.envelope import Envelope
from ordermq.store.arrays import array_of
from ordermq.store.outgoing import OutboxRow

VISIBILITY_S = 30
IDLE_S = 0.005  # between two reads of an empty queue

_READ = "SELECT msg_id, message::text FROM pgmq.read(%s, %s, %s)"
_SEND = "SELECT pgmq.send_batch(%s, %s::text[]::jsonb[])"
_DELETE = "SELECT pgmq.delete(%s, %s::bigint[])"


class Message(msgspec.Struct):
    """What travels: the envelope, and the payload's JSON as it is."""

    envelope: Envelope
    body: msgspec.Raw


_decoder = msgspec.json.Decoder(Message)


def send(tx: DirectTransaction) -> None:
    """Send what was kept."""
    for queue, rows in tx.sent.items():
        messages = [
            msgspec.json.encode(Message(row.envelope, msgspec.Raw(row.body))).decode() for row in rows
        ]
        tx.write(_SEND, (queue, array_of(messages)))


def main() -> None:
    """Work one queue until the process is ended."""
    queue = sys.argv[1]
    database, handlers = Database(worker_job()), Handlers()
    while True:
        with database.transaction() as tx:
            read = tx.fetch_all(_READ, (queue, VISIBILITY_S, BATCH))
            if read:
                handlers.handle(queue, [_row(queue, text) for _, text in read], tx)
                send(tx)
                tx.write(_DELETE, (queue, array_of([msg_id for msg_id, _ in read])))
        if not read:
            time.sleep(IDLE_S)


def _row(queue: str, text: Any) -> OutboxRow:
    message = _decoder.decode(text)
    return OutboxRow(queue, message.envelope, bytes(message.body))


if __name__ == "__main__":
    main()

"""A message not yet sent: what a handler writes to the outbox. Pure."""

import hashlib
from dataclasses import dataclass

from ordermq.message.payload import Payload, encode


@dataclass(frozen=True, slots=True)
class Command:
    """Ask the consumer of ``queue`` to do what ``payload`` says.

    ``wrap_gift.command(WrapGift(order_id="A-1"))`` makes one for a handler of yours; write
    ``Command(...)`` yourself for a queue that another system works.

    A message is handled once for each ``message_id``, so the same command that is written again must
    have the same one. "" has it derived where the command is sent, from the cause (the message
    being handled that has the same correlation id), the queue, the type and the payload: the same
    command of the same cause is the same message, whenever it is written again. Equal commands of
    one transaction are counted, and each is sent. Where there is no such cause, as in a transaction
    of your own, each command is a new message. Give an id, as in ``f"{order_id}:{version}:wrap"``,
    if your own code may commit the same command twice.

    ``correlation_id`` is the id of what the message is about; messages of one id are sent in the
    order they were written. ``delay_s`` holds the message back that many seconds. ``traceparent`` ""
    continues the trace of the message being handled that has the same correlation id.
    """

    queue: str
    message_id: str
    correlation_id: str
    payload: Payload
    delay_s: float = 0.0
    traceparent: str = ""


def derived_command_id(command: Command, cause: str) -> str:
    """Return the message_id of ``command`` as it follows from ``cause``, any text that names that."""
    type_ = type(command.payload).__name__
    digest = hashlib.sha256(f"{cause}\n{command.queue}\n{type_}\n".encode() + encode(command.payload))
    return f"{type_}:{digest.hexdigest()[:32]}"

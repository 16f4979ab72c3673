"""A message not yet sent: what a handler writes to the outbox."""

from dataclasses import dataclass

from ordermq.message.payload import Payload


@dataclass(frozen=True, slots=True)
class Command:
    """Ask the consumer of ``queue`` to do what ``payload`` says.

    ``message_id`` must be the same each time the same command is written again:
    derive it from what caused it, as in ``f"{order_id}:{event_version}:{queue}"``.
    ``delay_s`` holds it back that long. ``traceparent`` "" continues the trace of
    the message being handled that has the same correlation_id.
    """

    queue: str
    message_id: str
    correlation_id: str
    payload: Payload
    delay_s: float = 0.0
    traceparent: str = ""

"""An order needs a person: one critical log line, one count, one message to whoever is on duty.

An alert is about an order and changes nothing of it: its message has no step and no
event, and if it dies it is a dead letter and nothing more. So an alert never alerts.
"""

import logging
from dataclasses import dataclass

from ordermq.message import Command
from ordermq.observe import metrics
from ordermq.shop.commands import NOTIFY, AlertOperator
from ordermq.shop.events import Event

log = logging.getLogger(__name__)

raised = metrics.counter("attention_total", "Times an order came to need a person, by the step", "step")


@dataclass(frozen=True, slots=True)
class Alert:
    """An event of an order that a human has to look at, and why."""

    order_id: str
    version: int
    event: Event
    reason: str
    traceparent: str

    def command(self) -> Command:
        """Return the message that tells the operator: ids only, never the reason."""
        return Command(
            queue=NOTIFY,
            message_id=f"{self.order_id}:{self.version}:alert",
            correlation_id=self.order_id,
            payload=AlertOperator(
                order_id=self.order_id, version=self.version, event=self.event.type, step=self.event.step
            ),
            traceparent=self.traceparent,
        )

    def announce(self) -> None:
        """Log and count it; after the commit that made it true."""
        step = self.event.step or "none"
        raised.labels(step=step).inc()
        log.critical(
            "order %s needs a person: %s (step %s): %s", self.order_id, self.event.type, step, self.reason
        )

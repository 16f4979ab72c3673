"""An order that needs a person: one critical log line, one count, one text to the operator.

An alert does not change its order. Its message belongs to no step and records no event,
so an alert that becomes a dead letter raises no further alert.
"""

import logging
from dataclasses import dataclass

from ordermq.message import Command
from ordermq.observe import metrics
from ordermq.shop.commands import NOTIFY, AlertOperator
from ordermq.shop.events import Event
from ordermq.shop.log_events import ORDER_NEEDS_PERSON

log = logging.getLogger(__name__)

raised = metrics.counter(
    "attention_total",
    "Times an order came to need a person, by step, in the process that found out",
    "step",
    worry="any",
)


@dataclass(frozen=True, slots=True)
class Alert:
    """An event that a person has to look at, and the reason."""

    order_id: str
    version: int
    event: Event
    reason: str
    traceparent: str

    def command(self) -> Command:
        """Return the message for the operator. It carries ids only, never the reason."""
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
        """Log and count the alert. To be called after the commit of its event."""
        step = self.event.step or "none"
        raised.labels(step=step).inc()
        log.critical(
            "order %s needs a person: %s (step %s): %s",
            self.order_id,
            self.event.type,
            step,
            self.reason,
            extra=ORDER_NEEDS_PERSON,
        )

"""The thread of a relay that publishes events, where ``topology.events`` is true."""

from collections.abc import Iterator
from contextlib import contextmanager

from ordermq.cli.program import Program
from ordermq.events.publishing import EventPublishing
from ordermq.topology.names import EVENTS, queue_name


@contextmanager
def publishing_events(program: Program) -> Iterator[EventPublishing | None]:
    """Publish events in a thread of its own while the relay is active; None if the settings want none."""
    settings = program.settings
    if not settings.topology.events:
        yield None
        return
    # A batch holds a transaction open while it is published. It must end before the server ends it.
    timeout_s = min(settings.broker.confirm_timeout_s, settings.database.idle_in_transaction_s / 2)
    events = EventPublishing(
        settings.broker,
        program.session("ordermq-relay events"),
        program.outward,
        exchange=queue_name(settings.topology.prefix, EVENTS),
        timeout_s=timeout_s,
    )
    events.start()
    try:
        yield events
    finally:
        events.stop()
        events.join(timeout_s)

"""Reading events by the settings: for programs of others, and for the commands."""

from ordermq.cli.program import load_program
from ordermq.events.reader import EventReader
from ordermq.events.stream import Place
from ordermq.topology.names import event_log


def read_events(
    start: Place = "first",
    *,
    after: int | None = None,
    config_path: str | None = None,
    prefetch: int = 500,
    name: str = "ordermq events",
) -> EventReader:
    """Return the events of the stream from ``start`` on; the settings say where the broker is.

    ``start`` is an offset, an instant, ``first``, ``last`` (the newest few) or ``next`` (from now on).
    ``after`` is the position of the event that was handled last: events up to it are left out, and
    EventsMissed is raised if one after it is not in the stream any more. To go on after a restart, store
    the event's ``position`` and its offset in the transaction that stores what follows from it, and give
    ``start=offset, after=position``. ``name`` is the connection's name on the broker.
    """
    settings = load_program(config_path).settings
    stream = event_log(settings.topology.prefix)
    return EventReader(settings.broker, stream, start=start, after=after, prefetch=prefetch, name=name)

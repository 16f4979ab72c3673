"""The types of stored events, each with a version: an event of an older one is lifted as it is read. Pure.

    EVENTS = EventTypes()
    EVENTS.add("gift_wrapped", lifts=[with_ribbon])  # version 2; with_ribbon() makes it of version 1

A stored event is a JSON object with its ``type``, and with its version in ``v`` unless that is 1. A change of
what a type holds is a new version: append one function to its ``lifts``, and write what the function returns.

Invariants
    EVT1  A stored event never changes. Its reader gets what the newest version would have written.
    EVT2  An event that cannot be read is an error about this event, which names type, version and event. No
        reader guesses, and other events are read.
"""

import json
from collections.abc import Callable, Iterable
from typing import Any

from ordermq.errors import EventUnreadable, UsageError

FIRST = 1
VERSION_KEY = "v"

Document = dict[str, Any]

Lift = Callable[[Document], Document]
"""Returns an event of one version as the next version has it. Pure; the argument is its own."""


class EventTypes:
    """The types that this code knows. Filled while modules are imported, and only read afterwards."""

    def __init__(self) -> None:
        self._lifts: dict[str, tuple[Lift, ...]] = {}

    def add(self, *types: str, lifts: Iterable[Lift] = ()) -> None:
        """Add types that have the same lifts, one from each older version to the next. Raises UsageError."""
        for each in types:
            if each in self._lifts:
                raise UsageError(f"the event type {each!r} is registered twice")
            self._lifts[each] = tuple(lifts)

    def version(self, event_type: str) -> int:
        """Return the version in which a type is written now. Raises EventUnreadable if it is unknown."""
        return FIRST + len(self._known(event_type, "an event"))

    def check(self, event_type: str, what: str) -> None:
        """Raise EventUnreadable if a type is unknown. ``what`` names the event: "event 3 of order A-1001"."""
        self._known(event_type, what)

    def read(self, body: bytes | str, what: str) -> Document:
        """Return a stored event as its newest version has it. Raises EventUnreadable."""
        try:
            document: Document = json.loads(body)
        except ValueError as exc:
            raise EventUnreadable(f"{what} is no JSON object with a type") from exc
        return self.lifted(document, what)

    def lifted(self, document: Document, what: str) -> Document:
        """Return a decoded event as its newest version has it. Raises EventUnreadable."""
        try:
            event_type, version = document["type"], document.get(VERSION_KEY, FIRST)
        except (KeyError, TypeError, AttributeError) as exc:
            raise EventUnreadable(f"{what} is no JSON object with a type") from exc
        lifts = self._known(event_type, what)
        if not isinstance(version, int) or not FIRST <= version <= FIRST + len(lifts):
            raise EventUnreadable(
                f"{what} is a {event_type} of version {version!r}, and this code reads {FIRST} to"
                f" {FIRST + len(lifts)}: a newer ordermq wrote it; update this one"
            )
        for lift in lifts[version - FIRST :]:
            document = lift(document)
        newest = FIRST + len(lifts)
        return document if version == newest else {**document, VERSION_KEY: newest}

    def _known(self, event_type: object, what: str) -> tuple[Lift, ...]:
        lifts = self._lifts.get(event_type) if isinstance(event_type, str) else None
        if lifts is None:
            raise EventUnreadable(
                f"{what} has the type {event_type!r}, which this code does not know: a newer ordermq wrote"
                " it; update this one"
            )
        return lifts

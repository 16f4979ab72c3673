"""What a handler answers about one message. Values, not exceptions."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Done:
    """The work is done: commit what was written, then acknowledge the message. Use ``DONE``."""


@dataclass(frozen=True, slots=True)
class Retry:
    """It failed and may succeed later: try again after ``delay_s`` seconds. Counts as an attempt.

    What a plain handler wrote is rolled back. ``reason`` stands in logs and is what an operator
    reads. Without ``delay_s`` the wait grows with the attempts, by the settings ``[retry]`` or the
    handler's own RetryOptions. When the attempts or the age are used up the message becomes a
    dead letter.
    """

    reason: str
    delay_s: float | None = None


@dataclass(frozen=True, slots=True)
class Postpone:
    """It came too early, or a service is down: look again after ``delay_s`` seconds. Counts no attempt.

    What a plain handler wrote is rolled back. Without ``delay_s`` the wait grows each time. Only
    the age, ``retry.max_age_s``, ends it.
    """

    reason: str
    delay_s: float | None = None


@dataclass(frozen=True, slots=True)
class Dead:
    """It will never succeed: keep the message as a dead letter, with ``reason`` for an operator to read.

    What a plain handler wrote is rolled back. ``on_dead`` of the handler writes what follows.
    """

    reason: str


Outcome = Done | Retry | Postpone | Dead
"""What a handler answers about one message."""

DONE = Done()
"""The one Done that is needed: ``return DONE``."""

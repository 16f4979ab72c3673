"""What a handler decided about one message. Values, not exceptions."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Done:
    """The work is written; commit it and acknowledge."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again after ``delay_s`` seconds; None lets the retry policy choose. Counts an attempt."""

    reason: str
    delay_s: float | None = None


@dataclass(frozen=True, slots=True)
class Postpone:
    """It came too early; look again after ``delay_s`` seconds. Counts no attempt, bounded by age."""

    reason: str
    delay_s: float | None = None


@dataclass(frozen=True, slots=True)
class Dead:
    """Give up and keep it as a dead letter. ``reason`` is what an operator will read."""

    reason: str


Outcome = Done | Retry | Postpone | Dead

DONE = Done()

"""When a failed message comes back, and when it is given up. Pure.

outcome     counted   comes back after                                 given up when
Retry       yes       full-jitter backoff, or the delay it asks for     attempts are used up
Postpone    no        the delay it asks for, or ``postpone_s``          older than ``max_age_s``
"""

from dataclasses import dataclass, field
from datetime import datetime
from random import Random

from ordermq.backoff import Backoff
from ordermq.errors import DataRefused, MessageError
from ordermq.message.envelope import Envelope
from ordermq.task.outcome import Dead, Outcome, Postpone, Retry

MAX_REASON_CHARS = 500
LONGEST_DELAY_S = 30 * 86_400.0  # also what becomes of infinity, which PostgreSQL cannot add to an instant


@dataclass(frozen=True)
class RetryPolicy:
    """The limits of the table above; delays in seconds."""

    attempts: int = 8
    backoff: Backoff = field(default_factory=lambda: Backoff(1.0, 600.0))
    postpone_s: float = 1.0
    max_age_s: float = 86_400.0

    def settle(self, outcome: Outcome, envelope: Envelope, now: datetime, random: Random) -> Outcome:
        """Return what becomes of ``outcome``: a delay filled in, or Dead once a limit is passed.

        Whatever the handler put into it, the delay and a Dead's reason can be stored.
        """
        age_s = (now - envelope.occurred_at).total_seconds()
        match outcome:
            case Retry(reason) if envelope.attempt >= self.attempts:
                outcome = Dead(f"gave up after {envelope.attempt} attempts: {reason}")
            case Retry(reason, None):
                return Retry(reason, self.backoff.delay_s(envelope.attempt - 1, random))
            case Retry(reason, float() | int() as delay_s):
                return Retry(reason, _bounded(delay_s))
            case Postpone(reason) if age_s > self.max_age_s:
                outcome = Dead(f"still too early after {age_s:.0f} s: {reason}")
            case Postpone(reason, delay_s):
                return Postpone(reason, self.postpone_s if delay_s is None else _bounded(delay_s))
        return Dead(_storable(outcome.reason)) if isinstance(outcome, Dead) else outcome


def outcome_of(error: BaseException) -> Outcome:
    """Classify what a handler raised: data that can never succeed is dead, all else is tried again."""
    reason = describe(error)
    if isinstance(error, MessageError | DataRefused):
        return Dead(reason)
    return Retry(reason)


def describe(error: BaseException) -> str:
    """Return the error's type and first line, bounded: what stands in rows and logs."""
    lines = str(error).strip().splitlines()
    text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    return _storable(text)


def _storable(text: str) -> str:
    # PostgreSQL's text holds neither a NUL nor half of a surrogate pair.
    return text.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")[:MAX_REASON_CHARS]


def _bounded(delay_s: float) -> float:
    return max(0.0, min(delay_s, LONGEST_DELAY_S))  # in this order a NaN becomes 0

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


@dataclass(frozen=True)
class RetryPolicy:
    """The limits of the table above; delays in seconds."""

    attempts: int = 8
    backoff: Backoff = field(default_factory=lambda: Backoff(1.0, 600.0))
    postpone_s: float = 1.0
    max_age_s: float = 86_400.0

    def settle(self, outcome: Outcome, envelope: Envelope, now: datetime, random: Random) -> Outcome:
        """Return what becomes of ``outcome``: a delay filled in, or Dead once a limit is passed."""
        if isinstance(outcome, Retry):
            if envelope.attempt >= self.attempts:
                return Dead(f"gave up after {envelope.attempt} attempts: {outcome.reason}")
            if outcome.delay_s is None:
                delay_s = self.backoff.delay_s(envelope.attempt - 1, random)
                return Retry(outcome.reason, delay_s)
        if isinstance(outcome, Postpone):
            age_s = (now - envelope.occurred_at).total_seconds()
            if age_s > self.max_age_s:
                return Dead(f"still too early after {age_s:.0f} s: {outcome.reason}")
            if outcome.delay_s is None:
                return Postpone(outcome.reason, self.postpone_s)
        return outcome


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
    return text.replace("\x00", "")[:MAX_REASON_CHARS]

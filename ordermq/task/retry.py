"""When a failed message comes back, and when it is given up. Pure.

outcome     counted   comes back after                                          given up when
Retry       yes       full-jitter backoff by attempt, or the delay it asks for  attempts or age are used up
Postpone    no        full-jitter backoff by hop, or the delay it asks for      age or hops are used up

Where a service asked for the delay (Retry-After), the backoff is the least: a service that fails for
hours and says 1 would be asked once a second.

The age is counted from the first time the message was sent again, not from when it was
written. So a day without a consumer, or a replay, makes no dead letter. The time in which a
person held its queue back is no part of the age.

What a handler raises is classified by its type. The most specific class that is named wins; what
the handler's RetryOptions name wins over these:

MessageError, DataRefused    fatal        the same data never succeeds
anything else                retryable, but unknown if ``call`` of an external handler raised it
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from random import Random
from typing import TypeVar

from ordermq.backoff import Backoff
from ordermq.config.secret import redact
from ordermq.errors import (
    ConfigError,
    DataRefused,
    GatewayRefused,
    GatewayUnavailable,
    MessageError,
    OutcomeUnknown,
)
from ordermq.message.envelope import MAX_HOP, Envelope
from ordermq.observe.text import mask
from ordermq.task.outcome import Dead, Outcome, Postpone, Retry

MAX_REASON_CHARS = 500
# An infinite delay becomes this one too, because PostgreSQL cannot add infinity to an instant.
LONGEST_DELAY_S = 30 * 86_400.0
LONGEST_RETRY_AFTER_S = 3600.0  # the longest wait that an error can ask for

T = TypeVar("T")

Errors = tuple[type[BaseException], ...]


class Verdict(Enum):
    """What an error says about the work it ended."""

    RETRYABLE = "it had no effect; the same may succeed later"
    FATAL = "it had no effect, and never will"
    UNKNOWN = "it is not known whether it had its effect"


_FRAMEWORK: Mapping[type[BaseException], Verdict] = {
    MessageError: Verdict.FATAL,
    DataRefused: Verdict.FATAL,
}


@dataclass(frozen=True)
class RetryOptions:
    """What one handler says of its retries; None leaves it to the ``[retry]`` settings.

    attempts       after so many failures the message becomes a dead letter; at least 1
    base_s, cap_s  the wait before a retry is a random time up to base_s * 2^(attempt - 1), at
                   most cap_s; in seconds
    max_age_s      a message retried or postponed for longer than this, in seconds, becomes a dead letter
    immediate      a deadlock or a lock timeout is tried again at once so often, before it counts
    retryable      types of errors that had no effect; the same may succeed later
    fatal          types of errors that had no effect and never will: the message becomes a dead letter
    unknown        types of errors of a ``call`` whose effect is not known

    An error is judged by the most specific of its types that is named. What is named nowhere is
    retryable from a plain handler, because everything was rolled back, and unknown from a ``call``.
    Raises ConfigError for a type that is named twice, or a number below the least.
    """

    attempts: int | None = None
    base_s: float | None = None
    cap_s: float | None = None
    max_age_s: float | None = None
    immediate: int | None = None
    retryable: Errors = ()
    fatal: Errors = ()
    unknown: Errors = ()

    def __post_init__(self) -> None:
        named = [*self.retryable, *self.fatal, *self.unknown]
        for each in named:
            if named.count(each) > 1:
                raise ConfigError(f"{each.__name__} is named twice among retryable, fatal and unknown")
        for name, least in (("attempts", 1), ("base_s", 0), ("cap_s", 0), ("max_age_s", 0), ("immediate", 0)):
            value = getattr(self, name)
            if value is not None and not value >= least:
                raise ConfigError(f"{name} is {value}; the least is {least}")

    def verdict(self, error: BaseException) -> Verdict | None:
        """Return what the most specific named class of ``error`` says; None if none of them is named."""
        named = {**_FRAMEWORK, **dict(self._named())}
        return next((named[each] for each in type(error).__mro__ if each in named), None)

    def _named(self) -> Iterator[tuple[type[BaseException], Verdict]]:
        for errors, verdict in (
            (self.retryable, Verdict.RETRYABLE),
            (self.fatal, Verdict.FATAL),
            (self.unknown, Verdict.UNKNOWN),
        ):
            for each in errors:
                yield each, verdict


@dataclass(frozen=True)
class RetryPolicy:
    """The limits of the table above; delays in seconds."""

    attempts: int = 8
    backoff: Backoff = field(default_factory=lambda: Backoff(1.0, 600.0))
    postpone_s: float = 1.0
    max_age_s: float = 86_400.0
    immediate: int = 2

    def of(self, options: RetryOptions) -> "RetryPolicy":
        """Return this policy with the values that a handler sets itself."""
        return replace(
            self,
            attempts=_or(options.attempts, self.attempts),
            backoff=Backoff(_or(options.base_s, self.backoff.base_s), _or(options.cap_s, self.backoff.cap_s)),
            max_age_s=_or(options.max_age_s, self.max_age_s),
            immediate=_or(options.immediate, self.immediate),
        )

    def resolve(
        self, outcome: Outcome, envelope: Envelope, now: datetime, random: Random, *, held_s: float = 0.0
    ) -> Outcome:
        """Return what becomes of ``outcome``: a delay is filled in, or it is Dead once a limit is passed.

        ``held_s`` is for how long the message was held back since it was sent again first. The delay and
        the reason of a Dead can be stored, whatever the handler has put into them.
        """
        since = envelope.first_failed_at
        age_s = (now - since).total_seconds() - held_s if since else 0.0
        match outcome:
            case Retry(reason) if envelope.attempt >= self.attempts:
                outcome = Dead(f"gave up after {envelope.attempt} attempts: {reason}")
            case Retry(reason) | Postpone(reason) if age_s > self.max_age_s:
                outcome = Dead(f"gave up after {age_s:.0f} s: {reason}")
            case Retry(reason) | Postpone(reason) if envelope.hop >= MAX_HOP:
                outcome = Dead(f"gave up after it was sent again {MAX_HOP} times: {reason}")
            case Retry(reason, None) | Postpone(reason, None):
                return type(outcome)(reason, self._backoff_s(outcome, envelope, random))
            case Retry(reason, delay_s) | Postpone(reason, delay_s):
                return type(outcome)(reason, _bounded(delay_s or 0.0, LONGEST_DELAY_S))
        return Dead(_storable(outcome.reason)) if isinstance(outcome, Dead) else outcome

    def spaced(self, outcome: Outcome, envelope: Envelope, random: Random) -> Outcome:
        """Return ``outcome`` with a delay that is not below the backoff; for a delay a service asked for."""
        if not isinstance(outcome, Retry | Postpone) or outcome.delay_s is None:
            return outcome
        least_s = self._backoff_s(outcome, envelope, random)
        return type(outcome)(outcome.reason, max(least_s, outcome.delay_s))

    def _backoff_s(self, outcome: Outcome, envelope: Envelope, random: Random) -> float:
        if isinstance(outcome, Retry):
            return self.backoff.delay_s(envelope.attempt - 1, random)
        again = Backoff(self.postpone_s, max(self.postpone_s, self.backoff.cap_s))
        return again.delay_s(envelope.hop, random)


def outcome_of_error(error: BaseException, options: RetryOptions | None = None) -> Outcome:
    """Return the outcome of a handler that raised ``error``, except from ``call``."""
    if (options or RetryOptions()).verdict(error) is Verdict.FATAL:
        return Dead(describe(error))
    return Retry(describe(error), retry_after_s(error))


CallFailure = GatewayUnavailable | GatewayRefused | OutcomeUnknown
"""What ``complete`` of an external handler is handed instead of a result, if the call failed."""


def failure_of(error: Exception, options: RetryOptions) -> CallFailure:
    """Return what ``complete`` is handed for a call that raised ``error``, which becomes its cause.

    An error whose type is named nowhere is OutcomeUnknown, because a call that was repeated by
    mistake cannot be taken back.
    """
    if isinstance(error, CallFailure):
        return error
    result: CallFailure
    match options.verdict(error):
        case Verdict.RETRYABLE:
            result = GatewayUnavailable(describe(error), retry_after_s(error))
        case Verdict.FATAL:
            result = GatewayRefused(describe(error))
        case _:
            result = OutcomeUnknown(describe(error))
    result.__cause__ = error
    return result


def retry_after_s(error: BaseException) -> float | None:
    """Return the wait in seconds that an error asks for by its attribute of this name, bounded; or None."""
    asked = getattr(error, "retry_after_s", None)
    if isinstance(asked, bool) or not isinstance(asked, int | float):
        return None
    return _bounded(asked, LONGEST_RETRY_AFTER_S)


def describe(error: BaseException) -> str:
    """Return the type and the first line of an error, bounded, as they stand in rows and logs."""
    try:
        lines = str(error).strip().splitlines()
    except Exception:  # the error's own code failed; its type is all there is to say
        lines = []
    text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    return _storable(text)


def _or(value: T | None, default: T) -> T:
    return default if value is None else value


def _storable(text: str) -> str:
    # PostgreSQL's text holds neither a NUL nor half of a surrogate pair. The text is masked before it
    # is cut, because half a secret is not recognised.
    clean = text[: 4 * MAX_REASON_CHARS].replace("\x00", "").encode("utf-8", "replace").decode("utf-8")
    return mask(redact(clean))[:MAX_REASON_CHARS]


def _bounded(delay_s: float, longest_s: float) -> float:
    return max(0.0, min(delay_s, longest_s))  # in this order a NaN becomes 0

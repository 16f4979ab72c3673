"""Time in which the messages of a queue were held back, which is no part of their age. Pure.

A message is retried or postponed for at most ``max_age_s``, counted from the first time it was sent
again. Of that time the spans in which nothing of its queue could be handled, because people held it
back, are left out: a pause makes no dead letter.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple


class Span(NamedTuple):
    """From ``since`` until ``until``; None means that it lasts."""

    since: datetime
    until: datetime | None


class HeldSpans:
    """The spans of one queue. One thread replaces them, any may ask."""

    def __init__(self) -> None:
        self._spans: tuple[Span, ...] = ()

    def replace(self, spans: Iterable[Span]) -> None:
        """Take ``spans`` in the place of those before."""
        self._spans = joined(spans)

    def seconds(self, since: datetime | None, until: datetime) -> float:
        """Return how many seconds between the two instants were held; 0 without ``since``."""
        if since is None:
            return 0.0
        return sum(_overlap_s(span, since, until) for span in self._spans)


def joined(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Return the same time as spans that do not overlap, so that no second is counted twice."""
    result: list[Span] = []
    for span in sorted(spans, key=lambda each: each.since):
        last = result[-1] if result else None
        if last is None or (last.until is not None and last.until < span.since):
            result.append(span)
        elif last.until is not None:
            until = None if span.until is None else max(last.until, span.until)
            result[-1] = Span(last.since, until)
    return tuple(result)


def _overlap_s(span: Span, since: datetime, until: datetime) -> float:
    end = min(span.until or datetime.max.replace(tzinfo=UTC), until)
    return max(0.0, (end - max(span.since, since)).total_seconds())

"""What SIGUSR1 and SIGUSR2 write to the log: where every thread is, and the messages in hand."""

import logging
from collections.abc import Sequence
from datetime import timedelta

from ordermq.clock import monotonic_s, utc_now
from ordermq.lifecycle import MessageInHand, log_stacks
from ordermq.log_events import IN_FLIGHT_SHOWN

log = logging.getLogger(__name__)

MOST_ROWS = 200
_HEAD = ("queue", "message_id", "type", "handler", "since")


def answer(messages: Sequence[MessageInHand]) -> None:
    """Log the stacks of all threads, then a table of ``messages``: names and ids, never a payload."""
    log_stacks()
    log.error("messages in flight: %d%s", len(messages), _table(messages), extra=IN_FLIGHT_SHOWN)


def _table(messages: Sequence[MessageInHand]) -> str:
    """Return a line for the head and for each message, the oldest first; nothing without messages."""
    if not messages:
        return ""
    now_s, now = monotonic_s(), utc_now()
    rows = [_HEAD]
    for each in sorted(messages, key=lambda each: each.since_s)[:MOST_ROWS]:
        since = now - timedelta(seconds=now_s - each.since_s)
        rows.append((each.queue, each.message_id, each.type, each.handler or "-", f"{since:%FT%T.%f}Z"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    if len(messages) > MOST_ROWS:
        lines.append(f"and {len(messages) - MOST_ROWS} more")
    return "".join(f"\n{line}" for line in lines)

"""The stream of events as it is: each message once, in the order of offsets, over any number of connections.

Invariants
    STR1  After a connection was lost it goes on after the offset that was given out last. Acks only make room
        for more deliveries: a stream keeps no note of what its readers have acked.
    STR2  A stream that does not hold that offset any more, because it was made anew and counts from 0 again,
        is read from its first message. RabbitMQ would give nothing until it has come as far as the old one.
"""

import logging
import threading
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from ordermq.amqp import ConnectionManager, Subscription, subscribe
from ordermq.clock import Deadline, monotonic_s, utc_now
from ordermq.config.settings import BrokerSettings
from ordermq.errors import BadInput, BrokerError, MalformedMessage
from ordermq.log_events import EVENT_FOREIGN
from ordermq.message.cloudevents import CloudEvent, read_event
from ordermq.message.envelope import Delivery

log = logging.getLogger(__name__)

OFFSET = "x-stream-offset"
Place = int | datetime | str
"""Where to begin: an offset, an instant, or one of WORDS."""

WORDS = ("first", "last", "next")
_TICK_S = 1.0
_PAUSE_S = 0.5
_NEWEST_WITHIN_S = 3.0
_CLOCKS_DIFFER = timedelta(seconds=30)


class ReadEvent(NamedTuple):
    """An event and its offset in the stream."""

    event: CloudEvent
    offset: int


def place(text: str) -> Place:
    """Return what ``text`` names: first, last, next, an offset or an instant with a time zone.

    Raises BadInput.
    """
    if text in WORDS:
        return text
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as exc:
        raise BadInput(
            f"{text!r} is no place in a stream; write first, last, next, an offset, or an instant such as"
            " 2026-11-01T10:42:00Z"
        ) from exc
    if instant.tzinfo is None:
        raise BadInput(f"{text!r} has no time zone; write for example {text}Z")
    return instant.astimezone(UTC)


class EventLog:
    """Reads the stream from ``start`` on. Owned by one thread, which may be busy elsewhere for long.

    ``has_jumped`` says of the event that was read last that it does not follow the one before it: it is the
    first that a subscription gave, and not at the offset that was asked for. What was there is gone, because
    it was too old or because the stream was made anew; or another place than an offset was asked for.
    """

    def __init__(
        self,
        broker: BrokerSettings,
        stream: str,
        *,
        start: Place,
        prefetch: int,
        name: str,
        is_resumed: bool = False,
    ) -> None:
        """``is_resumed``: the offset ``start`` was given out before, and is looked for (STR2)."""
        self.has_jumped = False
        self.stopping = threading.Event()
        self._stream = stream
        self._start = start
        self._prefetch = prefetch
        self._manager = ConnectionManager(broker, name=name)
        self._subscription: Subscription | None = None
        self._epoch = 0
        self._arrived: deque[Delivery] = deque()
        self._unacked = 0
        self._asked: int | None = None  # the offset, if one was asked for
        self._is_first = False  # nothing came yet of this subscription
        self._offset = start if is_resumed and isinstance(start, int) else None  # given out last
        self._began_at: datetime | None = None
        self._failed_s: float | None = None  # since when nothing works (monotonic)
        self._said_foreign = False

    def read(self, timeout_s: float) -> ReadEvent | None:
        """Return the next event; None if none comes within ``timeout_s``, or if ``stopping`` is set.

        Raises a BrokerError that only a person can mend, or after ``broker.give_up_after_s`` of trying.
        """
        deadline = Deadline(timeout_s)
        while not self.stopping.is_set():
            while self._arrived:
                if (found := self._take(self._arrived.popleft())) is not None:
                    return found
            if deadline.has_passed:
                return None
            self._fill(min(deadline.left_s, _TICK_S))
        return None

    def close(self) -> None:
        """Close the connection. It can be called twice."""
        self.stopping.set()
        self._manager.close(2.0)

    def _fill(self, timeout_s: float) -> None:
        """Wait for deliveries; what ends a connection or a channel is waited out."""
        try:
            if self._subscription is None and not self._subscribe():
                return
            subscription = self._subscription
            assert subscription is not None  # noqa: S101 # _subscribe has set it
            self._manager.tick(timeout_s)
            subscription.check()
            self._arrived.extend(subscription.take())
            self._failed_s = None
        except BrokerError as exc:
            self._subscription = None
            self._arrived.clear()
            if not (exc.retryable or self._epoch):
                raise
            now_s = monotonic_s()
            self._failed_s = self._failed_s or now_s
            if now_s - self._failed_s > self._manager.settings.give_up_after_s:
                raise
            self.stopping.wait(_PAUSE_S)

    def _subscribe(self) -> bool:
        """Consume from where it is; False if it is to stop."""
        if not self._manager.connect(self.stopping):
            return False
        if self._offset is not None and not self._holds(self._offset):
            self._offset, self._start = None, "first"
        start = self._place()
        self._asked = start if isinstance(start, int) else None
        self._subscription = subscribe(
            self._manager, self._stream, prefetch=self._prefetch, consumer_tag="events",
            epoch=self._epoch + 1, arguments={OFFSET: start},
        )  # fmt: skip
        self._epoch += 1
        self._unacked, self._is_first = 0, True
        self._began_at = self._began_at or utc_now()
        return True

    def _holds(self, offset: int) -> bool:
        """Say whether the stream has come to ``offset``, by its newest messages."""
        timeout_s = self._manager.settings.connect_timeout_s
        newest = subscribe(
            self._manager, self._stream, prefetch=self._prefetch, consumer_tag="newest",
            epoch=0, arguments={OFFSET: "last"},
        )  # fmt: skip
        deadline = Deadline(_NEWEST_WITHIN_S)
        try:
            while not (deadline.has_passed or self.stopping.is_set()):
                self._manager.tick(min(_TICK_S, deadline.left_s))
                newest.check()
                for each in newest.take():
                    newest.ack(each.tag, multiple=True)
                    found = each.properties.headers.get(OFFSET)
                    if isinstance(found, int) and found >= offset:
                        return True
            return self.stopping.is_set()
        finally:
            newest.close(timeout_s)

    def _place(self) -> Place:
        if self._offset is not None:
            return self._offset + 1
        if self._start == "next" and self._began_at is not None:
            return self._began_at - _CLOCKS_DIFFER  # or what came while it was not connected is missed
        return self._start

    def _take(self, delivery: Delivery) -> ReadEvent | None:
        """Return the event of a delivery; None if it is none of ordermq's."""
        self._unacked += 1
        if self._subscription is not None and self._unacked >= self._prefetch // 2:
            self._subscription.ack(delivery.tag, multiple=True)
            self._unacked = 0
        offset = delivery.properties.headers.get(OFFSET)
        if not isinstance(offset, int):
            return None
        self.has_jumped, self._is_first = self._is_first and offset != self._asked, False
        self._offset = offset
        try:
            return ReadEvent(read_event(delivery.properties, delivery.body), offset)
        except MalformedMessage as exc:
            if not self._said_foreign:
                log.warning("the message at offset %d %s; it is skipped", offset, exc, extra=EVENT_FOREIGN)
            self._said_foreign = True
            return None

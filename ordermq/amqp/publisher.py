"""Publish with confirms: many threads, one pipeline.

Every publishing is persistent, mandatory and confirmed. Callers put batches into one
queue; one I/O thread owns the connection, writes up to a window of publishings ahead
of their confirms, and settles each batch as the confirms come back.

Invariants
    PUB1  The lock guards the queue and the claims of each batch (PBA1). No thread writes
        to the connection or waits while it holds the lock.
    PUB2  A caller returns within its deadline, whatever the I/O thread is doing: the
        caller closes its batch itself.
    PUB3  Nothing is written while the broker blocks the connection. The publishings that
        wait then are reported as unsent.
    PUB4  A publishing without a confirm for ``confirm_timeout_s`` on an unblocked
        connection makes the publisher drop the connection: neither a lost quorum nor a
        frozen node would ever end it. Publishings in flight on it are unknown.
    PUB5  A channel that received a nack is replaced ``RENEW_S`` later, when nothing is in
        flight on it. A quorum queue notifies a channel when it is full and when it has room
        again. If its limit is lifted in between, it notifies no channel, and the channel
        would nack on the queue's behalf for ever.
"""

import logging
import threading
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import islice
from math import inf
from types import TracebackType
from typing import Protocol, Self

from ordermq.amqp._pika import Channel
from ordermq.amqp.batch import PublishBatch, SentSlice
from ordermq.amqp.confirms import ConfirmTracker, PublishOutcome
from ordermq.amqp.connection import ConnectionManager, StateObserver
from ordermq.amqp.state import ConnectionState
from ordermq.clock import Deadline, monotonic_s
from ordermq.config.settings import BrokerSettings
from ordermq.errors import (
    BrokerError,
    ConnectionBlocked,
    ConnectionLost,
    OrderMQError,
    PublishError,
    PublishNacked,
    PublishRefused,
    PublishReturned,
    PublishUnknown,
)
from ordermq.failpoints import failpoint
from ordermq.lifecycle import ThreadService
from ordermq.log_events import OBSERVER_FAILED
from ordermq.message.envelope import Publishing
from ordermq.message.payload import MAX_BODY_BYTES

log = logging.getLogger(__name__)

# Publishings encoded before the socket is served again: enough to share one poll, and few
# enough that the broker works on the first while the last is encoded.
SLICE = 64

# Seconds from a nack to a new channel, which costs two round trips. A full queue nacks on the new one too.
RENEW_S = 5.0

# RabbitMQ gives no reason with basic.nack. A quorum queue without a leader nacks too.
_WHY_NACKED = "the queue is full, or has no leader"

_RAISED: dict[PublishOutcome, type[PublishError]] = {
    PublishOutcome.RETURNED: PublishReturned,
    PublishOutcome.NACKED: PublishNacked,
    PublishOutcome.REFUSED: PublishRefused,
    PublishOutcome.UNKNOWN: PublishUnknown,
}


class PublishObserver(Protocol):
    """Is called for every publishing, for metrics; in the I/O thread or in a caller's."""

    def published(self, count: int) -> None:
        """``count`` publishings were written to the connection."""

    def resolved(self, outcome: PublishOutcome, count: int, latency_s: float) -> None:
        """``count`` publishings ended with ``outcome``, the oldest ``latency_s`` after it was written."""


class PublishOutcomes(list[PublishOutcome]):
    """Outcomes in the order of the publishings. ``reasons``, by index, says why one was not confirmed."""

    def __init__(self) -> None:
        super().__init__()
        self.reasons: dict[int, str] = {}

    @property
    def all_confirmed(self) -> bool:
        """True if the broker has taken responsibility for every publishing."""
        return self.count(PublishOutcome.CONFIRMED) == len(self)


class Publisher(ThreadService):
    """A connection that only publishes, and its I/O thread.

    ``publish`` and ``publish_many`` may be called from any thread. ``stop()`` refuses new
    publishings and waits for the confirms of those under way, for at most
    ``confirm_timeout_s``. ``failure`` is set if the thread ended by itself: the first
    connection was refused, or there was none for ``give_up_after_s``.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        *,
        name: str,
        on_state: StateObserver | None = None,
        observer: PublishObserver | None = None,
    ) -> None:
        super().__init__(f"publisher-{name}")
        self.connection = ConnectionManager(settings, name=name, on_state=on_state)
        self._settings = settings
        self._observer = observer
        self._window = settings.publish_window
        self._low_water = settings.publish_window // 2
        self._lock = threading.Lock()
        self._queue: deque[PublishBatch] = deque()
        self._is_over = False  # the I/O thread has ended; guarded by the lock
        self._tracker: ConfirmTracker[SentSlice] = ConfirmTracker()
        self._refusal: BrokerError | None = None
        self._renew_at_s = inf  # when the channel is to be replaced

    # --- any thread ---------------------------------------------------------

    @property
    def refusal(self) -> BrokerError | None:
        """Why the broker last closed the channel, if only a person can mend it; None once it confirms.

        The exchange is missing, or the user may not write to it. What was in flight is unknown.
        """
        return self._refusal

    def publish(self, publishing: Publishing, *, timeout_s: float | None = None) -> None:
        """Publish one message and block until its confirm, at most ``timeout_s``.

        None means ``confirm_timeout_s``. The time includes waiting for a connection.
        Raises PublishReturned (no queue bound), PublishNacked (queue full or without
        leader), PublishUnknown (sent, no confirm: the same message_id may be published
        again), PublishRefused (cannot be encoded; has no message_id), ConnectionLost
        (certainly not sent), and of those ConnectionBlocked during a resource alarm.
        """
        timeout_s = self._settings.confirm_timeout_s if timeout_s is None else timeout_s
        batch = self._submit((publishing,))
        self._wait(batch, Deadline(timeout_s))
        outcome = batch.outcomes[0]
        if outcome is PublishOutcome.CONFIRMED:
            return
        where = f"exchange {publishing.exchange!r}, routing key {publishing.routing_key!r}"
        text = f"message {publishing.properties.message_id} to {where}: {batch.reasons.get(0, '')}"
        if outcome is PublishOutcome.UNSENT or outcome is None:
            is_blocked = self.connection.state is ConnectionState.BLOCKED
            raise (ConnectionBlocked if is_blocked else ConnectionLost)(text)
        raise _RAISED[outcome](text)

    def publish_many(
        self, publishings: Iterable[Publishing], *, timeout_s: float | None = None
    ) -> PublishOutcomes:
        """Publish many messages; return their outcomes in order once all have one.

        The iterable is read as the window advances. ``timeout_s`` bounds the whole
        call; None lets every window take ``confirm_timeout_s``. No outcome is raised. Once
        a window finds no connection in time, the rest is UNSENT without waiting again.
        If the publisher has ended by itself, raises the error that ended it.
        """
        outcomes = PublishOutcomes()
        overall = None if timeout_s is None else Deadline(timeout_s)
        source = iter(publishings)
        under_way: deque[PublishBatch] = deque()
        is_down = False
        self._raise_if_ended()
        while True:
            # Two windows at a time: one is being confirmed while the next is read and written.
            while len(under_way) < 2 and (window := list(islice(source, self._window))):
                under_way.append(self._enqueue(window))
            if not under_way:
                return outcomes
            batch = under_way.popleft()
            self._wait(batch, overall or Deadline(0.0 if is_down else self._settings.confirm_timeout_s))
            is_down = is_down or PublishOutcome.UNSENT in batch.outcomes
            for index, reason in batch.reasons.items():
                outcomes.reasons[len(outcomes) + index] = reason
            outcomes.extend(outcome or PublishOutcome.UNKNOWN for outcome in batch.outcomes)

    def stop(self) -> None:
        super().stop()
        self.connection.wake()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        self.join(self._settings.confirm_timeout_s + self._settings.connect_timeout_s)

    def _submit(self, publishings: Sequence[Publishing]) -> PublishBatch:
        self._raise_if_ended()
        return self._enqueue(publishings)

    def _raise_if_ended(self) -> None:
        if isinstance(self.failure, OrderMQError):
            raise self.failure
        if self._is_over or self.stopping.is_set():
            raise ConnectionLost("the publisher is stopped")

    def _enqueue(self, publishings: Sequence[Publishing]) -> PublishBatch:
        batch = PublishBatch(publishings)
        with self._lock:
            if self._is_over:
                batch.close(unsent="the publisher is stopped", unknown="")
                batch.done.open()
            else:
                self._queue.append(batch)
        self.connection.wake()
        return batch

    def _wait(self, batch: PublishBatch, deadline: Deadline) -> None:
        """Wait for the batch, and close it when the deadline passes (PUB2)."""
        if batch.done.wait(deadline.left_s):
            return
        with self._lock:
            closed = batch.close(unsent=self._why_unsent(), unknown=self._why_unknown())
            if batch in self._queue:
                self._queue.remove(batch)
        self._observe_closed(closed)

    def _why_unsent(self) -> str:
        if self.connection.state is ConnectionState.BLOCKED:
            return "not sent: the broker has blocked this connection (resource alarm)"
        if self.connection.state is ConnectionState.OPEN:
            return "not sent in time: earlier publishings filled the window"
        return f"not sent: no connection in time; last: {self.connection.last_error}"

    def _why_unknown(self) -> str:
        if self.connection.state is ConnectionState.BLOCKED:
            return "sent, and not confirmed: the broker has blocked this connection (resource alarm)"
        return "sent, and not confirmed in time"

    # --- the I/O thread -----------------------------------------------------

    def main(self) -> None:
        try:
            while self.connection.connect(self.stopping):
                try:
                    self._serve()
                    return
                except BrokerError as exc:  # the connection or the channel has ended; open another
                    self._refusal = self._refusal if exc.retryable else exc
                    self._abandon(f"sent, and not confirmed: {exc}")
        finally:
            self._abandon("sent, and not confirmed: the publisher stopped")
            self._end()
            self.connection.close(2.0)

    def _serve(self) -> None:
        """Write and settle until stopped and idle. Raises BrokerError when the channel has ended."""
        channel = self._open_channel()
        drain: Deadline | None = None
        while True:
            if not self._is_renewal_due():
                self._write(channel)
            elif not self._tracker.pending:
                self.connection.close_channel(channel, self._settings.connect_timeout_s)
                channel = self._open_channel()
                continue
            if self.stopping.is_set():
                drain = drain or Deadline(self._settings.confirm_timeout_s)
                if drain.has_passed or not (self._queue or self._tracker.pending):
                    return
            self.connection.tick(self._tick_s())
            self._drop_if_stalled()

    def _open_channel(self) -> Channel:
        self._renew_at_s = inf
        tracker = self._tracker = ConfirmTracker()
        channel = self.connection.open_channel()
        # The callbacks know the tracker of this channel alone (CNF1): a late one of the channel
        # before cannot reach it.
        channel.confirm(
            partial(self._on_confirm, tracker),
            partial(self._on_return, tracker),
            self._settings.connect_timeout_s,
        )
        return channel

    def _is_renewal_due(self) -> bool:
        return monotonic_s() >= self._renew_at_s and self.connection.state is ConnectionState.OPEN

    def _write(self, channel: Channel) -> None:
        """Write up to a slice of what is queued, if the window has room for it."""
        if self._tracker.pending > self._low_water or self.connection.state is not ConnectionState.OPEN:
            return
        claims = self._claim(min(SLICE, self._window - self._tracker.pending))
        if not claims:
            return
        encoded: list[tuple[PublishBatch, int]] = []
        frames: list[bytes] = []
        for batch, index in claims:
            publishing = batch.publishings[index]
            try:
                self._check(publishing)
                failpoint("publisher.mid_write")
                frames.append(channel.encode(publishing))
            except PublishRefused as exc:
                batch.resolve(index, PublishOutcome.REFUSED, str(exc))
                self._observe_resolved(PublishOutcome.REFUSED, 1, 0.0)
            else:
                encoded.append((batch, index))
        if not encoded:
            return  # pika takes an empty write for a fault of the connection
        try:
            channel.write(b"".join(frames))
        except BrokerError as exc:  # the channel is closed: nothing of this slice was written
            for batch, index in encoded:
                batch.resolve(index, PublishOutcome.UNSENT, f"not sent: {exc}")
            raise
        now_s = monotonic_s()
        for batch, index in encoded:
            self._tracker.published(SentSlice(batch, index, batch.publishings[index], now_s))
        failpoint("publisher.after_write")
        self._observe_published(len(encoded))

    def _claim(self, limit: int) -> deque[tuple[PublishBatch, int]]:
        claims: deque[tuple[PublishBatch, int]] = deque()
        with self._lock:
            while self._queue and len(claims) < limit:
                batch = self._queue[0]
                claims.extend((batch, index) for index in batch.claim(limit - len(claims)))
                if batch.is_claimed:
                    self._queue.popleft()
        return claims

    @staticmethod
    def _check(publishing: Publishing) -> None:
        message_id = publishing.properties.message_id
        if not message_id:
            raise PublishRefused("a publishing needs a message_id: without it a return names no message")
        if not isinstance(publishing.body, bytes):
            raise PublishRefused(
                f"message {message_id} has a body of {type(publishing.body).__name__}, not bytes"
            )
        if len(publishing.body) > MAX_BODY_BYTES:
            raise PublishRefused(
                f"message {message_id} has a body of {len(publishing.body)} bytes, over {MAX_BODY_BYTES}"
            )

    def _tick_s(self) -> float:
        if self._queue and self._tracker.pending <= self._low_water and not self._is_renewal_due():
            return 1.0 if self.connection.state is ConnectionState.BLOCKED else 0.0
        return 1.0

    @staticmethod
    def _on_return(
        tracker: ConfirmTracker[SentSlice], message_id: str, exchange: str, routing_key: str, reason: str
    ) -> None:
        tracker.returned((message_id, exchange, routing_key), reason)

    def _on_confirm(
        self, tracker: ConfirmTracker[SentSlice], tag: int, multiple: bool, is_nack: bool
    ) -> None:
        failpoint("publisher.before_confirm")
        self._refusal = None
        resolved = tracker.confirm(tag, multiple=multiple, nack=is_nack)
        if is_nack and self._renew_at_s == inf:
            self._renew_at_s = monotonic_s() + RENEW_S
        counts: Counter[PublishOutcome] = Counter()
        for sent, outcome, reason in resolved:
            if not sent.batch.is_closed:
                said = reason or (_WHY_NACKED if outcome is PublishOutcome.NACKED else "")
                sent.batch.resolve(sent.index, outcome, said)
                counts[outcome] += 1
        if counts and self._observer is not None:
            latency_s = monotonic_s() - resolved[0][0].written_s
            for outcome, count in counts.items():
                self._observe_resolved(outcome, count, latency_s)
        if self._tracker.pending <= self._low_water and (self._queue or self.stopping.is_set()):
            self.connection.interrupt()

    def _drop_if_stalled(self) -> None:
        oldest = self._tracker.oldest
        if oldest is None or self.connection.state is ConnectionState.BLOCKED:
            return
        # Time spent blocked does not count: the broker read nothing then.
        waited_s = min(monotonic_s() - oldest.written_s, self.connection.state_age_s)
        if waited_s >= self._settings.confirm_timeout_s:
            reason = ConnectionLost(f"no confirm for {self._settings.confirm_timeout_s:g} s")
            self.connection.drop(reason)
            raise reason

    def _abandon(self, reason: str) -> None:
        """Resolve what is in flight as UNKNOWN: its channel has ended."""
        abandoned = [sent for sent in self._tracker.abandon() if not sent.batch.is_closed]
        for sent in abandoned:
            sent.batch.resolve(sent.index, PublishOutcome.UNKNOWN, reason)
        if abandoned:
            self._observe_resolved(
                PublishOutcome.UNKNOWN, len(abandoned), monotonic_s() - abandoned[0].written_s
            )

    def _end(self) -> None:
        """Refuse and release every caller."""
        why = "the publisher was stopped" if self.stopping.is_set() else str(self.connection.last_error)
        with self._lock:
            self._is_over = True
            queued, self._queue = self._queue, deque()
            closed = [batch.close(unsent=f"not sent: {why}", unknown="") for batch in queued]
        for batch, counts in zip(queued, closed, strict=True):
            self._observe_closed(counts)
            batch.done.open()

    # --- observers ----------------------------------------------------------

    def _observe_closed(self, counts: Counter[PublishOutcome]) -> None:
        for outcome, count in counts.items():
            self._observe_resolved(outcome, count, 0.0)

    def _observe_published(self, count: int) -> None:
        if self._observer is not None:
            try:
                self._observer.published(count)
            except Exception:  # an observer must not break the I/O loop
                log.exception("a publish observer failed", extra=OBSERVER_FAILED)

    def _observe_resolved(self, outcome: PublishOutcome, count: int, latency_s: float) -> None:
        if self._observer is not None:
            try:
                self._observer.resolved(outcome, count, latency_s)
            except Exception:  # an observer must not break the I/O loop
                log.exception("a publish observer failed", extra=OBSERVER_FAILED)

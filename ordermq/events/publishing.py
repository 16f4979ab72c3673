"""The active relay's second thread: it publishes events in the order of their positions.

    lock the feed -> read records by position -> publish -> store how far -> commit

Invariants
    EVP1  The feed moves to a position after all events before it were confirmed. A crash before the commit
        publishes them again, with the same ids and the same attributes.
    EVP2  Nothing here waits for the relay's own rows, or they for it: it has a thread, a connection to the
        broker and a session of its own. What it cannot publish it tries again, with a backoff.
    EVP3  An event that was not confirmed, and all after it, are published again from there: one alone at
        first, so that a broker that refuses is not sent a whole batch again and again.
"""

import logging
import threading
from collections.abc import Sequence
from random import Random

from ordermq.amqp import ConnectionState, Publisher, PublishOutcome, PublishOutcomes
from ordermq.backoff import Backoff
from ordermq.clock import monotonic_s
from ordermq.config.settings import BrokerSettings
from ordermq.errors import BrokerError, ConnectionLost, OrderMQError, RecordUnreadable
from ordermq.failpoints import failpoint
from ordermq.lifecycle import ThreadService
from ordermq.log_events import EVENTS_RESUMED, EVENTS_STALLED, EVENTS_WITHOUT_ROW
from ordermq.message.cloudevents import CloudEvent, event_properties, routing_key
from ordermq.message.envelope import Publishing
from ordermq.observe import metrics
from ordermq.outward import OutwardEvent, OutwardRecords, last_named
from ordermq.store import Session
from ordermq.store.feeds import (
    EVENTS,
    FeedPlace,
    RefusedEvent,
    claim_feed,
    enrol_feed,
    holder_name,
    move_feed,
    read_feed,
)
from ordermq.store.positions import count_positions

log = logging.getLogger(__name__)

BATCH = 500  # positions of one transaction
EVERY_S = 5.0  # it looks so often without being woken
_OPEN_WITHIN_S = 5.0
_TICK_S = 0.1


class EventPublishing(ThreadService):
    """Publishes events while the relay is active. It never ends by itself.

    ``is_active`` is set by the relay's thread, which calls ``wake`` when records got positions.
    """

    def __init__(
        self,
        broker: BrokerSettings,
        session: Session,
        records: OutwardRecords,
        *,
        exchange: str,
        timeout_s: float,
        every_s: float = EVERY_S,
        random: Random | None = None,
    ) -> None:
        """``timeout_s`` is the longest that one batch may take to publish."""
        super().__init__("events")
        self.is_active = False
        self._broker = broker
        self._session = session
        self._records = records
        self._exchange = exchange
        self._timeout_s = timeout_s
        self._every_s = every_s
        self._random = random or Random()
        self._holder = holder_name()
        self._woken = threading.Event()
        self._publisher: Publisher | None = None
        self._backoff = Backoff(0.5, 10.0)
        self._failures = 0
        self._stalled_s: float | None = None  # since when nothing is published (monotonic)
        self._said = set[str]()  # the types of the reasons that were logged

    def wake(self) -> None:
        """Have it look for events now. Any thread."""
        self._woken.set()

    def stop(self) -> None:
        super().stop()
        self._woken.set()

    def main(self) -> None:
        try:
            while not self.stopping.is_set():
                if not self.is_active:
                    self._close()
                elif self._turn():
                    continue
                self._woken.wait(self._every_s)
                self._woken.clear()
        finally:
            self._close()

    def _turn(self) -> bool:
        """Publish a batch; return whether there is more. What goes wrong is logged, and waited out."""
        try:
            has_more = self.publish_once()
        except Exception as exc:  # also a bug, which must not end the thread for good
            self._failures += 1
            self._stand_still(exc)
            self.stopping.wait(self._backoff.delay_s(self._failures, self._random))
            return True
        self._go_on()
        return has_more

    def publish_once(self) -> bool:
        """Publish one batch; return whether there is more.

        Raises a BrokerError if not all of it was confirmed, StoreError, and RecordUnreadable. The events
        that were confirmed until then are stored as published (EVP1).
        """
        with self._session.transaction() as tx:
            feed, total = read_feed(tx, EVENTS), count_positions(tx)
            if feed is None:
                enrol_feed(tx, EVENTS)
        if feed is not None and feed.next_position >= total:
            return False
        publisher = self._open()
        failure: OrderMQError | None = None
        with self._session.transaction() as tx:
            claim = claim_feed(tx, EVENTS, self._holder)
            if claim is None:
                return False
            place, refused = claim.place, claim.place.refused
            end = min(place.next_position + (1 if self._failures else BATCH), total)
            if end <= place.next_position:
                return False
            batch = self._records.read(tx, place.next_position, end, place.last_event)
            batch, unreadable = _readable(batch)
            if unreadable is not None:
                end, failure = unreadable.position, _unreadable(unreadable)
            events = [each.event for each in batch if each.event is not None]
            outcomes = self._publish(publisher, events)
            failpoint("events.after_confirm")
            confirmed = _leading(outcomes)
            if confirmed < len(events):
                failure = self._failure(publisher, outcomes, events[confirmed])
                end = events[confirmed].position
            passed = [each for each in batch if each.position < end]
            gone = [each.refused() for each in passed if each.is_gone]
            _say_gone(gone)
            to = FeedPlace(end, last_named(passed, place.last_event), refused + len(gone))
            if to != place:
                move_feed(tx, EVENTS, self._holder, to, gone)
            failpoint("events.before_commit")
        metrics.events_published.inc(confirmed)
        if failure is not None:
            raise failure
        return end < total

    def _publish(self, publisher: Publisher, events: Sequence[CloudEvent]) -> PublishOutcomes:
        if not events:
            return PublishOutcomes()
        each = (
            Publishing(self._exchange, routing_key(event.type), event_properties(event), event.data)
            for event in events
        )
        return publisher.publish_many(each, timeout_s=self._timeout_s)

    @staticmethod
    def _failure(publisher: Publisher, outcomes: PublishOutcomes, event: CloudEvent) -> BrokerError:
        """Return why ``event``, the first that was not confirmed, was not."""
        if publisher.refusal is not None:
            return publisher.refusal
        place = _leading(outcomes)
        outcome = outcomes[place].value if place < len(outcomes) else "unsent"
        return ConnectionLost(
            f"event {event.id} at position {event.position} was {outcome}: {outcomes.reasons.get(place, '')}"
        )

    def _open(self) -> Publisher:
        """Return a publisher whose connection is open. Raises what keeps it from that."""
        publisher = self._publisher
        if publisher is None or publisher.failure is not None:
            self._close()
            publisher = self._publisher = Publisher(self._broker, name="ordermq-relay events")
            publisher.start()
        connection, until_s = publisher.connection, monotonic_s() + _OPEN_WITHIN_S
        while connection.state is not ConnectionState.OPEN:
            if isinstance(publisher.failure, OrderMQError):
                raise publisher.failure
            if monotonic_s() >= until_s or self.stopping.is_set():
                raise ConnectionLost(f"its connection is {connection.state.value}: {connection.last_error}")
            self.stopping.wait(_TICK_S)
        return publisher

    def _close(self) -> None:
        publisher, self._publisher = self._publisher, None
        if publisher is not None:
            publisher.stop()
            publisher.join(_OPEN_WITHIN_S)
        self._session.close()

    def _stand_still(self, reason: Exception) -> None:
        """Log why nothing is published: once for each type of reason, not for each try."""
        if self._stalled_s is None:
            self._stalled_s = monotonic_s()
        kind = type(reason).__name__
        if kind not in self._said and not self.stopping.is_set():
            self._said.add(kind)
            log.warning(
                "events are not published, and are tried again; commands go on: %s: %s", kind, reason,
                extra=EVENTS_STALLED, exc_info=None if isinstance(reason, OrderMQError) else reason,
            )  # fmt: skip

    def _go_on(self) -> None:
        self._failures = 0
        self._said.clear()
        if self._stalled_s is not None:
            lasted_s, self._stalled_s = monotonic_s() - self._stalled_s, None
            log.warning(
                "events are published again after %.1f s", lasted_s,
                extra=EVENTS_RESUMED.having(duration_s=lasted_s),
            )  # fmt: skip


def _leading(outcomes: Sequence[PublishOutcome]) -> int:
    """Return how many outcomes are confirmed before the first that is not."""
    for place, outcome in enumerate(outcomes):
        if outcome is not PublishOutcome.CONFIRMED:
            return place
    return len(outcomes)


def _readable(batch: list[OutwardEvent]) -> tuple[list[OutwardEvent], OutwardEvent | None]:
    """Return what is before the first event that its module cannot read, and that one.

    A reader of the stream drops what comes after a later position. So an event that was passed could never
    be sent, and the module can be mended.
    """
    for number, each in enumerate(batch):
        if each.event is None and not each.is_gone:
            return batch[:number], each
    return batch, None


def _unreadable(found: OutwardEvent) -> RecordUnreadable:
    return RecordUnreadable(
        f"{found.source} {found.subject} {found.number}, at position {found.position}, is no event:"
        f" {found.reason}; nothing after it is published"
    )


def _say_gone(gone: Sequence[RefusedEvent]) -> None:
    if gone:
        first = gone[0]
        log.warning(
            "%d records have no row any more and are not published; the first is %s %s %d, at position %d",
            len(gone), first.source, first.subject, first.number, first.position,
            extra=EVENTS_WITHOUT_ROW,
        )  # fmt: skip

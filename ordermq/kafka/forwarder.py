"""The history of all events becomes records of a Kafka topic, by position.

    lock progress, events (one transaction) -> send -> wait for all acknowledgements -> progress -> commit

Invariants
    KFW1  No event is skipped silently: the progress moves past one only if it was acknowledged, or refused
        and written down as such. The event behind one that was refused names that one as its previous.
    KFW2  A crash anywhere sends again what was not committed, under the same ids and positions.
    KFW3  Events are sent in the order of their positions, one batch after the other. So in each partition,
        and of each order, an event comes for the first time after all that are before it.
    KFW4  Memory holds one batch.

Which of several processes works is decided in ``role``.
"""

import logging
from contextlib import suppress
from dataclasses import dataclass
from random import Random

from ordermq.backoff import Backoff
from ordermq.clock import Deadline, monotonic_s
from ordermq.config.settings import DatabaseSettings, KafkaSettings
from ordermq.errors import (
    Contention,
    KafkaError,
    KafkaRefused,
    KafkaUnavailable,
    OrderMQError,
    StoreError,
    StoreRefused,
    StoreUnavailable,
    UsageError,
)
from ordermq.failpoints import failpoint
from ordermq.kafka.judging import Judgement, SendResult, judge
from ordermq.kafka.producing import EventProducer
from ordermq.kafka.records import MODES
from ordermq.kafka.role import LEASE_S, ForwardRole
from ordermq.lifecycle import ThreadService
from ordermq.log_events import EVENT_NOT_FORWARDED, FORWARD_RESUMED, FORWARD_STALLED
from ordermq.observe import metrics
from ordermq.observe.health import Health
from ordermq.outward import OutwardRecords
from ordermq.store import Session, StoreTransaction
from ordermq.store.feed_lag import position_before
from ordermq.store.feeds import FeedPlace
from ordermq.store.positions import count_positions

log = logging.getLogger(__name__)

_STANDBY_S = 1.0
_BEAT_EVERY_S = 0.5
_MOST_NAMED = 10  # events of a batch that were refused; all of them are in the table
_MOST_DOUBLINGS = 30


@dataclass(frozen=True)
class Moved:
    """What one turn came to: whether that is the end of the history."""

    is_at_end: bool = False


class Forwarder(ThreadService):
    """Forwards events to one topic until it is stopped; several may run, one works.

    ``start`` is the position to begin at instead of where the one before came to. With ``once`` it ends at
    the end of the history, and raises the first error instead of waiting until it is over. With either it
    raises AlreadyForwarded where another process works, instead of standing by.
    """

    def __init__(
        self,
        producer: EventProducer,
        records: OutwardRecords,
        database: DatabaseSettings,
        settings: KafkaSettings,
        *,
        health: Health,
        start: int | None = None,
        once: bool = False,
        random: Random | None = None,
    ) -> None:
        super().__init__("forward")
        self.role = ForwardRole(f"kafka:{producer.topic}")
        self.sent = 0
        self.refused = 0
        self._producer = producer
        self._records = records
        self._to_record = MODES[settings.mode]
        self._settings = settings
        self._health = health
        self._start = start
        self._once = once
        self._random = random or Random()
        self._session = Session(database, name="ordermq-forward")
        self._backoff = Backoff(0.2, settings.retry_cap_s)
        self._limit = settings.batch
        self._failures = 0  # in a row
        self._has_worked = False
        self._stands_by: Deadline | None = None
        self._stalled_at_s: float | None = None
        self._stalls: set[type[OrderMQError]] = set()

    def main(self) -> None:
        metrics.forward_active.set_function(lambda: float(self.role.is_active))
        try:
            while not self.stopping.is_set():
                self._health.beat()
                moved = self._turn()
                if moved is None:
                    self._stand_by()
                elif moved.is_at_end:
                    if self._once:
                        return
                    self._wait(min(self._settings.poll_s, LEASE_S / 4))
        finally:
            with suppress(StoreError):  # then the next process waits for the end of the lease
                self.role.give_up(self._session)
            self._producer.close()
            self._session.close()

    def forward_once(self) -> Moved | None:
        """Forward one batch; return what it did, None if another process forwards to this target.

        Raises KafkaUnavailable, KafkaRefused or a StoreError; what was acknowledged before is kept.
        """
        self._producer.connect()
        self.role.enrol(self._session)
        with self._session.transaction() as tx:
            claim = self.role.claim(tx)
            if claim is None:
                return None
            place, end = self._place(tx, claim.place)
            until = min(place.next_position + self._limit, end)
            batch = self._records.read(tx, place.next_position, until, place.last_event)
            failpoint("forward.after_read")
            records = [self._to_record(each.event) for each in batch if each.event is not None]
            result = self._producer.send(records, self._health.beat)
            failpoint("forward.after_send")
            judgement = judge(batch, result, place, until)
            reached = judgement.place.next_position
            if self._start is not None or reached > place.next_position:
                self.role.move(tx, judgement.place, judgement.refused)
            elif reached == until:
                self.role.renew(tx, claim)
            failpoint("forward.before_commit")
        failpoint("forward.after_commit")
        self._start = None
        self._count(judgement)
        self._limit = self._next_limit(has_failed=reached < until)
        if reached < until and not result.record_faults:
            raise self._failure(result)
        return Moved(is_at_end=reached >= end)

    def _stand_by(self) -> None:
        """Wait for the next look. Raises AlreadyForwarded where that is not what was asked for.

        A process that died is waited for in any case.
        """
        if self._once or self._start is not None:
            self._stands_by = self._stands_by or Deadline(LEASE_S + 2 * _STANDBY_S)
            if self._stands_by.has_passed:
                with self._session.transaction() as tx:
                    raise self.role.refusal(tx)
        self._wait(_STANDBY_S)

    def _place(self, tx: StoreTransaction, place: FeedPlace) -> tuple[FeedPlace, int]:
        """Return where to go on, and the end of the history. Raises UsageError if it is past that."""
        end = count_positions(tx)
        if self._start is not None:
            before = position_before(tx, self._records.names, self._start)
            place = FeedPlace(self._start, before, place.refused)
        if place.next_position > end:
            raise UsageError(
                f"{self.role.feed} has what is before position {place.next_position}, and the database"
                f" gave only {end}: it was restored from a backup, or is another one. What the topic has"
                " beyond it, others may have read; when you know what to do, start with --from POSITION"
            )
        return place, end

    def _failure(self, result: SendResult) -> KafkaError:
        kind = KafkaRefused if result.is_refused else KafkaUnavailable
        reason = result.failed[result.first] if result.first is not None else ""
        return kind(f"{len(result.failed)} events were not acknowledged and are sent again: {reason}")

    def _next_limit(self, *, has_failed: bool) -> int:
        """Return how many positions the next batch has: fewer after a failure, until one is alone."""
        return max(1, self._limit // 4) if has_failed else min(self._settings.batch, self._limit * 4)

    def _count(self, judgement: Judgement) -> None:
        self.sent += judgement.sent
        self.refused += len(judgement.refused)
        metrics.forwarded.inc(judgement.sent)
        metrics.forward_refused.inc(len(judgement.refused))
        for each in judgement.refused[:_MOST_NAMED]:
            log.error(
                "event %s of %s at position %d was not forwarded, those behind it are: %s",
                each.number, each.subject, each.position, each.reason,
                extra=EVENT_NOT_FORWARDED.having(position=each.position),
            )  # fmt: skip

    def _turn(self) -> Moved | None:
        """Like ``forward_once``, but an outage is waited out instead of raised."""
        try:
            moved = self.forward_once()
        except (KafkaError, StoreUnavailable, StoreRefused, Contention) as exc:
            if self._once or not (exc.retryable or self._has_worked):
                raise
            self._stand_still(exc)
            if isinstance(exc, StoreError):
                self._producer.close()  # as another process may forward from now on
            delay_s = self._backoff.delay_s(min(self._failures, _MOST_DOUBLINGS), self._random)
            self._failures += 1
            self._wait(delay_s)
            return Moved()
        self._has_worked = True
        self._go_on("active" if moved is not None else "standby")
        return moved

    def _stand_still(self, reason: OrderMQError) -> None:
        self._health.set_ready(False, str(reason))
        self.role.stand_down()
        if self._stalled_at_s is None:
            self._stalled_at_s = monotonic_s()
        if type(reason) not in self._stalls:
            self._stalls.add(type(reason))
            log.log(
                logging.WARNING if reason.retryable else logging.ERROR,
                "nothing is forwarded now, and it is tried again; no event is lost: %s", reason,
                extra=FORWARD_STALLED,
            )  # fmt: skip

    def _go_on(self, role: str) -> None:
        self._failures = 0
        self._health.set_ready(True, role)
        if self._stalled_at_s is not None:
            lasted_s = monotonic_s() - self._stalled_at_s
            log.warning(
                "events are forwarded again after %.1f s", lasted_s,
                extra=FORWARD_RESUMED.having(duration_s=lasted_s),
            )  # fmt: skip
            self._stalled_at_s = None
            self._stalls.clear()

    def _wait(self, timeout_s: float) -> None:
        deadline = Deadline(timeout_s)
        while not deadline.has_passed and not self.stopping.wait(min(_BEAT_EVERY_S, deadline.left_s)):
            self._health.beat()

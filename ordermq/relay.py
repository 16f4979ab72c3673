"""Rows of the outbox become messages: claim them, publish them, delete the confirmed ones.

    claim (advisory lock + rows, one transaction) -> publish in waves -> delete, refuse -> commit

Invariants
    REL1  One relay is active: rows are claimed under a transaction-scoped advisory lock.
        A relay that freezes loses it with its transaction (idle_in_transaction_s).
    REL2  A row is deleted only after its publishing was confirmed. A crash anywhere
        publishes it again under the same message_id; the inbox absorbs that.
    REL3  A row is published only after every earlier row of its correlation_id in the
        claim was confirmed. One that was not holds back the later ones of its own
        correlation_id and nothing else.
    REL4  Publishing a claim takes at most half of idle_in_transaction_s, however slow the
        broker is. In the second half of that time nothing more is handed to the publisher,
        so that what was handed over has time for its confirms. The rest of the claim stays
        for the next one.
    REL5  Nothing is claimed while the connection is not open. After an outage one row is
        claimed, and only after its confirm as many as usual: a broker that takes
        what it cannot confirm is not sent the same batch again and again.
    REL7  A queue that refuses is tried with a backoff of its own, and its other rows are put off
        meanwhile: they cost no publishing, no line and no further update. See ``refusing``.
    REL6  A claim holds at most MAX_CLAIM_BYTES of bodies and one body more.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import takewhile
from random import Random
from typing import Protocol

from ordermq.amqp import ConnectionState, Publisher, PublishOutcome
from ordermq.backoff import Backoff
from ordermq.clock import Deadline, monotonic_s
from ordermq.config.settings import DatabaseSettings, RelaySettings
from ordermq.errors import (
    BrokerError,
    CommitUnknown,
    ConnectionBlocked,
    ConnectionLost,
    Contention,
    OrderMQError,
    StoreError,
    StoreRefused,
    StoreUnavailable,
)
from ordermq.failpoints import failpoint
from ordermq.lifecycle import MessageInHand, ThreadService
from ordermq.log_events import (
    MESSAGE_REFUSED,
    QUEUE_TAKES_AGAIN,
    RELAY_COMMIT_UNKNOWN,
    RELAY_RESUMED,
    RELAY_STALLED,
)
from ordermq.message.envelope import Publishing, traced
from ordermq.message.headers import to_properties
from ordermq.message.signing import Signer
from ordermq.observe import metrics, tracing
from ordermq.observe.health import Health
from ordermq.observe.tracing import Tracer
from ordermq.refusing import RefusingQueues
from ordermq.store import Session, StoreTransaction, outbox
from ordermq.store.low_mark import LowMark
from ordermq.store.outbox import ClaimedRow

log = logging.getLogger(__name__)

_GAUGE_EVERY_S = 5.0
_BUSY_FOR_S = 1.0
_BEAT_EVERY_S = 0.5
PARKED_S = 600.0  # for so long a row of a queue that refuses is put off, unless it is released before
MOST_PARKED = 5_000  # in one transaction: rows of other queues wait for it
_LOOK_EVERY_S = 0.1  # how often the connection's state is read while it is not open


@dataclass
class Published:
    """The result of publishing a claim. ``unconfirmed`` counts the unsent and the unknown."""

    confirmed: list[int] = field(default_factory=list)
    refused: list[tuple[ClaimedRow, PublishOutcome, str]] = field(default_factory=list)
    unconfirmed: int = 0
    last_reason: str = ""


@dataclass
class Stall:
    """Since when nothing moves (monotonic), and the types of the reasons that were logged."""

    since_s: float
    logged: set[type[OrderMQError]]


def waves(rows: Sequence[ClaimedRow]) -> list[list[ClaimedRow]]:
    """Split a claim so that no wave holds two rows of one correlation_id (REL3).

    Rows of one correlation_id are in the order they were written, not in the order they came
    due: a transaction that waited for another's may have begun first.
    """
    result: list[list[ClaimedRow]] = []
    depth: dict[str, int] = {}
    for row in sorted(rows, key=lambda row: row.outbox_id):
        correlation_id = row.row.envelope.correlation_id
        wave = depth.get(correlation_id, 0)
        if correlation_id:
            depth[correlation_id] = wave + 1
        if wave == len(result):
            result.append([])
        result[wave].append(row)
    return result


def _trace_sent(
    tracer: Tracer, rows: Sequence[ClaimedRow], outcomes: Sequence[PublishOutcome], began_ns: int
) -> None:
    """Send a span for each routing key of a wave."""
    by_key: dict[str, list[tuple[ClaimedRow, PublishOutcome]]] = {}
    for row, outcome in zip(rows, outcomes, strict=False):
        by_key.setdefault(row.row.routing_key, []).append((row, outcome))
    for key, published in by_key.items():
        failures = {
            position: outcome.value
            for position, (_, outcome) in enumerate(published)
            if outcome is not PublishOutcome.CONFIRMED
        }
        messages = [traced(row.row.envelope, key, row.row.body) for row, _ in published]
        tracer.sent(messages, failures, began_ns)


class Meter(Protocol):
    """Is called after every turn of the relay, to show what it reads in transactions of its own.

    ``without_broker`` is called often while there is no turn, as the connection to the broker is not open or
    publishing fails.
    """

    def __call__(self, session: Session, *, is_active: bool) -> None: ...

    def without_broker(self, session: Session) -> None: ...


class Relay(ThreadService):
    """The relay's thread. It raises only what the process cannot go on after; see ``failure``.

    While the broker or the database is away it waits and tries again, for the broker up to
    ``give_up_after_s``; rows stay in the outbox. An error that only a person can mend ends
    the relay if it has never worked; later the relay waits until it is mended.
    """

    def __init__(
        self,
        publisher: Publisher,
        database: DatabaseSettings,
        settings: RelaySettings,
        *,
        exchange: str,
        health: Health,
        random: Random | None = None,
        meter: Meter | None = None,
        signer: Signer | None = None,
    ) -> None:
        super().__init__("relay")
        self._signer = signer
        self._meter = meter
        self._publisher = publisher
        self._settings = settings
        self._idle_in_transaction_s = database.idle_in_transaction_s
        self._exchange = exchange
        self._health = health
        self._random = random or Random()
        self._claims = Session(database, name="ordermq-relay")
        self._wakeups = Session(database, name="ordermq-relay listen")
        self._backoffs = {
            PublishOutcome.RETURNED: Backoff(settings.refused_base_s, settings.refused_cap_s),
            PublishOutcome.NACKED: Backoff(settings.refused_base_s, settings.nacked_cap_s),
        }
        self._mark = LowMark()
        self._in_flight = (0.0, list[ClaimedRow]())  # since when (monotonic), and the rows
        self._refusing = RefusingQueues(self._random)
        self._has_due_refused = False  # rows of queues that refuse are due, more than were put off at once
        self._has_moved = False  # rows were put off or released: there may be others to claim at once
        self._is_active = False
        self._outage_backoff = Backoff(0.2, 2.0)
        self._outages = 0  # since a row was last relayed or the outbox found empty
        self._stall: Stall | None = None
        self._has_worked = False
        self._gauged_s = 0.0

    def main(self) -> None:
        worked_s = monotonic_s()
        try:
            while not self.stopping.is_set():
                self._health.beat()
                outcome = self._turn()
                if outcome is None:
                    self._wait(self._settings.standby_s)
                elif outcome or self._has_moved:
                    worked_s = monotonic_s()
                else:
                    is_busy = monotonic_s() - worked_s < _BUSY_FOR_S
                    self._wait(self._settings.poll_busy_s if is_busy else self._settings.poll_idle_s)
        finally:
            self._claims.close()
            self._wakeups.close()

    def in_flight(self) -> Sequence[MessageInHand]:
        """Return the messages that are being published; some of them may be confirmed already."""
        since_s, rows = self._in_flight
        each = ((row.row.routing_key, row.row.envelope) for row in rows)
        return [MessageInHand(key, envelope.message_id, envelope.type, "", since_s) for key, envelope in each]

    def relay_once(self) -> int | None:
        """Claim and publish one batch; return how many rows were confirmed, None if on standby.

        Raises ConnectionLost or a StoreError; every row not confirmed is still there.
        """
        self._has_moved = False
        with self._claims.transaction() as tx:
            beside = self._refusing.keys if self._has_due_refused else ()
            limit = 1 if self._outages else self._settings.batch
            rows = outbox.claim(tx, limit, beside=beside, mark=self._mark)
            self._become(tx, is_active=rows is not None)
            if not rows and not self._refusing:
                return None if rows is None else 0
            failpoint("relay.after_claim")
            admitted = self._refusing.admitted(rows or [])
            self._in_flight = monotonic_s(), admitted
            try:
                result = self._publish(admitted)
            finally:
                self._in_flight = 0.0, []
            failpoint("relay.after_publish")
            outbox.delete(tx, result.confirmed)
            self._settle_refused(tx, rows or [], result)
            failpoint("relay.before_commit")
        failpoint("relay.after_commit")
        if result.unconfirmed:
            raise self._why_unconfirmed(result)
        return len(result.confirmed)

    def _become(self, tx: StoreTransaction, *, is_active: bool) -> None:
        """Read, as this relay becomes the active one, which queues refused before."""
        if is_active and not self._is_active:
            before = dict(outbox.refusing(tx))
            self._refusing = RefusingQueues(self._random, before, most_room=max(1, self._settings.batch // 4))
            self._has_due_refused = False
        self._is_active = is_active
        metrics.relay_active.set(is_active)

    def _settle_refused(self, tx: StoreTransaction, rows: Sequence[ClaimedRow], result: Published) -> None:
        """Put off rows of queues that refuse; release those whose time has come."""
        queues, now_s = self._refusing, monotonic_s()
        if not (result.refused or queues):
            return
        ids = set(result.confirmed)
        confirmed = Counter(row.row.routing_key for row in rows if row.outbox_id in ids)
        queues.note(confirmed, [(row, self._backoff(how), why) for row, how, why in result.refused], now_s)
        outbox.refused(tx, [self._refusal(*each) for each in result.refused])
        self._log_refused(result.refused, now_s)
        if result.unconfirmed:
            return
        moved = self._park([row for row in rows if row.outbox_id not in ids], tx)
        if not self._has_due_refused:
            moved += self._release(tx, now_s)
        self._has_moved = moved > 0

    def _park(self, unconfirmed: Sequence[ClaimedRow], tx: StoreTransaction) -> int:
        """Put off due rows of queues that refuse, at most MOST_PARKED; return how many."""
        queues, left = self._refusing, MOST_PARKED
        for key in queues.keys if self._has_due_refused else queues.crowded(unconfirmed):
            left -= outbox.park(tx, key, queues.reason(key), PARKED_S, limit=left, low=self._mark.low)
        self._has_due_refused = left == 0
        return MOST_PARKED - left

    def _release(self, tx: StoreTransaction, now_s: float) -> int:
        """Make rows due of queues whose time has come; return how many."""
        total = 0
        for key, room in self._refusing.due(now_s):
            released = outbox.release(tx, key, limit=room)
            is_left = not released and outbox.has_refused(tx, key)
            if self._refusing.released(key, released, now_s, is_left=is_left):
                log.warning(
                    "no message to %r waits any more for a queue that takes it", key, extra=QUEUE_TAKES_AGAIN
                )
            total += released
        return total

    def _log_refused(self, refused: Sequence[tuple[ClaimedRow, PublishOutcome, str]], now_s: float) -> None:
        """Log the refusals of each queue: at once, and then one line an interval with their number."""
        counts = Counter(row.row.routing_key for row, _, _ in refused)
        for row, _, reason in refused:
            key = row.row.routing_key
            if count := self._refusing.to_say(key, counts.pop(key, 0), now_s):
                log.error(
                    "message %s to %r was %s (%d refusals since the last such line); later messages of its"
                    " correlation id wait until a queue takes it",
                    row.row.envelope.message_id, key, reason, count,
                    extra=MESSAGE_REFUSED.having(
                        queue=key,
                        message_id=row.row.envelope.message_id,
                        correlation_id=row.row.envelope.correlation_id,
                    ),
                )  # fmt: skip

    def _turn(self) -> int | None:
        """Like ``relay_once``, but an outage is waited out instead of raised."""
        if not self._is_connected():
            return 0
        try:
            done = self.relay_once()
            self._has_worked = True
            self._gauge(is_active=done is not None)
        except (StoreUnavailable, StoreRefused, Contention, BrokerError) as exc:
            if isinstance(exc, CommitUnknown):
                log.warning(
                    "commit unknown: messages that were confirmed may be published once more",
                    extra=RELAY_COMMIT_UNKNOWN,
                )
            if not (exc.retryable or self._has_worked):
                raise
            self._stand_still(exc)
            if isinstance(exc, BrokerError):
                self._do_without_broker()
            # While the connection is not open, the wait for it is long enough.
            if self._publisher.connection.state is ConnectionState.OPEN:
                self.stopping.wait(self._outage_backoff.delay_s(self._outages, self._random))
            self._outages += 1
            return 0
        self._go_on("active" if done is not None else "standby")
        return done

    def _is_connected(self) -> bool:
        """Wait for an open connection; False if the relay is to stop. Raises what ended the publisher."""
        connection = self._publisher.connection
        while not self.stopping.is_set():
            if self._publisher.failure is not None:
                raise self._publisher.failure  # also with nothing to publish
            state = connection.state
            if state is ConnectionState.OPEN:
                return True
            if state is ConnectionState.BLOCKED:
                self._stand_still(
                    ConnectionBlocked("the broker has raised a resource alarm and reads no messages")
                )
            elif state is ConnectionState.WAITING:
                self._stand_still(ConnectionLost(f"no connection to the broker: {connection.last_error}"))
            if state in (ConnectionState.BLOCKED, ConnectionState.WAITING):
                self._gauge_what_waits()
            self._do_without_broker()
            self._health.beat()
            self.stopping.wait(_LOOK_EVERY_S)
        return False

    def _stand_still(self, reason: OrderMQError) -> None:
        """Log why nothing moves: once for each type of reason, not for each try."""
        self._health.set_ready(False, str(reason))
        metrics.relay_active.set(0)
        kind = type(reason)
        if self._stall is None:
            self._stall = Stall(monotonic_s(), set())
        if kind not in self._stall.logged:
            self._stall.logged.add(kind)
            log.log(
                logging.WARNING if reason.retryable else logging.ERROR,
                "the relay stands still and tries again; rows stay in the outbox: %s", reason,
                extra=RELAY_STALLED,
            )  # fmt: skip

    def _go_on(self, role: str) -> None:
        self._outages = 0
        self._health.set_ready(True, role)
        if self._stall is not None:
            lasted_s = monotonic_s() - self._stall.since_s
            log.warning(
                "the relay goes on after %.1f s", lasted_s, extra=RELAY_RESUMED.having(duration_s=lasted_s)
            )
            self._stall = None

    def _why_unconfirmed(self, result: Published) -> BrokerError:
        text = f"{result.unconfirmed} messages got no confirm and are sent again: {result.last_reason}"
        if (refusal := self._publisher.refusal) is not None:
            return refusal
        is_blocked = self._publisher.connection.state is ConnectionState.BLOCKED
        return ConnectionBlocked(text) if is_blocked else ConnectionLost(text)

    def _publish(self, rows: Sequence[ClaimedRow]) -> Published:
        result = Published()
        held: set[str] = set()
        deadline = Deadline(self._idle_in_transaction_s / 2)
        last_begin = Deadline(self._idle_in_transaction_s / 4)
        for wave in waves(rows):
            todo = [row for row in wave if row.row.envelope.correlation_id not in held]
            in_time = takewhile(lambda _: not last_begin.has_passed, todo)
            tracer = tracing.tracer()
            began_ns = tracer.now_ns() if tracer is not None else 0
            outcomes = self._publisher.publish_many(map(self._publishing, in_time), timeout_s=deadline.left_s)
            if tracer is not None:
                _trace_sent(tracer, todo, outcomes, began_ns)
            for position, (row, outcome) in enumerate(zip(todo, outcomes, strict=False)):
                if outcome is not PublishOutcome.CONFIRMED:
                    held.add(row.row.envelope.correlation_id)
                self._note(result, row, outcome, outcomes.reasons.get(position, ""))
            held.discard("")  # a row without a correlation id holds back no other
            if result.unconfirmed or last_begin.has_passed:
                break
            self._health.beat()
        return result

    def _note(self, result: Published, row: ClaimedRow, outcome: PublishOutcome, reason: str) -> None:
        if outcome is PublishOutcome.CONFIRMED:
            result.confirmed.append(row.outbox_id)
        elif outcome in (PublishOutcome.UNKNOWN, PublishOutcome.UNSENT):
            result.unconfirmed += 1
            result.last_reason = reason or result.last_reason
        else:
            refusal = f"{outcome.value}: {reason}" if reason else outcome.value
            result.refused.append((row, outcome, refusal))

    def _publishing(self, row: ClaimedRow) -> Publishing:
        properties = to_properties(row.row.envelope, row.due_at)
        publishing = Publishing(self._exchange, row.row.routing_key, properties, row.row.body)
        return self._signer.sign(publishing) if self._signer is not None else publishing

    def _refusal(self, row: ClaimedRow, outcome: PublishOutcome, reason: str) -> tuple[int, str, float]:
        if row.row.routing_key in self._refusing:
            return row.outbox_id, reason, PARKED_S
        return row.outbox_id, reason, self._backoff(outcome).delay_s(row.refusals, self._random)

    def _backoff(self, outcome: PublishOutcome) -> Backoff:
        return self._backoffs.get(outcome, self._backoffs[PublishOutcome.RETURNED])

    def _wait(self, timeout_s: float) -> None:
        """Wait for a NOTIFY or the stop, at most ``timeout_s``; beat for the watchdog meanwhile."""
        deadline = Deadline(timeout_s)
        while not self._is_woken(min(_BEAT_EVERY_S, deadline.left_s)):
            if deadline.has_passed or self.stopping.is_set():
                return
            self._health.beat()

    def _is_woken(self, timeout_s: float) -> bool:
        try:
            if not self._wakeups.is_open:
                self._wakeups.listen(outbox.CHANNEL)
            return self._wakeups.wait(timeout_s)
        except StoreError:
            self._wakeups.close()
            return self.stopping.wait(timeout_s)

    def _gauge(self, *, is_active: bool) -> None:
        if self._meter is not None:
            self._meter(self._claims, is_active=is_active)
        if is_active:
            self._gauge_outbox()
        else:
            self._gauged_s = 0.0
            metrics.outbox_pending.set(0)
            metrics.outbox_oldest_seconds.set(0)

    def _gauge_what_waits(self) -> None:
        # Without a broker no relay is active, and somebody must show what waits for it.
        with suppress(StoreError):  # the relay says so when it claims
            self._gauge_outbox()

    def _do_without_broker(self) -> None:
        if self._meter is not None:
            with suppress(StoreError):  # as above
                self._meter.without_broker(self._claims)

    def _gauge_outbox(self) -> None:
        now_s = monotonic_s()
        if now_s - self._gauged_s < _GAUGE_EVERY_S:
            return
        self._gauged_s = now_s
        with self._claims.transaction() as tx:
            rows, oldest_s = outbox.pending(tx, low=self._mark.low)
        metrics.outbox_pending.set(rows)
        metrics.outbox_oldest_seconds.set(oldest_s)

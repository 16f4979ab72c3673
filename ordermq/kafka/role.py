"""Which of several processes forwards: the one whose lease stands in the row of the feed.

Invariants
    FRO1  While the holder renews its lease, no other process gets a turn. One that ends gives it up, and one
        that died is replaced when the lease is over.
    FRO2  A process calls itself active only while its lease lasts, counted by its own clock from before the
        database counted. So two are never active at once, also when one was frozen.

Owned by the forwarder's thread; any thread may ask ``is_active``.
"""

import logging
import math
from collections.abc import Sequence
from functools import partial

from ordermq.clock import monotonic_s
from ordermq.errors import AlreadyForwarded, UsageError
from ordermq.log_events import FORWARD_BEGINS
from ordermq.store import Session, StoreTransaction
from ordermq.store.feeds import (
    FeedClaim,
    FeedPlace,
    RefusedEvent,
    claim_feed,
    enrol_feed,
    give_up_lease,
    holder_name,
    move_feed,
    read_holder,
    renew_lease,
)

log = logging.getLogger(__name__)

LEASE_S = 8.0
"""For so long after its last sign a process that died is waited for."""


class ForwardRole:
    """The role of this process for one feed."""

    def __init__(self, feed: str) -> None:
        self.feed = feed
        self.name = holder_name()
        self._is_enrolled = False
        self._is_ours = False
        self._until_s = -math.inf

    @property
    def is_active(self) -> bool:
        """True while this process is the one that forwards. FRO2."""
        return monotonic_s() < self._until_s

    def enrol(self, session: Session) -> None:
        """Make the row of the feed, if there is none, when it is asked first."""
        if not self._is_enrolled:
            with session.transaction() as tx:
                enrol_feed(tx, self.feed)
            self._is_enrolled = True

    def claim(self, tx: StoreTransaction) -> FeedClaim | None:
        """Lock the feed until the transaction ends; None if another process has it, or its lease.

        Raises UsageError if the row was removed since this process began.
        """
        found = claim_feed(tx, self.feed, self.name)
        if found is not None:
            if not self._is_ours:
                log.info("this process forwards events to %s", self.feed, extra=FORWARD_BEGINS)
            self._is_ours = True
            return found
        holder = read_holder(tx, self.feed)
        if holder is None:
            raise UsageError(f"feed {self.feed} was removed; start again to begin anew")
        self._is_ours = holder == self.name
        if not self._is_ours:
            self.stand_down()
        return None

    def move(self, tx: StoreTransaction, to: FeedPlace, refused: Sequence[RefusedEvent]) -> None:
        """Write down how far the feed is; that renews the lease, too."""
        self._hold_from_now(tx)
        move_feed(tx, self.feed, self.name, to, refused, lease_s=LEASE_S)

    def renew(self, tx: StoreTransaction, found: FeedClaim) -> None:
        """Renew the lease if less than half of it is left: an idle process writes seldom."""
        if found.left_s < LEASE_S / 2:
            self._hold_from_now(tx)
            renew_lease(tx, self.feed, self.name, LEASE_S)

    def stand_down(self) -> None:
        """Call this process inactive, until its next turn succeeds. Its lease goes on."""
        self._until_s = -math.inf

    def give_up(self, session: Session) -> None:
        """End the lease, so that another process takes over at once. Raises StoreError."""
        self.stand_down()
        if self._is_ours:
            with session.transaction() as tx:
                give_up_lease(tx, self.feed, self.name)

    def refusal(self, tx: StoreTransaction) -> AlreadyForwarded:
        """Return the error of a process that was not to stand by."""
        return AlreadyForwarded(
            f"{read_holder(tx, self.feed)} forwards events to {self.feed}; stop that process first, or"
            " leave it to its work"
        )

    def _hold_from_now(self, tx: StoreTransaction) -> None:
        tx.after_commit(partial(self._hold, monotonic_s() + LEASE_S))

    def _hold(self, until_s: float) -> None:
        self._until_s = until_s

"""Which of several processes forwards: the one whose lease stands in the target's row.

Invariants
    FRO1  While the holder renews its lease, no other process gets a turn. One that ends gives it up, and one
        that died is replaced when the lease is over.
    FRO2  A process calls itself active only while its lease lasts, counted by its own clock from before the
        database counted. So two are never active at once, also when one was frozen.

Owned by the forwarder's thread; any thread may ask ``is_active``.
"""

import logging
import math
import os
import secrets
import socket
from collections.abc import Sequence
from functools import partial

from ordermq.clock import monotonic_s
from ordermq.errors import AlreadyForwarded, UsageError
from ordermq.log_events import FORWARD_BEGINS
from ordermq.store import Session, StoreTransaction
from ordermq.store.forwards import (
    LEASE_S,
    FeedClaim,
    ForwardProgress,
    Unforwarded,
    claim,
    enrol,
    give_up,
    move,
    read_holder,
    renew,
)

log = logging.getLogger(__name__)


class ForwardRole:
    """The role of this process for one target."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.name = f"{socket.gethostname()[:64]}:{os.getpid()}:{secrets.token_hex(4)}"
        self._is_enrolled = False
        self._is_ours = False
        self._until_s = -math.inf

    @property
    def is_active(self) -> bool:
        """True while this process is the one that forwards. FRO2."""
        return monotonic_s() < self._until_s

    def enrol(self, session: Session) -> None:
        """Make the row of the target, if there is none, when it is asked first."""
        if not self._is_enrolled:
            with session.transaction() as tx:
                enrol(tx, self.target)
            self._is_enrolled = True

    def claim(self, tx: StoreTransaction) -> FeedClaim | None:
        """Lock the target's row until the transaction ends; None if another process has it, or its lease.

        Raises UsageError if the row was removed since this process began.
        """
        found = claim(tx, self.target, self.name)
        if found is not None:
            if not self._is_ours:
                log.info("this process forwards events to %s", self.target, extra=FORWARD_BEGINS)
            self._is_ours = True
            return found
        holder = read_holder(tx, self.target)
        if holder is None:
            raise UsageError(f"{self.target} was removed from ordermq.forwards; start again to begin anew")
        self._is_ours = holder == self.name
        if not self._is_ours:
            self.stand_down()
        return None

    def move(self, tx: StoreTransaction, progress: ForwardProgress, refused: Sequence[Unforwarded]) -> None:
        """Write down how far the target has come; that renews the lease, too."""
        self._hold_from_now(tx)
        move(tx, self.target, self.name, progress, refused)

    def renew(self, tx: StoreTransaction, found: FeedClaim) -> None:
        """Renew the lease if less than half of it is left: an idle process writes seldom."""
        if found.left_s < LEASE_S / 2:
            self._hold_from_now(tx)
            renew(tx, self.target, self.name)

    def stand_down(self) -> None:
        """Call this process inactive, until its next turn succeeds. Its lease goes on."""
        self._until_s = -math.inf

    def give_up(self, session: Session) -> None:
        """End the lease, so that another process takes over at once. Raises StoreError."""
        self.stand_down()
        if self._is_ours:
            with session.transaction() as tx:
                give_up(tx, self.target, self.name)

    def refusal(self, tx: StoreTransaction) -> AlreadyForwarded:
        """Return the error of a process that was not to stand by."""
        return AlreadyForwarded(
            f"{read_holder(tx, self.target)} forwards events to {self.target}; stop that process first, or"
            " leave it to its work"
        )

    def _hold_from_now(self, tx: StoreTransaction) -> None:
        tx.after_commit(partial(self._hold, monotonic_s() + LEASE_S))

    def _hold(self, until_s: float) -> None:
        self._until_s = until_s

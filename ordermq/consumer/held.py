"""The leases that one worker of external handlers holds, and the calls under way under them."""

from collections.abc import Iterable, Sequence

from ordermq.config.settings import ConsumerSettings
from ordermq.consumer.received import Received
from ordermq.store import StoreTransaction, leases


class HeldLeases:
    """What this worker knows of its own leases, beside what the table says. Owned by its thread.

    A lease this process holds for a message it has not called is its own to take again (EXT6).
    """

    def __init__(self, queue: str, owner: str, settings: ConsumerSettings) -> None:
        self._queue = queue
        self._owner = owner
        self._lease_s = settings.lease_s
        self._call_timeout_s = settings.call_timeout_s
        # message_id to whether our lease was taken over from another owner; its commit may be unknown
        self._held: dict[str, bool] = {}
        self._called: set[str] = set()  # message_ids of the calls under way

    def take(self, tx: StoreTransaction, messages: Sequence[Received]) -> leases.Leases:
        """Take the leases that are free, have run out, or are ours already.

        One under which a call is under way counts as foreign: the message was delivered again. The
        result says too which of the messages the inbox knows as settled (EXT4).
        """
        ids = [each.message_id for each in messages if each.message_id not in self._called]
        again = leases.retake(
            tx, self._queue, [each for each in ids if each in self._held],
            owner=self._owner, lease_s=self._lease_s,
        )  # fmt: skip
        free = [each for each in ids if each not in again]
        taken = leases.take(
            tx, self._queue, free,
            owner=self._owner, lease_s=self._lease_s, asked=[each.key for each in messages],
        )  # fmt: skip
        self._held |= dict.fromkeys(taken.fresh, False) | dict.fromkeys(taken.resumed, True)
        called = self._called.intersection(each.message_id for each in messages)
        return leases.Leases(
            fresh=taken.fresh | {each for each in again if not self._held[each]},
            resumed=taken.resumed | {each for each in again if self._held[each]},
            foreign_s=taken.foreign_s | dict.fromkeys(called, self._call_timeout_s),
            settled=taken.settled,
        )

    def release(self, tx: StoreTransaction, messages: Iterable[Received]) -> None:
        """Give leases up in the transaction that settles their messages.

        Another owner's stay, and those under which a call is under way.
        """
        ids = [each.message_id for each in messages if each.message_id not in self._called]
        leases.release(tx, self._queue, ids, self._owner)

    def calling(self, messages: Iterable[Received]) -> None:
        """Note that calls of these messages are about to be made."""
        self._called.update(each.message_id for each in messages)

    def returned(self, messages: Iterable[Received]) -> None:
        """Note that the calls of these messages are under way no more."""
        self._called.difference_update(each.message_id for each in messages)

    def forget(self, message: Received) -> None:
        """Note that a message is settled; without effect if another delivery of it is being called."""
        if message.message_id not in self._called:
            self._held.pop(message.message_id, None)

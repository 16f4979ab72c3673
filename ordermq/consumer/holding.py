"""Messages of what a person holds back: they wait in the outbox, and come again to see.

Invariants
    HLD2  A message of a held id is not handled. It is put off with no attempt counted and no age added.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ordermq.consumer.received import Received, Unreadable
from ordermq.consumer.settle import HeldBack, Settler, traces_of
from ordermq.message.envelope import MAX_HOP
from ordermq.store import holds

LOOK_AGAIN_S = 30.0


@dataclass
class LiveHolds:
    """Whether anything is held back now. The control says it once a second."""

    are_any: bool = False


def put_off_held(settler: Settler, messages: Sequence[Received]) -> list[Received]:
    """Put off the messages of held ids, in one transaction; return them."""
    with settler.session.transaction(traces=traces_of(messages)) as tx:
        held = holds.held_among(tx, (each.envelope.correlation_id for each in messages))
        again = [
            (each, HeldBack(f"held by {hold.held_by}: {hold.hold_reason}", LOOK_AGAIN_S))
            for each in messages
            if (hold := held.get(each.envelope.correlation_id)) is not None
            and each.envelope.hop < MAX_HOP
            and not isinstance(each, Unreadable)
        ]
        settler.send_again(tx, again)
    settler.note_sent(tx)
    settler.count_again(again)
    return [each for each, _ in again]

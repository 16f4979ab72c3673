"""What follows from a batch that was sent: where the progress moves to, what is refused for good. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ordermq.outward import OutwardEvent, last_named
from ordermq.store.feeds import FeedPlace, RefusedEvent


@dataclass
class SendResult:
    """What became of the records of a batch, by their places in it; all others were acknowledged.

    refused        never sent, for what they are: reason
    failed         not acknowledged: reason. Records behind one of these in its partition are among them
    record_faults  of these, the places of those that a broker refused for what they, or their neighbours, are
    is_refused     a login, a permission or the topic is missing: a person has to mend it
    """

    refused: dict[int, str] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)
    record_faults: set[int] = field(default_factory=set)
    is_refused: bool = False

    @property
    def first(self) -> int | None:
        """The first place of those not acknowledged; None if all were."""
        return min(self.failed, default=None)


@dataclass(frozen=True)
class Judgement:
    """``place`` is where the next batch begins; ``sent`` events of this one were acknowledged."""

    place: FeedPlace
    sent: int
    refused: tuple[RefusedEvent, ...]


def judge(batch: Sequence[OutwardEvent], result: SendResult, place: FeedPlace, until: int) -> Judgement:
    """Return what follows from ``batch``, which begins at ``place`` and ends before ``until``.

    The progress moves up to the first that was not acknowledged, and no further. One that a broker refuses
    for what it is, when it was sent alone, is refused for good.
    """
    sent = [each for each in batch if each.event is not None]
    reasons = {sent[place].position: reason for place, reason in result.refused.items()}
    first = result.first
    if first is not None and len(sent) == 1 and first in result.record_faults:
        reasons[sent[first].position] = result.failed[first]
        first = None
    next_position = until if first is None else sent[first].position
    taken = [each for each in batch if each.position < next_position]
    refused = tuple(
        each.refused(reason) for each in taken if (reason := each.reason or reasons.get(each.position, ""))
    )
    to = FeedPlace(next_position, last_named(taken, place.last_event), place.refused + len(refused))
    return Judgement(to, len(taken) - len(refused), refused)

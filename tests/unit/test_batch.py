"""Batches: any of their messages may refuse, raise or contend, and the database may go (BAT1, BAT2)."""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ordermq.consumer.batch import run_batch
from ordermq.consumer.neighbours import Neighbours
from ordermq.consumer.received import Readable
from ordermq.consumer.settle import CANNOT_ANSWER, NotAllDone
from ordermq.errors import CommitUnknown, Contention, DataRefused, StoreRefused, StoreUnavailable
from ordermq.message.envelope import Envelope
from ordermq.task.outcome import DONE, Dead, Postpone, Retry
from ordermq.task.retry import RetryPolicy, outcome_of_error

NOW = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = RetryPolicy(immediate=2)
HANDLER = SimpleNamespace(type="T")


@dataclass
class Nature:
    """What a message does to its handler: answers, raises, or contends so many times first."""

    answer: object = DONE
    raises: type[BaseException] | None = None
    contends: int = 0

    @property
    def is_innocent(self):
        return self.answer == DONE and self.raises is None and self.contends == 0


class Fakes:
    """Settles as Settler does, in memory. ``troubles`` befall one transaction after the other."""

    queue = "q"

    def __init__(self, natures, troubles=()):
        self.natures = dict(enumerate(natures))
        self.troubles = list(troubles)
        self.inbox = {}
        self.neighbours = Neighbours()
        self.duplicates = 0  # what only the inbox kept from being settled twice
        self.runs = 0

    def run(self, messages):
        self.runs += 1
        fresh = [message for message in messages if message.tags[0] not in self.inbox]
        self.duplicates += len(messages) - len(fresh)
        natures = [self.natures[message.tags[0]] for message in fresh]
        for nature in natures:
            if nature.contends:
                nature.contends -= 1
                raise Contention("deadlock detected")
            if nature.raises is not None:
                raise nature.raises("as asked")
        if any(nature.answer != DONE for nature in natures):
            raise NotAllDone(
                [(message, nature.answer) for message, nature in zip(fresh, natures, strict=True)]
            )
        self._commit({message.tags[0]: DONE for message in fresh})
        return fresh

    def settle(self, decided):
        again = {
            message.tags[0]: outcome for message, outcome in decided if isinstance(outcome, Retry | Postpone)
        }
        deaths = {message.tags[0]: outcome for message, outcome in decided if isinstance(outcome, Dead)}
        assert len(again) + len(deaths) == len(decided)
        if again:
            self._commit(again)
        for tag, outcome in deaths.items():
            self._commit({tag: outcome})

    def settle_failed(self, message, error, *, outcome=None):
        self.settle([(message, outcome or outcome_of_error(error))])

    def policy_of(self, handler):
        return POLICY

    def _commit(self, outcomes):
        trouble = self.troubles.pop(0) if self.troubles else None
        if trouble not in (None, CommitUnknown):
            raise trouble("before the commit")
        self.duplicates += len(outcomes.keys() & self.inbox.keys())
        self.inbox = outcomes | self.inbox
        if trouble is CommitUnknown:
            raise trouble("the commit has happened")


def messages(count):
    return [
        Readable(Envelope(f"m{n}", "T", 1, f"o{n}", "", NOW), b"{}", 1, (n,), False, HANDLER, None)
        for n in range(count)
    ]  # fmt: skip


def persist(settler, batch):
    """Run the same messages again as long as BAT1 says they may be."""
    while True:
        try:
            return run_batch(settler, batch)
        except (*CANNOT_ANSWER, Contention):
            continue


refusals = st.sampled_from([Retry("later"), Retry("soon", 1.0), Postpone("early"), Dead("never")])
failures = st.sampled_from([RuntimeError, DataRefused, SystemExit, MemoryError])
natures = st.one_of(
    st.builds(Nature),
    st.builds(Nature, answer=refusals),
    st.builds(Nature, raises=failures),
    st.builds(Nature, contends=st.integers(1, 4)),
)
troubles = st.sampled_from([None, None, StoreUnavailable, StoreRefused, CommitUnknown, Contention])


@given(st.lists(natures, min_size=1, max_size=12))
@settings(max_examples=300)
def test_every_message_is_settled_once_by_its_own_outcome_whatever_fails_beside_it(mixed):
    contended = {tag: nature.contends for tag, nature in enumerate(mixed)}
    settler = Fakes(mixed)
    run_batch(settler, messages(len(mixed)))
    assert settler.duplicates == 0
    assert sorted(settler.inbox) == list(range(len(mixed)))
    for tag, outcome in settler.inbox.items():
        nature = settler.natures[tag]
        if nature.raises is not None:
            assert outcome == outcome_of_error(nature.raises("as asked"))
        elif contended[tag] > POLICY.immediate and outcome != nature.answer:
            assert isinstance(outcome, Retry)
        else:
            assert outcome == nature.answer


@given(st.lists(natures, min_size=1, max_size=8), st.lists(troubles, max_size=8))
@settings(max_examples=300)
def test_a_database_that_comes_and_goes_settles_nothing_twice_and_fails_no_innocent_message(mixed, troubles):
    innocent = {tag for tag, nature in enumerate(mixed) if nature.is_innocent}
    settler = Fakes(mixed, troubles)
    persist(settler, messages(len(mixed)))
    assert sorted(settler.inbox) == list(range(len(mixed)))
    if troubles.count(Contention) <= POLICY.immediate:
        assert {tag for tag, outcome in settler.inbox.items() if outcome == DONE} >= innocent


@pytest.mark.parametrize("size", [1, 2, 7, 200])
def test_the_culprit_is_found_by_halving_not_one_by_one(size):
    settler = Fakes([Nature(raises=RuntimeError), *(Nature() for _ in range(size - 1))])
    run_batch(settler, messages(size))
    assert settler.runs <= 2 * size.bit_length() + 1
    assert Counter(type(outcome).__name__ for outcome in settler.inbox.values()) == Counter(
        Retry=1, **({"Done": size - 1} if size > 1 else {})
    )

"""PublishBatch: what was not claimed was never sent (PBA1), and nothing changes after closing (PBA2)."""

import threading

from ordermq.amqp.batch import Latch, PublishBatch
from ordermq.amqp.confirms import PublishOutcome
from ordermq.message.envelope import Properties, Publishing


def batch_of(count):
    return PublishBatch([Publishing("x", "k", Properties(message_id=f"m{n}"), b"") for n in range(count)])


def test_claims_follow_each_other_and_end():
    batch = batch_of(5)

    assert [list(batch.claim(2)) for _ in range(4)] == [[0, 1], [2, 3], [4], []]
    assert batch.is_claimed


def test_the_last_publishing_settled_wakes_the_caller():
    batch = batch_of(2)
    batch.resolve(1, PublishOutcome.CONFIRMED, "")
    assert not batch.done.wait(0.0)

    batch.resolve(0, PublishOutcome.NACKED, "queue full")

    assert batch.done.wait(0.0)
    assert batch.outcomes == [PublishOutcome.NACKED, PublishOutcome.CONFIRMED]
    assert batch.reasons == {0: "queue full"}


def test_closing_calls_the_claimed_unknown_and_the_rest_unsent():
    batch = batch_of(4)
    batch.claim(3)
    batch.resolve(1, PublishOutcome.CONFIRMED, "")

    counts = batch.close(unsent="never sent", unknown="no confirm")

    assert batch.outcomes == [
        PublishOutcome.UNKNOWN,
        PublishOutcome.CONFIRMED,
        PublishOutcome.UNKNOWN,
        PublishOutcome.UNSENT,
    ]
    assert batch.reasons == {0: "no confirm", 2: "no confirm", 3: "never sent"}
    assert counts == {PublishOutcome.UNKNOWN: 2, PublishOutcome.UNSENT: 1}


def test_nothing_is_claimed_from_a_closed_batch():
    batch = batch_of(3)
    batch.close(unsent="", unknown="")

    assert list(batch.claim(3)) == []


def test_a_latch_lets_go_whoever_waits_and_whoever_comes_later_however_often_it_is_opened():
    latch = Latch()
    went_on = []
    waiting = threading.Thread(target=lambda: went_on.append(latch.wait(10.0)))
    waiting.start()
    assert not latch.wait(0.0)
    latch.open()
    latch.open()
    waiting.join(10.0)
    assert went_on == [True]
    assert latch.wait(0.0)

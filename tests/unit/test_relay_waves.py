"""Waves: rows of one order never travel together (REL3)."""

from random import Random

from ordermq.message.envelope import Envelope
from ordermq.relay import waves
from ordermq.store.outbox import ClaimedRow
from ordermq.store.outgoing import OutboxRow


def row(outbox_id, correlation_id):
    envelope = Envelope(
        message_id=str(outbox_id), type="T", version=1, correlation_id=correlation_id, traceparent="",
        occurred_at=None,
    )  # fmt: skip
    return ClaimedRow(outbox_id, 0, OutboxRow("q", envelope, b"{}"))


def test_no_wave_holds_two_rows_of_one_order_and_each_order_keeps_its_order():
    for seed in range(100):
        rng = Random(seed)
        rows = [row(n, rng.choice(["a", "b", "c", ""])) for n in range(rng.randint(0, 40))]

        result = waves(rows)

        assert sorted(each.outbox_id for wave in result for each in wave) == list(range(len(rows)))
        for wave in result:
            named = [each.row.envelope.correlation_id for each in wave if each.row.envelope.correlation_id]
            assert len(named) == len(set(named)), f"seed {seed}"
        for order in "abc":
            ids = [e.outbox_id for wave in result for e in wave if e.row.envelope.correlation_id == order]
            assert ids == sorted(ids), f"seed {seed}"


def test_rows_of_no_order_need_no_second_wave():
    assert len(waves([row(n, "") for n in range(10)])) == 1

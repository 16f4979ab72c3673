"""Work that got lost on its way, through the whole pipeline: found, sent again, done once."""

import pytest

from ordermq.testing import wait_until
from tests.support.pipeline import PROCESSES, QUEUES
from tests.support.shop import an_order

REPLAY = ("ordermq-publish", "replay", "--yes", "--reason", "it was lost")
STUCK = ("--where", "stuck", "--older-than", "0", "--allow-notify")


def orders(prefix, count):
    return [an_order(f"{prefix}-{number}") for number in range(count)]


def replay(pipeline, *options):
    """Replay messages of orders; return the summary, in which the sums agree."""
    done = pipeline.json(*REPLAY, *(options or STUCK))
    assert done["in"] == done["sent"] + done["absorbed"] + done["refused"]
    return done


def spread(pipeline):
    """Have orders wait at every step: 5 for stock, 5 for payment, 5 for shipment, points and notification."""
    pipeline.stock(p_1=100)
    for name, working in (("paid", ("relay", "inventory", "payment")), ("reserved", ("relay", "inventory"))):
        pipeline.begin(*working)
        pipeline.place(orders(name, 5))
        pipeline.wait_for(5, name)
        pipeline.wait_outbox_empty()
        pipeline.stop()
    pipeline.begin("relay")
    pipeline.place(orders("placed", 5))
    pipeline.wait_outbox_empty()
    pipeline.stop()


def purge(pipeline, vhost):
    pipeline.purge(*QUEUES)


def delete(pipeline, vhost):
    for queue in QUEUES:
        vhost.broker.api("DELETE", f"queues/{vhost.name}/orders.{queue}")
    pipeline.ok("ordermq", "topology", "apply")


def wipe(pipeline, vhost):
    vhost.broker.delete_vhost(vhost.name)
    vhost.broker.add_vhost(vhost.name)
    pipeline.ok("ordermq", "topology", "apply")


@pytest.mark.parametrize("lose", [purge, delete, wipe])
def test_what_a_broker_lost_is_sent_again_and_every_order_comes_to_rest(pipeline, vhost, lose):
    spread(pipeline)
    lose(pipeline, vhost)
    assert replay(pipeline)["sent"] == 5 + 5 + 3 * 5
    pipeline.begin(*PROCESSES)
    pipeline.end_well(15)
    assert pipeline.count("completed") == 15
    assert pipeline.value("SELECT count(*) FROM ordermq.actions WHERE action = 'order.replay'") == 15


def test_what_was_not_lost_after_all_is_done_once(pipeline):
    # RPL1
    spread(pipeline)
    assert replay(pipeline)["sent"] == 25
    assert replay(pipeline)["sent"] == 0  # they wait in the outbox
    pipeline.begin()
    pipeline.end_well(15)
    assert pipeline.count("completed") == 15


def test_what_was_done_is_absorbed_and_what_was_lost_comes_to_what_was_forecast(pipeline, sandbox):
    # RPL3
    pipeline.stock(p_1=100)
    pipeline.begin()
    pipeline.place(orders("done", 5))
    pipeline.wait_for(5, "completed")
    pipeline.stop("payment")
    pipeline.place(orders("lost", 7))
    pipeline.wait_for(7, "reserved")
    pipeline.wait_outbox_empty()
    pipeline.stop("relay")
    pipeline.purge("payment")
    texts = len(sandbox.ledger("sms"))
    told = pipeline.json(*REPLAY, "--all", "--dry-run")
    assert (told["in"], told["sent"], told["absorbed"], told["refused"]) == (5 * 5 + 7 * 2, 7, 25 + 7, 0)
    assert told["forecast"]["captures"] == {"count": 7, "amounts": {"EUR": "35.00"}}
    assert pipeline.value("SELECT count(*) FROM ordermq.outbox") == 0
    done = replay(pipeline, "--all")
    assert {**done, "seconds": 0, "dry_run": True} == {**told, "seconds": 0}
    again = pipeline.ok(*REPLAY, "--all")
    assert "12 orders: 0 messages sent, 0 captures will be asked for, 0 texts, 39 absorbed\n" in again
    assert "in 39 = sent 0 + absorbed 39 + refused 0" in again
    pipeline.begin("relay", "payment")
    pipeline.end_well(12)
    assert len([each for each in sandbox.ledger("payment") if each["kind"] == "capture"]) == 12
    assert len(sandbox.ledger("sms")) == texts + 7
    assert replay(pipeline, "--all")["absorbed"] == 60


def test_dead_letters_that_are_replayed_come_to_what_was_forecast(pipeline, sandbox):
    pipeline.stock(p_1=100)
    sandbox.behave("sms", decline=1.0)
    pipeline.begin()
    pipeline.place(orders("untold", 3))
    pipeline.wait_for_letters(3, "the SMS service refused it")
    pipeline.end_well(3)
    sandbox.behave("sms")
    replay = ("ordermq", "dead", "replay", "--all", "--yes", "--reason", "it takes texts again")
    for options in (("--dry-run",), ()):
        assert "3 dead letters: 3 texts\n" in pipeline.run(*replay, *options).stderr
    pipeline.begin("relay", "notify")
    wait_until(lambda: len(sandbox.ledger("sms")) == 3, 20.0, what="3 texts")
    assert "0 dead letters: nothing outside" in pipeline.run(*replay).stderr


def test_a_database_from_a_backup_catches_up_with_a_broker_and_gateways_that_know_more(
    pipeline, database, sandbox
):
    postgres, backup = database.postgres, f"{database.name}_backup"
    pipeline.stock(p_1=100)
    before, after, gone = orders("before", 5), orders("after", 3), orders("gone", 1)
    pipeline.begin("relay", "inventory")
    pipeline.place(before)
    pipeline.wait_for(5, "reserved")
    pipeline.wait_outbox_empty()
    pipeline.stop()
    pipeline.session.close()
    postgres.create_database(backup, database.name)
    # What the backup will not know: captures, shipments, texts, 4 orders, and messages of all of them.
    pipeline.begin("relay", "inventory", "payment", "shipping", "notify")
    pipeline.place(after)
    pipeline.wait_for(8, "paid")
    wait_until(lambda: len(sandbox.ledger("sms")) == 8, 20.0, what="8 texts")
    pipeline.stop("payment", "shipping", "notify")
    pipeline.place(gone)
    pipeline.wait_for(1, "reserved")
    pipeline.wait_outbox_empty()
    pipeline.stop()
    pipeline.session.close()
    postgres.drop_database(database.name)
    postgres.create_database(database.name, backup)
    postgres.drop_database(backup)

    pipeline.place(after)  # the shop places again what was lost, all but one
    told = pipeline.ok("ordermq", "order", "adopt-texts", "--reason", "restored")
    assert told == "8 notifications written down as sent\n"
    pipeline.begin()
    pipeline.wait_for_letters(1, "no order")
    assert replay(pipeline)["sent"] >= 5
    pipeline.ok("ordermq", "dead", "discard", "--error", "no order", "--yes", "--reason", "it is gone")
    pipeline.end_well(8)
    assert pipeline.count("completed") == 8
    assert len(sandbox.ledger("sms")) == 8

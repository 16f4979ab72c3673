"""A bulk command that is killed, interrupted and run again: what was done is not done again."""

import json
import re
import signal

from ordermq.failpoints import EXIT_CODE
from ordermq.testing import wait_until
from tests.support.pipeline import PROCESSES
from tests.support.shop import an_order

ORDERS = 220  # two whole batches, and a part of one
KILLED = {"ORDERMQ_FAILPOINT": "bulk.after_commit:exit@1"}


def orders():
    return [an_order(f"o-{number}") for number in range(ORDERS)]


def captures(sandbox):
    return [each for each in sandbox.ledger("payment") if each["kind"] == "capture"]


def killed(pipeline, argv):
    """Run a bulk command that ends as by SIGKILL just after its first batch."""
    found = pipeline.run(*argv, **KILLED)
    assert (found.returncode, found.stdout.count(" = ")) == (EXIT_CODE, 0), found


def interrupted(pipeline, argv, changed, word):
    """Have a bulk command get SIGINT under way; return how many it says that it has changed."""
    before = pipeline.value(changed)
    process = pipeline.start(*argv, "--rate", "50")
    wait_until(lambda: pipeline.value(changed) > before + 10, 60.0, what="it is under way")
    process.send(signal.SIGINT)
    assert process.wait(30) == 130
    [said] = re.findall(rf"^in \d+ = .*?{word} (\d+)", process.log.read_text(), re.MULTILINE)
    assert int(said) == pipeline.value(changed) - before
    return int(said)


def test_a_replay_that_was_killed_and_interrupted_is_run_again_and_nothing_is_doubled(pipeline, sandbox):
    # RPL1
    replay = ("ordermq-publish", "replay", "--stuck", "--older-than", "0", "--reason", "purged", "--yes")
    pipeline.stock(p_1=ORDERS)
    pipeline.begin("relay", "inventory")
    pipeline.place(orders())
    pipeline.wait_for(ORDERS, "reserved", 60.0)
    pipeline.wait_outbox_empty()
    pipeline.stop()
    pipeline.purge("payment")
    killed(pipeline, replay)
    waiting = "SELECT count(*) FROM ordermq.outbox"
    assert pipeline.value(waiting) == 100
    pipeline.begin("relay")  # these are published; no consumer sees them yet, so each is sent once more
    pipeline.wait_outbox_empty()
    pipeline.stop()
    sent = interrupted(pipeline, replay, waiting, "sent")
    done = json.loads(pipeline.ok(*replay, "--json"))
    assert (done["in"], done["in"]) == (2 * ORDERS, done["sent"] + done["absorbed"] + done["refused"])
    assert (done["sent"], done["found"]["waiting"]) == (ORDERS - sent, sent)
    pipeline.begin(*PROCESSES)
    pipeline.end_well(ORDERS, 90.0)
    assert (pipeline.count("completed"), len(captures(sandbox))) == (ORDERS, ORDERS)
    replays = "SELECT count(*) FROM ordermq.actions WHERE action = 'order.replay'"
    assert pipeline.value(replays) == 100 + ORDERS


def test_a_rewind_that_was_killed_and_interrupted_is_run_again_and_each_order_is_put_back_once(
    pipeline, sandbox
):
    rewind = ("ordermq", "order", "rewind", "--state", "cancelled", "--to", "capture", "--reason", "back")
    rewind += ("--yes",)
    pipeline.stock(p_1=ORDERS)
    pipeline.begin("relay", "inventory", "points", "shipping", "notify", "dead")
    pipeline.begin("payment", ORDERMQ_SHOP_PAYMENT_URL=f"{sandbox.payment_url}/moved")
    pipeline.place(orders())
    at_rest = "SELECT count(*) FROM shop.orders WHERE status = 'cancelled' AND pending = '{}'"
    wait_until(lambda: pipeline.value(at_rest) == ORDERS, 90.0, what="all orders are undone")
    pipeline.stop("payment", "relay")
    rewound = "SELECT count(*) FROM shop.order_events WHERE type = 'order_rewound'"
    killed(pipeline, rewind)
    assert pipeline.value(rewound) == 100
    sent = interrupted(pipeline, rewind, rewound, "rewound")
    done = json.loads(pipeline.ok(*rewind, "--json"))
    left = ORDERS - 100 - sent
    assert (done["in"], done["rewound"], done["unchanged"], done["refused"]) == (left, left, 0, 0)
    assert pipeline.value(rewound) == ORDERS
    pipeline.begin("relay", "payment")
    pipeline.end_well(ORDERS, 90.0)
    assert (pipeline.count("completed"), len(captures(sandbox))) == (ORDERS, ORDERS)

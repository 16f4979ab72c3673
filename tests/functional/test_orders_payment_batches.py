"""Captures and refunds prepared and completed many at once: each gets its own answer and its own state."""

from contextlib import closing

import pytest

from ordermq.errors import GatewayRefused, GatewayUnavailable, NotCalled, OutcomeUnknown
from ordermq.shop import cancel_order
from ordermq.shop.commands import CapturePayment, RefundPayment
from ordermq.shop.gateways import Captured, Declined, Refunded
from ordermq.shop.handlers.capture import NEVER_SEEN, CaptureReply, CaptureRequest
from ordermq.shop.handlers.refund import NOTHING_TAKEN, RefundMade, RefundRequest
from ordermq.task import DONE, Dead, Finished, Outcome, Postpone
from tests.support.shop import CountingSession, an_order, foreign, open_shop


@pytest.fixture
def shop(database, sandbox):
    with open_shop(database, sandbox) as shop:
        shop.load(p_1=1000)
        yield shop


def reserve(shop, cards):
    """Bring orders to reserved; return their CapturePayments by order id. ``cards`` by order id."""
    shop.place(*(an_order(order_id, card=card) for order_id, card in cards.items()))
    shop.handle(*shop.take("inventory", types=["ReserveStock"]))
    return {each.payload.order_id: each for each in shop.take("payment")}


def cancel(shop, *order_ids):
    for order_id in order_ids:
        with shop.session.transaction() as tx:
            cancel_order(order_id, tx, "changed my mind")


def prepare(shop, messages):
    """Prepare messages by name, all at once; return requests and outcomes by name."""
    return dict(zip(messages, (answer for _, answer in shop.prepare_all(*messages.values())), strict=True))


def call_all(shop, messages):
    """Prepare messages by name at once and make their calls; return claims and results by name."""
    prepared = zip(messages, shop.prepare_all(*messages.values()), strict=True)
    return {name: (claim, shop.call(messages[name], request)) for name, (claim, request) in prepared}


def complete(shop, reported):
    """Complete claims and results by name at once; return the outcomes by name."""
    return dict(zip(reported, shop.complete_all(*reported.values()), strict=True))


def payment(shop, order_id):
    detail = shop.show(order_id)
    return detail.payment and detail.payment.state


def last_event(shop, order_id):
    return shop.events(order_id)[-1]


def about(claim, result):
    """The gateway's answer as one about the claim's capture; a failed call is about nothing."""
    if isinstance(result, Exception):
        return result
    return CaptureReply(f"capture:shop:{claim.message.order_id}", result)


def refunds(shop, *order_ids):
    """Let captures be reported after their orders were cancelled; return the RefundPayments by order id."""
    reported = call_all(shop, reserve(shop, dict.fromkeys(order_ids, "tok_0001")))
    cancel(shop, *order_ids)
    complete(shop, reported)
    return {each.payload.order_id: each for each in shop.take("payment")}


def test_each_capture_prepared_with_others_gets_its_own_answer(shop):
    # Given every kind of order a capture can find
    cards = {name: "tok_0001" for name in ("fresh", "skipped", "paid")} | {
        name: "tok_0004" for name in ("unknown", "unknown-skipped")
    }
    messages = reserve(shop, cards)
    shop.place(an_order("placed"))
    for name in ("unknown", "unknown-skipped", "paid"):
        shop.attempt(messages[name])
    cancel(shop, "skipped", "unknown-skipped")
    messages["placed"] = foreign("payment", CapturePayment(order_id="placed"), "foreign-1")
    messages["nobody"] = foreign("payment", CapturePayment(order_id="nobody"), "foreign-2")
    messages["again"] = foreign("payment", CapturePayment(order_id="fresh"), "foreign-3")
    with shop.session.transaction() as tx:
        tx.execute("UPDATE shop.payments SET called_at = now() - interval '1 hour'")
    # When they are prepared at once
    answers = prepare(shop, messages)
    # Then each is answered as if it were alone
    requests = {name: each for name, each in answers.items() if isinstance(each, CaptureRequest)}
    assert [(name, each.ask_first, each.may_capture) for name, each in requests.items()] == [
        ("fresh", False, True),
        ("unknown", True, True),
        ("unknown-skipped", True, False),
    ]
    assert all(each.capture.order_id == name for name, each in requests.items())  # fmt: skip
    assert isinstance(answers.pop("placed"), Postpone)
    assert {name: each for name, each in answers.items() if isinstance(each, Outcome)} == {
        "skipped": DONE, "paid": DONE, "again": DONE, "nobody": Dead("no order 'nobody'"),
    }  # fmt: skip
    assert {name: payment(shop, name) for name in ("fresh", "skipped", "paid", "unknown", "placed")} == {
        "fresh": "intent", "skipped": None, "paid": "captured", "unknown": "unknown", "placed": None,
    }  # fmt: skip
    with shop.session.transaction() as tx:
        lately = tx.fetch_all(
            "SELECT order_id FROM shop.payments WHERE called_at > now() - interval '1 minute'"
        )
    assert sorted(lately) == [("fresh",), ("unknown",)]  # and no other may be captured now
    assert last_event(shop, "skipped") == "payment_skipped"
    assert shop.events("paid").count("payment_captured") == 1


def test_each_capture_completed_with_others_gets_its_own_outcome(shop):
    # Given what a payment service can answer, over real HTTP
    cards = {
        "approved": "tok_0001", "declined": "tok_0002", "timed-out": "tok_0003", "busy": "tok_0005",
        "refused": "tok", "cancelled": "tok_0001", "cancelled-declined": "tok_0002",
    }  # fmt: skip
    messages = reserve(shop, cards)
    reported = call_all(shop, messages)
    cancel(shop, "cancelled", "cancelled-declined")
    # When all of it is reported at once
    outcomes = complete(shop, reported)
    # Then each order has its own
    assert isinstance(outcomes.pop("timed-out"), Postpone)
    assert outcomes == {
        "approved": DONE, "declined": DONE, "cancelled": DONE, "cancelled-declined": DONE,
        "busy": Postpone("capture: the payment service answered 503", 1.0),
        "refused": Dead("capture: the payment service refused it with 400"),
    }  # fmt: skip
    assert {name: (shop.order(name).status, payment(shop, name)) for name in cards} == {
        "approved": ("paid", "captured"),
        "declined": ("cancelled", "declined"),
        "timed-out": ("reserved", "unknown"),
        "busy": ("reserved", "intent"),
        "refused": ("reserved", "unknown"),
        "cancelled": ("cancelled", "captured"),
        "cancelled-declined": ("cancelled", "declined"),
    }
    assert "refund" in shop.order("cancelled").pending
    assert shop.show("declined").payment.reason == "insufficient funds"
    captures = {entry["order_id"]: entry["capture_id"] for entry in shop.sandbox.ledger("payment")}
    assert captures.keys() == {"approved", "timed-out", "cancelled"}
    assert {name: shop.show(name).payment.capture_id for name in ("approved", "cancelled")} == {
        name: captures[name] for name in ("approved", "cancelled")
    }
    # And no card is charged twice by another attempt
    for name in ("timed-out", "busy"):
        assert shop.attempt(messages[name]) == DONE
    kinds = [(entry["kind"], entry["order_id"]) for entry in shop.sandbox.ledger("payment")]
    assert sorted(kinds) == [("capture", name) for name in ("approved", "busy", "cancelled", "timed-out")]


def test_results_reported_together_for_one_order_are_written_one_after_the_other(shop):
    # Given two results of each order
    reported = {
        "twice": (Captured("cap-1"), Captured("cap-1")),
        "unknown-then-reported": (OutcomeUnknown("no answer"), Captured("cap-2")),
        "reported-then-unknown": (Captured("cap-3"), OutcomeUnknown("no answer")),
        "turned": (Declined("limit"), Captured("cap-4")),
    }
    messages = reserve(shop, dict.fromkeys(reported, "tok_0001"))
    claims = [claim for claim, _ in shop.prepare_all(*(messages[name] for name in reported))]
    # When they come in one batch
    pairs = zip(claims, reported.values(), strict=True)
    outcomes = shop.complete_all(
        *((claim, about(claim, each)) for claim, results in pairs for each in results)
    )
    # Then the last word of the gateway stands, and money is never forgotten
    assert outcomes[:2] == [DONE, DONE]
    assert isinstance(outcomes[2], Postpone)
    assert outcomes[3:] == [DONE] * 5
    for name, capture_id in [
        ("twice", "cap-1"),
        ("unknown-then-reported", "cap-2"),
        ("reported-then-unknown", "cap-3"),
    ]:
        assert (shop.order(name).status, payment(shop, name)) == ("paid", "captured")
        assert shop.show(name).payment.capture_id == capture_id
        assert shop.show(name).payment.reason is None
        assert shop.events(name).count("payment_captured") == 1
    assert shop.events("turned")[-2:] == ["payment_declined", "payment_captured"]
    assert "refund" in shop.order("turned").pending


def test_what_the_gateway_never_saw_settles_for_each_order_by_itself(database, sandbox):
    with open_shop(database, sandbox, settles_s=60.0) as shop:
        shop.load(p_1=1000)
        # Given cancelled orders whose captures were never seen, tried lately or long ago
        messages = reserve(shop, dict.fromkeys(("lately", "long-ago", "not-called"), "tok_0001"))
        prepared = dict(zip(messages, shop.prepare_all(*messages.values()), strict=True))
        cancel(shop, *messages)
        with shop.session.transaction() as tx:
            tx.execute(
                "UPDATE shop.payments SET called_at = now() - interval '61 s' WHERE order_id = 'long-ago'"
            )
        # When that is reported at once
        results = {
            "lately": NEVER_SEEN,
            "long-ago": NEVER_SEEN,
            "not-called": NotCalled("its turn came too late"),
        }
        claims = {name: claim for name, (claim, _) in prepared.items()}
        outcomes = complete(
            shop, {name: (claims[name], about(claims[name], result)) for name, result in results.items()}
        )
        # Then only the one that can no longer arrive is given up
        assert outcomes == {
            "lately": Postpone("a capture tried before may still arrive at the gateway", 60.0),
            "long-ago": DONE,
            "not-called": Postpone("its turn came too late", None),
        }
        assert {name: payment(shop, name) for name in messages} == {
            "lately": "intent", "long-ago": "failed", "not-called": "intent",
        }  # fmt: skip
        assert last_event(shop, "long-ago") == "payment_skipped"
        assert "capture" in shop.order("lately").pending


def test_each_refund_prepared_with_others_gets_its_own_answer(shop):
    # Given every kind of order a refund can find
    messages = refunds(shop, "taken", "given-back")
    shop.attempt(messages["given-back"])
    captures = reserve(
        shop, {"unknown": "tok_0004", "declined": "tok_0002", "untried": "tok_0001", "paid": "tok_0001"}
    )
    shop.attempt(captures["paid"])
    shop.attempt(captures["unknown"])
    declined = call_all(shop, {"declined": captures["declined"]})
    for name in ("unknown", "declined", "untried"):
        shop.die(captures[name])
    complete(shop, declined)
    messages |= {each.payload.order_id: each for each in shop.take("payment", types=["RefundPayment"])}
    shop.place(an_order("placed"))
    messages["placed"] = foreign("payment", RefundPayment(order_id="placed"), "foreign-1")
    messages["nobody"] = foreign("payment", RefundPayment(order_id="nobody"), "foreign-2")
    messages["again"] = foreign("payment", RefundPayment(order_id="taken"), "foreign-3")
    messages["paid"] = foreign("payment", RefundPayment(order_id="paid"), "foreign-4")
    # When they are prepared at once
    answers = prepare(shop, messages)
    # Then each is answered as if it were alone
    requests = {name: each for name, each in answers.items() if isinstance(each, RefundRequest)}
    assert {name: (each.payment.order_id, each.capture_id) for name, each in requests.items()} == {
        "taken": ("taken", shop.show("taken").payment.capture_id),
        "unknown": ("unknown", None),
    }
    assert isinstance(answers.pop("placed"), Postpone)
    assert {name: each for name, each in answers.items() if isinstance(each, Outcome)} == {
        "declined": DONE, "untried": DONE, "given-back": DONE, "again": DONE, "paid": DONE,
        "nobody": Dead("no order 'nobody'"),
    }  # fmt: skip
    assert {name: last_event(shop, name) for name in ("declined", "untried", "given-back")} == {
        "declined": "refund_skipped", "untried": "refund_skipped", "given-back": "payment_refunded",
    }  # fmt: skip
    assert shop.order("paid").status == "paid"


def test_each_refund_completed_with_others_gets_its_own_outcome(shop):
    # Given what can be reported of refunds
    messages = refunds(shop, "made", "twice", "unknown", "busy", "refused", "not-called", "reported-since")
    (given_up,) = reserve(shop, {"nothing": "tok_0004"}).values()
    shop.attempt(given_up)
    shop.die(given_up)
    messages |= {each.payload.order_id: each for each in shop.take("payment")}
    reported = call_all(shop, {name: messages[name] for name in ("made", "twice")})
    rest = {name: message for name, message in messages.items() if name not in reported}
    results = {
        "unknown": OutcomeUnknown("no answer"), "busy": GatewayUnavailable("come back", 7.0),
        "refused": GatewayRefused("never"), "nothing": NOTHING_TAKEN, "not-called": NotCalled("too late"),
        "reported-since": NOTHING_TAKEN,
    }  # fmt: skip
    reported |= {
        name: (claim, results[name])
        for name, (claim, _) in zip(rest, shop.prepare_all(*rest.values()), strict=True)
    }
    reported["again"] = (reported["twice"][0], reported["twice"][1])
    # When it is reported at once
    outcomes = complete(shop, reported)
    # Then each order has its own
    unfinished = {"unknown", "busy", "refused", "not-called", "reported-since"}
    assert outcomes == {
        "made": DONE, "twice": DONE, "again": DONE, "nothing": DONE,
        "unknown": Postpone("OutcomeUnknown: no answer"), "busy": Postpone("come back", 7.0),
        "not-called": Postpone("too late"), "refused": Dead("never"),
        "reported-since": Postpone("a capture tried before may still arrive at the gateway", 0.0),
    }  # fmt: skip
    assert {name: (shop.order(name).status, payment(shop, name)) for name in messages} == {
        "made": ("refunded", "refunded"),
        "twice": ("refunded", "refunded"),
        "nothing": ("cancelled", "failed"),
        **dict.fromkeys(unfinished, ("cancelled", "captured")),
    }
    assert {name for name in messages if "refund" in shop.order(name).pending} == unfinished
    assert shop.events("twice").count("payment_refunded") == 1
    refunded = {
        entry["order_id"]: entry["refund_id"]
        for entry in shop.sandbox.ledger("payment")
        if entry["kind"] == "refund"
    }
    assert {name: shop.show(name).payment.refund_id for name in ("made", "twice")} == refunded


def test_an_order_reserved_while_its_early_capture_waits_is_looked_at_again(shop):
    shop.place(an_order("o-1"))
    (reserve_stock,) = shop.take("inventory")
    early = foreign("payment", CapturePayment(order_id="o-1"))
    ((_, answer),) = shop.one_after_another(
        lambda tx: reserve_stock.handler.call([reserve_stock.payload], tx),
        lambda session: shop.prepare_all(early, session=session),
    )
    assert answer == Postpone("the order has just changed", 0.0)
    assert payment(shop, "o-1") is None


def test_batches_that_report_the_same_results_at_the_same_instant_write_them_once(shop):
    # PAY4
    # Given results that two owners have
    messages = reserve(shop, dict.fromkeys(("o-1", "o-2", "o-3"), "tok_0001"))
    reported = call_all(shop, messages)
    finished = [Finished(claim, result) for _, (claim, result) in sorted(reported.items())]
    # When both tell them
    outcomes = shop.one_after_another(
        lambda tx: shop.external["CapturePayment"].complete(finished, tx),
        lambda session: shop.complete_all(*reported.values(), session=session),
    )
    # Then the second finds them reported
    assert outcomes == [DONE] * 3
    assert [shop.events(order_id).count("payment_captured") for order_id in messages] == [1] * 3


def test_a_batch_of_payments_takes_no_more_statements_than_one(shop):
    def cost(*order_ids):
        messages = reserve(shop, dict.fromkeys(order_ids, "tok_0001"))
        with closing(CountingSession(shop.database.settings)) as intents:
            claims = [claim for claim, _ in shop.prepare_all(*messages.values(), session=intents)]
        cancel(shop, *order_ids)
        with closing(CountingSession(shop.database.settings)) as results:
            shop.complete_all(
                *((each, about(each, Captured(f"cap-{each.message.order_id}"))) for each in claims),
                session=results,
            )
        back = shop.take("payment")
        with closing(CountingSession(shop.database.settings)) as given_back:
            claims = [claim for claim, _ in shop.prepare_all(*back, session=given_back)]
            shop.complete_all(
                *((each, RefundMade(1, Refunded("ref"), "cap")) for each in claims), session=given_back
            )
        assert {shop.order(order_id).status for order_id in order_ids} == {"refunded"}
        return [intents.statements, results.statements, given_back.statements]

    assert cost("o-1") == cost(*(f"m-{number}" for number in range(40))) == [2, 5, 11]

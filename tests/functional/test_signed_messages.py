"""Signed messages on a real stack: what is taken, what is a dead letter (SIG2), and keys that change."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from msgspec.structs import replace as with_fields

from ordermq.clock import utc_now
from ordermq.config.settings import MessageSettings
from ordermq.errors import BadInput
from ordermq.message import Publishing, encode
from ordermq.message.headers import to_properties
from ordermq.message.signing import SIGNATURE
from ordermq.store import dead_letters
from ordermq.task import Registry
from ordermq.testing import wait_until
from tests.support.commands import Shop
from tests.support.runtime import PREFIX, PROBE, probes
from tests.support.signing import line, signer, write_keys

UNSIGNED = "SignatureRefused: it has no signature, and message.unsigned is reject"
WRONG = "SignatureRefused: the signature is not that of this message in this queue"
UNKNOWN = "SignatureRefused: no key of message.signing_keys_file has its key id"


@pytest.fixture
def keys(tmp_path, rig):
    """The file of keys of a rig whose relays sign and whose consumers verify."""
    path = tmp_path / "signing_keys"
    rig.settings = replace(rig.settings, message=MessageSettings(write_keys(path, line("old"))))
    return path


def forged(rig, payload, queue="batch", *, by=None, **changes):
    """Return a publishing; ``by`` signs it before it is changed."""
    properties = to_properties(rig.envelope(payload))
    made = Publishing(PREFIX, queue, properties, encode(payload))
    signed = by.sign(made).properties.headers[SIGNATURE] if by else None
    changed = to_properties(rig.envelope(payload, **changes))
    headers = {**changed.headers, **({SIGNATURE: signed} if signed else {})}
    return with_fields(made, properties=with_fields(changed, headers=headers))


def letters(rig):
    return dict(rig.rows("SELECT message_id, reason FROM ordermq.dead_letters"))


def test_only_what_a_relay_has_signed_is_handled_and_the_rest_is_dead_until_a_person_trusts_it(
    rig, keys, tmp_path
):
    old, other = signer(tmp_path, "old"), signer(tmp_path, "other")
    unsigned, changed, strange, elsewhere, later = probes(5, start=90)
    rig.relay()
    rig.consumer("batch")
    rig.send("batch", *probes(20), *probes(1, start=50, do="retry"))
    rig.rabbit.publish(
        forged(rig, unsigned),
        forged(rig, changed, by=old, correlation_id="another"),
        forged(rig, strange, by=other),
        with_fields(forged(rig, elsewhere, "single", by=old), routing_key="batch"),
        forged(rig, later, by=old, hop=5),
    )
    wait_until(lambda: len(letters(rig)) == 6, 20.0, what="six dead letters")
    assert rig.wait_for_effects("batch", 20) == [each.order_id for each in probes(20)]
    assert letters(rig) == {
        "o00090": UNSIGNED, "o00091": WRONG, "o00092": UNKNOWN, "o00093": WRONG, "o00094": WRONG,
        "o00050": "gave up after 3 attempts: asked to retry",  # each attempt was signed anew
    }  # fmt: skip
    assert rig.rows("SELECT order_id FROM deaths") == [("o00050",)]  # of no other message an on_dead ran

    with rig.session.transaction() as tx:
        [letter] = dead_letters.select(tx, dead_letters.Filter(message_id="o00090"))
        for send in (dead_letters.replay, redirected):
            with pytest.raises(BadInput, match="may be anybody's"):
                send(tx, letter, by="test", reason="test")
        with pytest.raises(BadInput, match="say --trust-unsigned"):
            dead_letters.replay_edited(
                tx, letter, encode(unsigned), 1, correlation_id=None, by="test", reason="test"
            )
        assert dead_letters.replay(tx, letter, by="test", reason="we sent it", trusts_unsigned=True)
    assert "o00090" in rig.wait_for_effects("batch", 21)


def redirected(tx, letter, *, by, reason):
    return dead_letters.replay(tx, letter, by=by, reason=reason, queue="single")


def test_keys_change_under_load_and_nothing_is_refused(rig, keys):
    rig.relay()
    consumer = rig.consumer("batch")
    rig.send("batch", *probes(100))
    rig.wait_for_effects("batch", 100)
    consumer.stop()
    assert consumer.join(20)
    rig.send("batch", *probes(100, start=100))
    wait_until(lambda: rig.rabbit.depth(f"{PREFIX}.batch") == 100, 20.0, what="messages of the old key")
    write_keys(keys, line("old"), line("new"))
    write_keys(keys, line("new"), line("old", until=(utc_now() + timedelta(days=1)).isoformat()))
    rig.consumer("batch")
    rig.relay()  # on standby until the other ends
    rig._services[0].stop()
    rig._services[1].stop()
    rig.send("batch", *probes(100, start=200))
    assert len(rig.wait_for_effects("batch", 300, timeout_s=30.0)) == 300
    assert letters(rig) == {}


def test_what_another_client_rejects_is_believed_only_with_a_signature(rig, keys, tmp_path):
    asked = []
    handlers = [each for queue in PROBE.queues for each in PROBE.of_queue(queue)]
    rig.consumer("dead", registry=Registry(handlers, [lambda *what: asked.append(what[:2])]))
    signed, unsigned, of_no_queue = probes(3)
    rig.rabbit.publish(
        signer(tmp_path, "old").sign(forged(rig, signed, "single")), forged(rig, unsigned, "single")
    )
    rig.rabbit.reject(f"{PREFIX}.single", 2)
    straight = with_fields(forged(rig, of_no_queue), exchange="", routing_key=f"{PREFIX}.dead")
    rig.rabbit.publish(straight)
    wait_until(lambda: len(letters(rig)) == 3, 20.0, what="three dead letters")
    rejected = "dead-lettered by the broker: rejected"
    nowhere = f"found in the broker's dead-letter queue, which does not say why; {UNSIGNED}"
    assert letters(rig) == {"o00000": rejected, "o00001": f"{rejected}; {UNSIGNED}", "o00002": nowhere}
    assert rig.rows("SELECT order_id FROM deaths") == [("o00000",)]
    assert asked == []
    with rig.session.transaction() as tx, pytest.raises(BadInput, match="may be anybody's"):
        [letter] = dead_letters.select(tx, dead_letters.Filter(message_id="o00001"))
        dead_letters.replay(tx, letter, by="test", reason="test")


def test_what_no_signature_can_say_stops_no_relay_and_is_mended_only_by_a_person_who_trusts_it(rig, keys):
    with rig.session.transaction() as tx:
        tx.execute(
            "INSERT INTO ordermq.outbox"
            " (routing_key, message_id, type, version, correlation_id, traceparent, occurred_at, body)"
            " VALUES ('batch', 'of-sql', 'Probe', 1, 'gr\u00fc\u00dfe', '', now(), '{}')"
        )
    rig.send("batch", *probes(1))
    rig.relay()
    rig.consumer("batch")
    assert rig.wait_for_effects("batch", 1) == ["o00000"]
    wait_until(lambda: letters(rig), 20.0, what="a dead letter")
    [reason] = letters(rig).values()
    assert reason.startswith("MalformedMessage: correlation_id is not 1 to 200")
    with rig.session.transaction() as tx:
        [letter] = dead_letters.select(tx)
        edited = (tx, letter, encode(probes(1)[0]), 1)
        decision = {"correlation_id": None, "by": "test", "reason": "test"}
        with pytest.raises(BadInput, match="may be anybody's"):
            dead_letters.replay_edited(*edited, **decision)
        assert dead_letters.replay_edited(*edited, **decision, trusts_unsigned=True)


def test_while_unsigned_messages_are_accepted_a_wrong_signature_is_not(rig, keys, tmp_path):
    rig.settings = replace(rig.settings, message=replace(rig.settings.message, unsigned="accept"))
    rig.consumer("batch")
    unsigned, wrong = probes(2)
    rig.rabbit.publish(forged(rig, unsigned), forged(rig, wrong, by=signer(tmp_path, "old"), hop=1))
    assert rig.wait_for_effects("batch", 1) == ["o00000"]
    wait_until(lambda: letters(rig), 20.0, what="a dead letter")
    assert letters(rig) == {"o00001": WRONG}


def test_an_operator_publishes_signed_messages_and_says_that_an_unsigned_one_is_trusted(
    ordermq_stack, vhost, database, tmp_path
):
    path = tmp_path / "signing_keys"
    expiring = (utc_now() + timedelta(hours=1)).isoformat()
    write_keys(path, line("new"), line("old", until=expiring))
    shop = Shop(ordermq_stack, vhost, database, tmp_path)
    try:
        body = json.dumps({"order_id": "o-1"}).encode()
        publish = ("ordermq-publish", "messages", "-", "--whole", "--routing-key", "points")
        shop.ok(*publish, stdin=body)
        shop.env["ORDERMQ_MESSAGE_SIGNING_KEYS_FILE"] = str(path)
        shop.start("ordermq-consumer", "--queue", "points")
        wait_until(lambda: shop.lines("ordermq", "dead", "list"), 20.0, what="a dead letter")
        shop.ok(*publish, "--type", "Nonsense", stdin=body.replace(b"o-1", b"o-2"))
        wait_until(lambda: len(shop.lines("ordermq", "dead", "list")) == 2, 20.0, what="another")
        signed, unsigned = shop.lines("ordermq", "dead", "list")
        assert unsigned["reason"] == UNSIGNED
        assert signed["reason"].startswith("UnknownMessageType")  # so its signature was taken
        number = str(unsigned["dead_letter_id"])
        replay = ("ordermq", "dead", "replay", number, "--reason", "the till sent it")
        refused = shop.run(*replay)
        assert refused.returncode == 65
        assert "may be anybody's" in refused.stdout
        assert shop.ok(*replay, "--trust-unsigned").startswith("replayed")
        told = map(json.loads, shop.run("ordermq", "doctor", "--json").stdout.splitlines())
        found = {each["check"]: each for each in told if each["area"] == "messages"}
        assert found["signing keys"]["text"] == "new signs; also accepted: old"
        assert found["key old"]["level"] == "warn"
        assert "the longest max_age_s after the file was changed" in found["key old"]["todo"]
        shop.env["ORDERMQ_MESSAGE_SIGNING_KEYS_FILE"] = str(path) + ".none"
        for program in (("ordermq-relay",), ("ordermq-consumer", "--queue", "points")):
            ended = shop.run(*program)
            assert ended.returncode == 78
            assert "message.signing_keys_file" in ended.stderr
    finally:
        shop.close()

"""Signatures of messages, and the file of their keys: SIG1, KEY1, KEY2."""

import logging
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ordermq.clock import utc_now
from ordermq.config import signing_keys
from ordermq.config.signing_keys import SigningKeys, parse_signing_keys
from ordermq.consumer.received import Unreadable, decode, read
from ordermq.consumer.starts import Suspect, decode_suspect
from ordermq.errors import ConfigError, SignatureRefused
from ordermq.message.envelope import Delivery, Envelope, Properties, Publishing
from ordermq.message.headers import to_properties
from ordermq.message.signing import SIGNATURE, Signer, Verifier, signed_bytes
from ordermq.observe import metrics
from ordermq.store.starts import Started
from tests.support.probe import Probe
from tests.support.runtime import PROBE
from tests.support.signing import SECRETS, foreign_signature, line, signer, write_keys

BODY = b'{"order_id":"o1"}'
AT = datetime(2026, 11, 29, 12, tzinfo=UTC)
ENVELOPE = Envelope("m1", "Probe", 1, "o1", "00-" + "1" * 32 + "-" + "2" * 16 + "-01", AT)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "signing_keys"


def publishing(envelope=ENVELOPE, *, queue="single", body=BODY):
    return Publishing("probe", queue, to_properties(envelope), body)


def delivered(publishing):
    return Delivery(
        1, 1, publishing.exchange, publishing.routing_key, False, publishing.properties, publishing.body
    )


def verifier(path, *, accepts_unsigned=False):
    return Verifier(SigningKeys(str(path)), "probe", accepts_unsigned)


def fault_of(verifier, delivery, queue="single"):
    """Return what the metric counted of a refused or unsigned message; None of one that was right."""
    counted = lambda: {  # noqa: E731 # read twice
        sample.labels["fault"]: sample.value
        for metric in metrics.signatures.collect()
        for sample in metric.samples
        if sample.name.endswith("_total") and sample.labels["queue"] == queue
    }
    before = counted()
    refused = False
    try:
        verifier.check(delivery, queue)
    except SignatureRefused:
        refused = True
    [found] = [name for name, value in counted().items() if value > before.get(name, 0.0)] or [None]
    assert refused == (found is not None and not (found == "unsigned" and verifier.accepts_unsigned))
    return found


def test_a_signature_is_what_the_page_says_and_another_program_can_make_it(file):
    write_keys(file, line("old"))
    made = Signer(SigningKeys(str(file))).sign(publishing()).properties.headers[SIGNATURE]
    at = "2026-11-29T12:00:00+00:00"
    fields = ("ordermq-1", "probe", "single", "m1", "Probe", "o1", "1", "1", "0", "0", at, "", BODY)
    assert made == foreign_signature("old", fields)
    bare = Delivery(1, 1, "probe", "single", False, Properties(), BODY)
    defaults = ("", "", "", "1", "1", "0", "0", "", "")
    unnamed = foreign_signature("old", ("ordermq-1", "probe", "single", *defaults, BODY))
    signed = replace(bare, properties=Properties(headers={SIGNATURE: unnamed}))
    assert fault_of(verifier(file), signed) is None


@pytest.mark.parametrize("queue", ["single", "batch"])
def test_what_was_signed_for_a_queue_is_taken_there_however_it_came_and_nowhere_else(file, queue):
    write_keys(file, line("old"))
    signed = Signer(SigningKeys(str(file))).sign(publishing())
    moved = replace(delivered(signed), exchange="", routing_key="probe.dead")
    assert fault_of(verifier(file), moved, queue) == (None if queue == "single" else "wrong")
    assert fault_of(Verifier(SigningKeys(str(file)), "staging", False), moved) == "wrong"


CHANGES = {
    "message_id": "m2", "type": "Probe2", "version": 2, "correlation_id": "o2", "attempt": 7, "hop": 5,
    "replay_no": 1, "occurred_at": AT + timedelta(seconds=1), "first_failed_at": AT,
}  # fmt: skip


@pytest.mark.parametrize("name", [*CHANGES, "body"])
def test_whatever_decides_what_is_done_cannot_be_changed(tmp_path, file, name):
    write_keys(file, line("old"))
    signed = signer(tmp_path, "old").sign(publishing())
    if name == "body":
        forged = replace(signed, body=b'{"order_id":"o2"}')
    else:
        changed = to_properties(replace(ENVELOPE, **{name: CHANGES[name]}))
        headers = {**changed.headers, SIGNATURE: signed.properties.headers[SIGNATURE]}
        forged = replace(signed, properties=replace(changed, headers=headers))
    assert fault_of(verifier(file), delivered(signed)) is None
    assert fault_of(verifier(file), delivered(forged)) == "wrong"


texts = st.text(st.characters(max_codepoint=126, min_codepoint=33), max_size=6)
messages = st.tuples(
    texts, texts, texts, texts, texts, st.integers(1, 30), st.integers(0, 30), st.binary(max_size=6)
)


def of(values):
    prefix, queue, message_id, type_, correlation_id, attempt, hop, body = values
    headers = {"x-ordermq-attempt": attempt, "x-ordermq-hop": hop}
    return signed_bytes(prefix, queue, Properties(message_id, type_, correlation_id, headers=headers), body)


@given(messages, messages)
def test_two_messages_that_differ_anywhere_sign_different_bytes(one, other):
    assert (of(one) == of(other)) == (one == other)


@given(
    st.one_of(st.none(), st.text(max_size=90), st.integers(), st.binary(max_size=8), st.lists(st.integers()))
)
def test_no_made_up_signature_is_taken(tmp_path_factory, value):
    keys = SigningKeys(write_keys(tmp_path_factory.mktemp("keys") / "keys", line("old")))
    made = replace(
        delivered(publishing()), properties=replace(to_properties(ENVELOPE), headers={SIGNATURE: value})
    )
    with pytest.raises(SignatureRefused):
        Verifier(keys, "probe", accepts_unsigned=False).check(made, "single")


def test_each_cause_of_a_refusal_is_counted_by_its_name(tmp_path, file):
    write_keys(file, line("new"), line("old", until="2026-01-01T00:00:00Z"))
    found = verifier(file)
    unsigned = delivered(publishing())
    assert fault_of(found, unsigned) == "unsigned"
    assert fault_of(verifier(file, accepts_unsigned=True), unsigned) == "unsigned"
    assert fault_of(found, delivered(signer(tmp_path, "other").sign(publishing()))) == "unknown_key"
    assert fault_of(found, delivered(signer(tmp_path, "old").sign(publishing()))) == "expired_key"
    for header in ("", "new:", "new:xyz", b"new", 7):
        bad = replace(unsigned, properties=replace(unsigned.properties, headers={SIGNATURE: header}))
        assert fault_of(verifier(file, accepts_unsigned=True), bad) == "malformed"
    beyond = replace(unsigned, properties=Properties("m\u00e9", headers={SIGNATURE: f"new:{'0' * 64}"}))
    assert fault_of(found, beyond) == "wrong"


def test_a_refused_message_is_never_decoded_and_no_module_is_asked(file):
    write_keys(file, line("old"))
    [message] = read([delivered(publishing())], "single", PROBE, verifier(file))
    assert isinstance(message, Unreadable)
    assert message.fault.startswith("SignatureRefused: it has no signature")
    assert not message.asks_modules
    assert message.message_id == "m1"
    assert decode(message, "single", PROBE) is message
    often = Suspect(message, Started(starts=6, overdue=False))
    assert decode_suspect(often, "single", PROBE) is message
    signed = Signer(SigningKeys(str(file))).sign(publishing())
    [message] = read([delivered(signed)], "single", PROBE, verifier(file))
    assert decode(message, "single", PROBE).payload == Probe(order_id="o1")


def test_a_message_whose_properties_are_broken_is_nobodys_and_no_start_is_forgotten_for_what_is_refused(file):
    write_keys(file, line("old"))
    broken = replace(to_properties(ENVELOPE), headers={"x-ordermq-attempt": 0, "x-delivery-count": 1})
    unsigned = replace(to_properties(ENVELOPE), headers={"x-delivery-count": 1})
    for properties, fault in ((broken, "MalformedMessage: "), (unsigned, "SignatureRefused: ")):
        came_back = replace(delivered(publishing()), redelivered=True, properties=properties)
        [message] = read([came_back], "single", PROBE, verifier(file))
        assert message.fault.startswith(fault)
        assert "SignatureRefused: " in message.fault
        assert (message.is_suspect, message.asks_modules) == (False, False)
    [accepted] = read([came_back], "single", PROBE, verifier(file, accepts_unsigned=True))
    assert accepted.is_suspect
    broken_one = replace(came_back, properties=broken)
    [accepted] = read([broken_one], "single", PROBE, verifier(file, accepts_unsigned=True))
    assert "SignatureRefused" not in accepted.fault


def test_a_text_that_cannot_be_signed_is_published_as_it_is_and_no_consumer_takes_it(file):
    write_keys(file, line("old"))
    for name in ("message_id", "type", "correlation_id"):
        strange = publishing(replace(ENVELOPE, **{name: "gr\u00fc\u00dfe"}))
        assert Signer(SigningKeys(str(file))).sign(strange) == strange
        [message] = read([delivered(strange)], "single", PROBE, verifier(file))
        assert message.fault.startswith(f"MalformedMessage: {name} is not")


def test_a_copy_without_a_signature_does_not_pass_for_the_signed_message(file):
    write_keys(file, line("old"))
    signed = Signer(SigningKeys(str(file))).sign(publishing())
    copy = replace(delivered(publishing(replace(ENVELOPE, hop=9))), tag=2)
    found = read([delivered(signed), copy], "single", PROBE, verifier(file))
    assert [type(each) is Unreadable for each in found] == [False, True]
    assert [each.tags for each in found] == [(1,), (2,)]


def test_keys_are_rotated_by_changing_the_file(tmp_path, file, caplog):
    write_keys(file, line("old"))
    keys = SigningKeys(str(file))
    rotating = Verifier(keys, "probe", accepts_unsigned=False)
    by_new = delivered(signer(tmp_path, "new").sign(publishing()))
    assert fault_of(rotating, by_new) == "unknown_key"
    write_keys(file, line("old"), line("new"))
    assert fault_of(rotating, by_new) is None  # a key id that is not known has the file read at once
    assert Signer(keys).sign(publishing()).properties.headers[SIGNATURE].startswith("old:")
    until = (utc_now() + timedelta(days=2)).isoformat()
    write_keys(file, line("new"), line("old", until=until))
    assert keys.latest().signing.key_id == "new"
    assert fault_of(rotating, delivered(signer(tmp_path, "old").sign(publishing()))) is None
    assert "new signs; also accepted: old" in caplog.text


def test_the_file_is_looked_at_every_few_seconds(file, monkeypatch):
    now_s = [100.0]
    monkeypatch.setattr(signing_keys, "monotonic_s", lambda: now_s[0])
    keys = SigningKeys(write_keys(file, line("old")))
    write_keys(file, line("new"), line("old"))
    now_s[0] += signing_keys.LOOK_EVERY_S - 0.1
    assert keys.current().signing.key_id == "old"
    now_s[0] += 0.2
    assert keys.current().signing.key_id == "new"


def test_a_file_that_cannot_be_used_leaves_the_keys_in_force_and_is_said_once(file, caplog):
    keys = SigningKeys(write_keys(file, line("old")))
    write_keys(file, "new nonsense\n")
    for _ in range(3):
        assert keys.latest().signing.key_id == "old"
    assert caplog.text.count("cannot be read again") == 1
    file.unlink()
    for _ in range(3):
        assert keys.latest().signing.key_id == "old"
    assert caplog.text.count("cannot be read again") == 2
    write_keys(file, line("new"))
    assert keys.latest().signing.key_id == "new"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "it lists no key"),
        ("# only a comment\n", "it lists no key"),
        ("k\n", "line 1: key k: a line is KEY_ID BASE64"),
        ("k SECRET!\n", "line 1: key k is not base64"),
        ("k c2hvcnQ=\n", "line 1: key k has 5 bytes, and 32 are the least"),
        (line("old") * 2, "line 2: the key id old stands twice"),
        (line("old", until="2027-01-01T00:00:00Z"), "it is the first: it can have no until="),
        (line("old") + line("new", until="tomorrow"), "line 2: key new: until= is no instant"),
        (line("old") + line("new", until="2027-01-01T00:00:00"), "line 2: key new: until= is no instant"),
        ("a/b " + line("old")[4:], "line 1: a key id is 1 to 40 letters"),
    ],
)
def test_a_wrong_line_is_named_and_never_shown(text, words):
    with pytest.raises(ConfigError) as raised:
        parse_signing_keys(text)
    assert words in str(raised.value)
    assert raised.value.__cause__ is None
    assert not any(secret in str(raised.value) for secret in ("SECRET", "c2hvcnQ=", line("old").split()[1]))


def test_no_log_line_and_no_repr_shows_a_key(file, caplog):
    caplog.set_level(logging.DEBUG)
    keys = SigningKeys(write_keys(file, line("old"), line("new")))
    write_keys(file, line("new"), line("old"))
    shown = caplog.text + repr(keys.latest()) + str(keys.current()) + repr(keys.current().signing)
    for key_id, secret in SECRETS.items():
        assert line(key_id).split()[1] not in shown
        assert repr(secret) not in shown


def test_a_file_that_everybody_may_read_is_refused(file):
    write_keys(file, line("old"))
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="every user of this machine can read it"):
        SigningKeys(str(file))
    with pytest.raises(ConfigError, match="No such file"):
        SigningKeys(str(file.with_name("none")))

"""Signatures of messages: who may publish to the broker cannot make a consumer do anything by that alone.

A signature is HMAC-SHA256 (RFC 2104) over these fields, in this order, each as its length in bytes in
decimal, a colon, and itself. Texts are ASCII, numbers are decimal. What a message does not have is empty,
or the default that consumers take for it:

    "ordermq-1"      exchange     routing key      message_id     type      correlation_id
    version (1)      attempt (1)  hop (0)          replayed (0)   occurred-at    first-failed-at     body

The exchange is the topology's prefix and the routing key the short name of the queue, as the consumer knows
them: not as the delivery says, because a dead-lettered or moved message comes another way. The two instants
are the texts of their headers. The header ``x-ordermq-signature`` holds ``KEY_ID:HEX``.

Not signed: what nothing is decided by (traceparent, last_error, due), and what describes the body.

Invariants
    SIG1  A body is decoded only after its signature was verified, if there are keys.
    SIG2  Nothing that is written to the outbox, where it would be signed anew, comes from a message
        whose signature was refused, unless a person says so.
"""

import hmac
import re
from dataclasses import dataclass
from enum import StrEnum

from ordermq.clock import utc_now
from ordermq.config.settings import MessageSettings
from ordermq.config.signing_keys import KeyRing, MessageKey, SigningKeys
from ordermq.errors import MalformedMessage, SignatureRefused
from ordermq.message.envelope import Delivery, Properties, Publishing
from ordermq.message.headers import ATTEMPT, FIRST_FAILED_AT, HOP, OCCURRED_AT, REPLAYED, VERSION
from ordermq.observe import metrics

SIGNATURE = "x-ordermq-signature"
UNSIGNED_REFUSED = f"{SignatureRefused.__name__}: "  # in the reason of a dead letter
UNCHECKED = f"{UNSIGNED_REFUSED}its properties are broken, so its signature says nothing"

_FORM = re.compile(r"([A-Za-z0-9._-]{1,40}):([0-9a-f]{64})")


class SignatureFault(StrEnum):
    """What is wrong with a signature, as the metric counts it."""

    UNSIGNED = "unsigned"
    MALFORMED = "malformed"
    UNKNOWN_KEY = "unknown_key"
    EXPIRED_KEY = "expired_key"
    WRONG = "wrong"


_WORDS = {
    SignatureFault.UNSIGNED: "it has no signature, and message.unsigned is reject",
    SignatureFault.MALFORMED: f"the header {SIGNATURE} is not KEY_ID:HEX",
    SignatureFault.UNKNOWN_KEY: "no key of message.signing_keys_file has its key id",
    SignatureFault.EXPIRED_KEY: "its key is no longer accepted",
    SignatureFault.WRONG: "the signature is not that of this message in this queue",
}


def signed_bytes(exchange: str, routing_key: str, properties: Properties, body: bytes) -> bytes:
    """Return what is signed. The numbers in the headers must have been checked.

    Raises UnicodeEncodeError for a text that is not ASCII: its length in bytes would be another one.
    """
    headers = properties.headers
    message_id, type_ = properties.message_id or "", properties.type or ""
    correlation_id = properties.correlation_id or ""
    version, attempt = str(headers.get(VERSION, 1)), str(headers.get(ATTEMPT, 1))
    hop, replayed = str(headers.get(HOP, 0)), str(headers.get(REPLAYED, 0))
    occurred_at, failed_at = headers.get(OCCURRED_AT) or "", headers.get(FIRST_FAILED_AT) or ""
    if not (isinstance(occurred_at, str) and isinstance(failed_at, str)):
        raise MalformedMessage("an instant in a header is no text")  # read_envelope refuses it before
    return (
        f"9:ordermq-1{len(exchange)}:{exchange}{len(routing_key)}:{routing_key}"
        f"{len(message_id)}:{message_id}{len(type_)}:{type_}{len(correlation_id)}:{correlation_id}"
        f"{len(version)}:{version}{len(attempt)}:{attempt}{len(hop)}:{hop}{len(replayed)}:{replayed}"
        f"{len(occurred_at)}:{occurred_at}{len(failed_at)}:{failed_at}{len(body)}:"
    ).encode("ascii") + body


@dataclass(frozen=True)
class Signer:
    """Signs what is published, with the first key of the file as it is then."""

    keys: SigningKeys

    def sign(self, publishing: Publishing) -> Publishing:
        """Return the publishing with its signature.

        One with a text that is not ASCII stays as it is: no consumer takes such a text, signed or not, and
        one row of another program's must not stop a relay.
        """
        properties, key = publishing.properties, self.keys.current().signing
        try:
            data = signed_bytes(publishing.exchange, publishing.routing_key, properties, publishing.body)
        except UnicodeEncodeError:
            return publishing
        headers = {**properties.headers, SIGNATURE: f"{key.key_id}:{_mac(key, data).hex()}"}
        return Publishing(
            publishing.exchange,
            publishing.routing_key,
            Properties(
                properties.message_id, properties.type, properties.correlation_id, properties.content_type,
                properties.content_encoding, properties.timestamp_s, headers,
            ),
            publishing.body,
        )  # fmt: skip


@dataclass(frozen=True)
class Verifier:
    """Says whether deliveries come from a holder of a key. ``prefix`` is the topology's."""

    keys: SigningKeys
    prefix: str
    accepts_unsigned: bool

    def check(self, delivery: Delivery, queue: str) -> None:
        """Raise SignatureRefused, and count it, unless ``delivery`` may be taken from ``queue``.

        Its envelope must have been read: the numbers in its headers are checked there.
        """
        fault = self._fault(delivery, queue)
        if fault is None:
            return
        metrics.signatures.labels(queue=queue, fault=fault).inc()
        if not (fault is SignatureFault.UNSIGNED and self.accepts_unsigned):
            raise SignatureRefused(_WORDS[fault])

    def _fault(self, delivery: Delivery, queue: str) -> SignatureFault | None:
        value = delivery.properties.headers.get(SIGNATURE)
        if value is None:
            return SignatureFault.UNSIGNED
        match = _FORM.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            return SignatureFault.MALFORMED
        key = self._key(match[1])
        if key is None:
            return SignatureFault.UNKNOWN_KEY
        if key.until is not None and utc_now() > key.until:
            return SignatureFault.EXPIRED_KEY
        try:
            data = signed_bytes(self.prefix, queue, delivery.properties, delivery.body)
        except UnicodeEncodeError:
            return SignatureFault.WRONG
        is_right = hmac.compare_digest(_mac(key, data), bytes.fromhex(match[2]))
        return None if is_right else SignatureFault.WRONG

    def _key(self, key_id: str) -> MessageKey | None:
        ring: KeyRing = self.keys.current()
        return ring.by_id.get(key_id) or self.keys.latest().by_id.get(key_id)


def signer_of(settings: MessageSettings) -> Signer | None:
    """Return what signs by these settings; None without keys. Raises ConfigError."""
    return Signer(SigningKeys(settings.signing_keys_file)) if settings.signing_keys_file else None


def verifier_of(settings: MessageSettings, prefix: str) -> Verifier | None:
    """Return what verifies by these settings; None without keys. Raises ConfigError."""
    if not settings.signing_keys_file:
        return None
    return Verifier(SigningKeys(settings.signing_keys_file), prefix, settings.unsigned == "accept")


def _mac(key: MessageKey, data: bytes) -> bytes:
    return hmac.digest(key.secret, data, "sha256")

"""The decoders of what comes in from outside: each takes any bytes and raises only what its callers expect.

A target gets bytes. What it lets through ends the run with a find. Beyond that each checks what must hold of
what it read.
"""

import base64
import contextlib
import io
import struct
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from msgspec.structs import replace

from ordermq.amqp import wire
from ordermq.amqp.translate import FROM_PIKA
from ordermq.cli.records import read_lines
from ordermq.config.secret import Secret
from ordermq.config.signing_keys import parse_signing_keys
from ordermq.config.validity import certificates_in, revocations_in
from ordermq.errors import BadInput, ConfigError, MalformedMessage, UsageError
from ordermq.message.envelope import Delivery, Properties, Publishing
from ordermq.message.headers import read_envelope, sent_again, to_properties
from ordermq.message.payload import check_strict, decode, encode
from ordermq.message.signing import signed_bytes
from ordermq.shop.cli.stock import _rows as stock_rows
from ordermq.shop.commands import CapturePayment
from ordermq.shop.gateways.stripe.settings import StripeSettings
from ordermq.shop.gateways.stripe.webhook import StripeWebhook
from ordermq.shop.intake import FORMATS, read_mapping, read_orders
from tests.fuzz.webhooks import SECRET, NoSession, request

NOW = datetime(2026, 11, 29, tzinfo=UTC)
# What pika raises of a frame that is none: the connection ends by it.
NO_FRAME = FROM_PIKA


def frames(data: bytes) -> None:
    """Bytes of a broker's connection, in two reads."""
    receiver = wire.Receiver(lambda frame: None)
    receiver.on_delivery(1, lambda delivery: None, 1)
    receiver.on_confirm(2, lambda tag, multiple, is_nack: None)
    try:
        receiver.feed(data[: len(data) // 2])
        receiver.feed(data[len(data) // 2 :])
    except NO_FRAME:
        pass


def envelope(data: bytes) -> None:
    """The properties and headers of a message, and what is made of them; the message is sent again."""
    try:
        properties = wire.read_properties(data, 0)
    except NO_FRAME:
        return
    sent_again(properties.headers)
    try:
        read = read_envelope(_delivery(properties, b"{}"), untyped="Reserve", now=NOW)
    except MalformedMessage:
        return
    again = to_properties(read, 1.0)
    signed_bytes("orders", "payment", again, b"{}")
    frame = wire.publish_frames(1, Publishing("orders", "payment", again, b"{}"), 131_072)
    back = wire.read_properties(frame, struct.unpack(">L", frame[3:7])[0] + 8 + 7 + 12)
    received = read_envelope(_delivery(back, b"{}"), untyped=None, now=NOW)
    # The hint is cut to a number of bytes as it is sent; nothing is decided by it.
    assert replace(received, last_error=read.last_error) == read


def payload(data: bytes) -> None:
    """A body. What is read is strict JSON and is read again from what it is written as."""
    try:
        read = decode(data, CapturePayment)
    except MalformedMessage:
        pass
    else:
        check_strict(data)
        assert decode(encode(read), CapturePayment) == read
    with contextlib.suppress(MalformedMessage):
        check_strict(data)


def signing_keys(data: bytes) -> None:
    """The file of signing keys; what is wrong is named without what stands there."""
    try:
        parse_signing_keys(data.decode("utf-8", "surrogateescape"))
    except ConfigError as exc:
        if len(str(exc)) > 200:
            raise AssertionError("more than a line's number and its key's id is shown") from exc


def certificates(data: bytes) -> None:
    """A certificate or a revocation list in DER, in the file of a setting."""
    text = base64.b64encode(data)
    for kind, read in ((b"CERTIFICATE", certificates_in), (b"X509 CRL", revocations_in)):
        with contextlib.suppress(ValueError):
            read(b"-----BEGIN %s-----\n%s\n-----END %s-----\n" % (kind, text, kind))


def webhook(data: bytes) -> None:
    """A request to Stripe's webhook whose signature is right: its time is before the first line end."""
    signed_at, _, body = data.partition(b"\n")
    statuses: list[str] = []
    StripeWebhook(StripeSettings(webhook_secret=Secret(SECRET)), NoSession())(
        request(signed_at, body), lambda status, headers: statuses.append(status)
    )
    assert statuses, "no answer"


def mapping(data: bytes) -> None:
    """The file of ``--mapping``."""
    _FILE.write_bytes(data)
    with contextlib.suppress(UsageError):
        read_mapping(_FILE)


def stock(data: bytes) -> None:
    """A stock file, and lines of any file."""
    with contextlib.suppress(BadInput):
        list(stock_rows(read_lines(io.BufferedReader(io.BytesIO(data)))))


def _orders(format: str) -> Callable[[bytes], None]:
    def orders(data: bytes) -> None:
        try:
            for _ in read_orders(io.BufferedReader(io.BytesIO(data)), format):
                pass
        except BadInput:
            pass

    orders.__doc__ = f"An order file of the format {format}."
    return orders


def _delivery(properties: Properties, body: bytes) -> Delivery:
    return Delivery(1, 1, "orders", "payment", False, properties, body)


_FILE = Path(tempfile.mkdtemp(prefix="ordermq-fuzz-")) / "mapping.toml"

TARGETS: dict[str, Callable[[bytes], None]] = {
    "frames": frames, "envelope": envelope, "payload": payload, "signing-keys": signing_keys,
    "certificates": certificates, "webhook": webhook, "mapping": mapping, "stock": stock,
    **{f"orders-{format}": _orders(format) for format in FORMATS},
}  # fmt: skip

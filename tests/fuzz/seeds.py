"""What the search begins with: inputs as they should be."""

import base64
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from ordermq.amqp import wire
from ordermq.message.envelope import Envelope, Properties, Publishing
from ordermq.message.headers import to_properties
from tests.support.authority import Authority
from tests.support.signing import line

SAMPLES = Path(__file__).parents[1] / "samples"
_AT = datetime(2026, 11, 29, tzinfo=UTC)
_TRACE = f"00-{'1' * 32}-{'2' * 16}-01"


def _properties() -> list[bytes]:
    envelope = Envelope("o-1:1:Reserve", "Reserve", 1, "o-1", _TRACE, _AT, 2, 3, 1, _AT, "timeout")
    odd = Properties(
        "m",
        "T",
        "c",
        "text/plain",
        "utf-8",
        1,
        {"a": [1, {"b": None}], "x-death": [{"queue": "q"}], "t": True},
    )
    made = [
        wire.publish_frames(1, Publishing("o", "q", each, b"{}"), 131_072)
        for each in (to_properties(envelope), odd)
    ]
    return [each[int.from_bytes(each[3:7]) + 8 + 7 + 12 : -11] for each in made]


def _frames() -> list[bytes]:
    """A delivery in three frames, and a confirm."""
    method = b"\x00\x3c\x00\x3c\x01t" + (7).to_bytes(8) + b"\x00\x01o\x01q"
    header = b"\x00\x3c\x00\x00" + (2).to_bytes(8) + _properties()[0]
    confirm = b"\x00\x3c\x00\x50" + (9).to_bytes(8) + b"\x01"
    return [b"".join(map(_frame, ((1, 1, method), (2, 1, header), (3, 1, b"{}"), (1, 2, confirm))))]


def _frame(frame: tuple[int, int, bytes]) -> bytes:
    kind, channel, data = frame
    return bytes([kind]) + channel.to_bytes(2) + len(data).to_bytes(4) + data + b"\xce"


def _certificates() -> list[bytes]:
    with TemporaryDirectory() as folder:
        authority = Authority(Path(folder), "authority")
        files = (authority.file, authority.revocations("revoked"))
        return [base64.b64decode(b"".join(each.read_bytes().splitlines()[1:-1])) for each in files]


def seeds(name: str) -> list[bytes]:
    """Return the inputs of a target."""
    payload = b'{"order_id":"A-1","amount":1250,"currency":"EUR","card_token":"tok_1","capture":1,"of":1}'
    order = b'{"order_id":"A-1","customer":{"phone":"+4930123456"},"currency":"EUR","items":[{"sku":"P"}]}'
    event = b'{"id":"evt_1","data":{"object":{"id":"pi_1","metadata":{"order_id":"A-1"}}}}'
    own = {
        "frames": _frames(), "envelope": _properties(), "payload": [payload],
        "webhook": [b"1764374400\n" + event, b"9" * 400 + b"\n" + event],
        "signing-keys": [(line("new") + line("old", until="2027-01-31T00:00:00Z")).encode()],
        "certificates": _certificates() if name == "certificates" else [],
        "mapping": [(SAMPLES / "shopify/mapping.toml").read_bytes()],
        "stock": [b"product_id,units\nP-1,10\n"],
        "orders-native": [order + b"\n", b"order_id,currency,sku,quantity\nA-1,EUR,P,1\n"],
        "orders-shopify": [each.read_bytes()[:1500] for each in SAMPLES.glob("shopify/*.csv")],
        "orders-woocommerce": [each.read_bytes()[:1500] for each in SAMPLES.glob("woocommerce/traps.json*")],
    }  # fmt: skip
    return own.get(name, [b"order_id,customer_id\n"])

"""The frames that carry messages, written and read without pika's objects in between.

pika makes about forty objects for a message in each direction and sends its three frames
with three system calls. So this module encodes basic.publish and decodes basic.deliver and
the basic.ack and basic.nack of confirms, byte by byte as in chapter 4 of the AMQP 0-9-1
specification. All other frames are left to pika. docs/performance.md has the figures.

    frame       type (1 byte), channel (2), size (4), payload, 0xCE
    message     a method frame, a header frame with size and properties, body frames

Rare field values (nested tables, decimals, timestamps) are left to ``pika.data``, whose
``decode_value`` is replaced, because pika's own refuses values that RabbitMQ lets through.
"""

import struct
import threading
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import pika.data
import pika.exceptions

from ordermq.amqp.plain import plain
from ordermq.message.envelope import Delivery, Properties, Publishing

METHOD, HEADER, BODY = 1, 2, 3
FRAME_END = 0xCE
OVERHEAD = 8  # bytes a frame has beside its payload

_PUBLISH = 0x003C_0028
_DELIVER = 0x003C_003C
_ACK = 0x003C_0050
_NACK = 0x003C_0078
_BASIC = 60  # the class a header frame belongs to
_MANDATORY = b"\x01"
_PERSISTENT = b"\x02"
_END = b"\xce"

_FRAME = struct.Struct(">BHL")
_METHOD_ID = struct.Struct(">L")
_HEADER_START = struct.Struct(">HHQH")  # class, weight, size of the body, property flags
_CONFIRM = struct.Struct(">QB")
_FLAGS = struct.Struct(">H")
_U64 = struct.Struct(">Q")
_U32 = struct.Struct(">L")
_INT = struct.Struct(">ci")
_LONG = struct.Struct(">cq")
_I32 = struct.Struct(">i")
_I64 = struct.Struct(">q")

_CONTENT_TYPE, _CONTENT_ENCODING, _HEADERS, _DELIVERY_MODE = 0x8000, 0x4000, 0x2000, 0x1000
_PRIORITY, _CORRELATION_ID, _REPLY_TO, _EXPIRATION = 0x0800, 0x0400, 0x0200, 0x0100
_MESSAGE_ID, _TIMESTAMP, _TYPE, _MORE_FLAGS = 0x0080, 0x0040, 0x0020, 0x0001

MAX_NESTING = 64  # of tables and arrays in a header


def _mend_decoding() -> None:
    """Let pika read every header RabbitMQ lets through.

    A header it cannot read would end each consumer that its message is delivered to, for
    ever. A timestamp past the year 9999, such as milliseconds where AMQP has seconds,
    becomes a number, as in pika 1.5. A table nested deeper than MAX_NESTING becomes None at
    that depth; pika would follow it until Python's recursion limit.
    """
    decode: Callable[[bytes, int], tuple[Any, int]] = pika.data.decode_value
    entered = threading.local()

    def decode_value(encoded: bytes, offset: int) -> tuple[Any, int]:
        kind = encoded[offset : offset + 1]
        if kind == b"T":
            try:
                return decode(encoded, offset)
            except (ValueError, OverflowError, OSError):
                return _U64.unpack_from(encoded, offset + 1)[0], offset + 9
        if kind not in (b"F", b"A"):
            return decode(encoded, offset)
        depth = getattr(entered, "depth", 0)
        if depth == MAX_NESTING:
            return None, offset + 5 + _U32.unpack_from(encoded, offset + 1)[0]
        entered.depth = depth + 1
        try:
            return decode(encoded, offset)
        finally:
            entered.depth = depth

    pika.data.decode_value = decode_value


_mend_decoding()


# --- out ----------------------------------------------------------------------


def publish_frames(channel: int, publishing: Publishing, frame_max: int) -> bytes:
    """Return the frames of a persistent, mandatory basic.publish.

    If AMQP cannot carry it, raises ShortStringTooLong, ValueError (headers larger than a
    frame), struct.error, AttributeError, or TypeError: also for a float, which pika carries
    only from 1.5 on and of which RabbitMQ closes the connection over a NaN.
    """
    target = b"\x00\x00" + _short(publishing.exchange) + _short(publishing.routing_key) + _MANDATORY
    properties = _encoded(publishing.properties, len(publishing.body))
    if len(properties) + OVERHEAD > frame_max:
        raise ValueError(f"properties of {len(properties)} bytes do not fit into a frame of {frame_max}")
    pieces = [
        _FRAME.pack(METHOD, channel, len(target) + 4), _METHOD_ID.pack(_PUBLISH), target, _END,
        _FRAME.pack(HEADER, channel, len(properties)), properties, _END,
    ]  # fmt: skip
    body, most = publishing.body, frame_max - OVERHEAD
    for start in range(0, len(body), most):
        part = body if len(body) <= most else body[start : start + most]
        pieces += (_FRAME.pack(BODY, channel, len(part)), part, _END)
    return b"".join(pieces)


def _encoded(properties: Properties, body_bytes: int) -> bytes:
    flags, pieces = _DELIVERY_MODE, []
    if properties.content_type is not None:
        flags |= _CONTENT_TYPE
        pieces.append(_short(properties.content_type))
    if properties.content_encoding is not None:
        flags |= _CONTENT_ENCODING
        pieces.append(_short(properties.content_encoding))
    if properties.headers:
        flags |= _HEADERS
        pieces.append(_table(properties.headers))
    pieces.append(_PERSISTENT)
    if properties.correlation_id is not None:
        flags |= _CORRELATION_ID
        pieces.append(_short_of(properties.correlation_id))
    if properties.message_id is not None:
        flags |= _MESSAGE_ID
        pieces.append(_short_of(properties.message_id))
    if properties.timestamp_s is not None:
        flags |= _TIMESTAMP
        pieces.append(_U64.pack(properties.timestamp_s))
    if properties.type is not None:
        flags |= _TYPE
        pieces.append(_short(properties.type))
    return _HEADER_START.pack(_BASIC, 0, body_bytes, flags) + b"".join(pieces)


def _short_of(value: str) -> bytes:
    raw = value.encode()
    if len(raw) > 255:
        raise pika.exceptions.ShortStringTooLong(raw)
    return len(raw).to_bytes(1) + raw


_short = lru_cache(maxsize=1024)(_short_of)  # for texts that many messages have in common


def _table(table: Mapping[str, object]) -> bytes:
    pieces: list[bytes] = []
    for key, value in table.items():
        if type(value) is str:
            raw = value.encode()
            pieces += (_short(key), b"S", _U32.pack(len(raw)), raw)
        elif type(value) is int:
            is_short = -0x8000_0000 <= value < 0x8000_0000
            pieces.append(_number(key, value) if is_short else _short(key) + _LONG.pack(b"l", value))
        else:
            pieces.append(_short(key))
            _refuse_float(value)
            pika.data.encode_value(pieces, value)
    encoded = b"".join(pieces)
    return _U32.pack(len(encoded)) + encoded


@lru_cache(maxsize=1024)  # attempts and versions repeat; a long number, as a time is, hardly does
def _number(key: str, value: int) -> bytes:
    return _short(key) + _INT.pack(b"I", value)


def _refuse_float(value: object) -> None:
    if isinstance(value, float):
        raise TypeError("a header value is a float")
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            _refuse_float(each)


# --- in -----------------------------------------------------------------------

Delivered = Callable[[Delivery], None]

Confirmed = Callable[[int, bool, bool], None]
"""tag, multiple, is_nack"""


class Receiver:
    """Reads what arrives on a connection: messages and confirms go straight to their callbacks.

    It stands before pika's own reader, ``pass_on``, which gets all other frames whole and in
    order. Before the first ``feed`` that reader must have consumed all it was given.
    Callbacks must not raise. Owned by the connection's thread.
    """

    def __init__(self, pass_on: Callable[[bytes], None]) -> None:
        self.pass_on = pass_on
        self._left = b""  # the beginning of a frame that has not arrived whole
        self._delivered: dict[int, tuple[Delivered, int]] = {}
        self._confirmed: dict[int, Confirmed] = {}
        self._partial: dict[int, _Partial] = {}

    def on_delivery(self, channel: int, delivered: Delivered, epoch: int) -> None:
        """Call ``delivered`` with every message for the consumer of ``channel``, marked with ``epoch``."""
        self._delivered[channel] = delivered, epoch

    def on_confirm(self, channel: int, confirmed: Confirmed) -> None:
        """Call ``confirmed`` for every confirm on ``channel``."""
        self._confirmed[channel] = confirmed

    def forget(self, channel: int) -> None:
        """Forget a channel that is closed; its number may be used again."""
        self._delivered.pop(channel, None)
        self._confirmed.pop(channel, None)
        self._partial.pop(channel, None)

    def feed(self, data: bytes) -> None:
        """Read ``data``, the bytes of one read of the socket."""
        if self._left:
            data = self._left + data
        at, end = 0, len(data)
        while end - at >= OVERHEAD:
            kind, channel, size = _FRAME.unpack_from(data, at)
            stop = at + OVERHEAD + size
            if stop > end:
                break
            # pika raises the error of a frame without its end mark.
            if data[stop - 1] != FRAME_END or not self._take(kind, channel, data, at + 7, stop - 1):
                self.pass_on(data[at:stop])
            at = stop
        self._left = data[at:]

    def _take(self, kind: int, channel: int, data: bytes, start: int, stop: int) -> bool:
        """Read a frame's payload, ``data[start:stop]``; False if the frame is for pika."""
        if kind == METHOD:
            return self._take_method(channel, data, start)
        partial = self._partial.get(channel)
        if partial is None:
            return False
        if kind == HEADER:
            partial.size = _U64.unpack_from(data, start + 4)[0]
            partial.properties = read_properties(data, start + 12)
        elif kind == BODY:
            partial.add(data[start:stop])
        else:
            return False
        if partial.is_whole:
            del self._partial[channel]
            partial.deliver()
        return True

    def _take_method(self, channel: int, data: bytes, start: int) -> bool:
        method = _METHOD_ID.unpack_from(data, start)[0]
        if method == _DELIVER and channel in self._delivered:
            self._partial[channel] = _Partial(*self._delivered[channel], data, start + 4)
            return True
        if method in (_ACK, _NACK) and channel in self._confirmed:
            tag, bits = _CONFIRM.unpack_from(data, start + 4)
            self._confirmed[channel](tag, bool(bits & 1), method == _NACK)
            return True
        return False


class _Partial:
    """A message whose basic.deliver has arrived, and perhaps more of it."""

    def __init__(self, delivered: Delivered, epoch: int, data: bytes, at: int) -> None:
        self._delivered = delivered
        self._epoch = epoch
        at += 1 + data[at]  # consumer tag: a channel has one consumer
        self._tag, bits = _CONFIRM.unpack_from(data, at)
        self._redelivered = bool(bits & 1)
        at += 9
        stop = at + 1 + data[at]
        self._exchange = _name(data[at + 1 : stop])
        self._routing_key = _name(data[stop + 1 : stop + 1 + data[stop]])
        self._parts: list[bytes] = []
        self._got = 0
        self.size = -1
        self.properties = _NONE

    def add(self, part: bytes) -> None:
        self._parts.append(part)
        self._got += len(part)

    @property
    def is_whole(self) -> bool:
        return self._got == self.size

    def deliver(self) -> None:
        parts = self._parts
        self._delivered(
            Delivery(
                self._tag, self._epoch, self._exchange, self._routing_key, self._redelivered, self.properties,
                parts[0] if len(parts) == 1 else b"".join(parts),
            )
        )  # fmt: skip


_NONE = Properties()


@lru_cache(maxsize=1024)
def _name(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")


def read_properties(data: bytes, at: int) -> Properties:
    """Return the properties whose flags begin at ``at``, every value of a plain type.

    Text that is not UTF-8 keeps its odd bytes as ``\\xNN``, so that two ids never become one.
    """
    flags = more = _FLAGS.unpack_from(data, at)[0]
    at += 2
    while more & _MORE_FLAGS:  # AMQP 0-9-1 defines none of them
        more = _FLAGS.unpack_from(data, at)[0]
        at += 2
    content_type = content_encoding = correlation_id = message_id = type_ = timestamp_s = None
    headers: dict[str, object] = {}
    if flags & _CONTENT_TYPE:
        content_type = _name(data[at + 1 : at + 1 + data[at]])
        at += 1 + data[at]
    if flags & _CONTENT_ENCODING:
        content_encoding = _name(data[at + 1 : at + 1 + data[at]])
        at += 1 + data[at]
    if flags & _HEADERS:
        stop = at + 4 + _U32.unpack_from(data, at)[0]
        headers = _read_table(data, at + 4, stop)
        at = stop
    if flags & _DELIVERY_MODE:
        at += 1
    if flags & _PRIORITY:
        at += 1
    if flags & _CORRELATION_ID:
        correlation_id = data[at + 1 : at + 1 + data[at]].decode("utf-8", "backslashreplace")
        at += 1 + data[at]
    if flags & _REPLY_TO:
        at += 1 + data[at]
    if flags & _EXPIRATION:
        at += 1 + data[at]
    if flags & _MESSAGE_ID:
        message_id = data[at + 1 : at + 1 + data[at]].decode("utf-8", "backslashreplace")
        at += 1 + data[at]
    if flags & _TIMESTAMP:
        timestamp_s = _U64.unpack_from(data, at)[0]
        at += 8
    if flags & _TYPE:
        type_ = _name(data[at + 1 : at + 1 + data[at]])
    return Properties(message_id, type_, correlation_id, content_type, content_encoding, timestamp_s, headers)


def _read_table(data: bytes, at: int, stop: int) -> dict[str, object]:
    table: dict[str, object] = {}
    while at < stop:
        key = _name(data[at + 1 : at + 1 + data[at]])
        at += 1 + data[at]
        kind = data[at]
        value: object
        if kind == 0x53:  # S, a long string
            start = at + 5
            at = start + _U32.unpack_from(data, at + 1)[0]
            raw = data[start:at]
            try:
                value = raw.decode()
            except UnicodeDecodeError:
                value = raw
        elif kind == 0x49:  # I
            value = _I32.unpack_from(data, at + 1)[0]
            at += 5
        elif kind in (0x6C, 0x4C):  # l, L: both signed, as RabbitMQ has them
            value = _I64.unpack_from(data, at + 1)[0]
            at += 9
        else:
            value, at = pika.data.decode_value(data, at)
            value = plain(value)
        table[key] = value
    return table

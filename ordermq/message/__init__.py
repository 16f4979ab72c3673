"""What travels between publishers and consumers: typed, versioned, strict. Pure."""

from ordermq.message.command import Command
from ordermq.message.envelope import Delivery, Envelope, Properties, Publishing
from ordermq.message.payload import MAX_BODY_BYTES, MAX_DEPTH, Payload, decode, encode

__all__ = [
    "MAX_BODY_BYTES",
    "MAX_DEPTH",
    "Command",
    "Delivery",
    "Envelope",
    "Payload",
    "Properties",
    "Publishing",
    "decode",
    "encode",
]

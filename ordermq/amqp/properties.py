"""AMQP basic properties, to and from pika.

What comes from the wire is untrusted: a short string that is not UTF-8 reaches us
as bytes, a 64-bit header as pika's own subclass of int. Both become plain types
here; text keeps its odd bytes as ``\\xNN``, so that two ids never become one.
"""

from collections.abc import Mapping

import pika

from ordermq.message.envelope import Properties

PERSISTENT = 2

_PLAIN = frozenset({str, int, bool, bytes, float, type(None)})
_SENT_AS_THEY_ARE = _PLAIN - {float}


def to_pika(properties: Properties) -> pika.BasicProperties:
    """Return pika's form, always persistent. Raises TypeError for a header that is a float.

    pika carries floats only from 1.5 on, and RabbitMQ closes the connection over a NaN.
    """
    for value in properties.headers.values():
        if type(value) not in _SENT_AS_THEY_ARE:
            _refuse_float(value)
    return pika.BasicProperties(
        content_type=properties.content_type,
        content_encoding=properties.content_encoding,
        headers=properties.headers or None,
        delivery_mode=PERSISTENT,
        correlation_id=properties.correlation_id,
        message_id=properties.message_id,
        timestamp=properties.timestamp_s,
        type=properties.type,
    )


def from_pika(properties: pika.BasicProperties) -> Properties:
    """Return ours, with every value of a plain type."""
    headers = properties.headers
    return Properties(
        message_id=text(properties.message_id),
        type=text(properties.type),
        correlation_id=text(properties.correlation_id),
        content_type=text(properties.content_type),
        content_encoding=text(properties.content_encoding),
        timestamp_s=properties.timestamp,
        headers=_table(headers) if headers else {},
    )


def text(value: str | bytes | None) -> str | None:
    """Return a short string as text, whatever its bytes were."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return value


def _refuse_float(value: object) -> None:
    if isinstance(value, float):
        raise TypeError("a header value is a float")
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            _refuse_float(each)


def _table(table: Mapping[str | bytes, object]) -> dict[str, object]:
    return {
        key if type(key) is str else str(text(key)): value if type(value) in _PLAIN else _value(value)
        for key, value in table.items()
    }


def _value(value: object) -> object:
    if isinstance(value, Mapping):
        return _table(value)
    if isinstance(value, list):
        return [each if type(each) in _PLAIN else _value(each) for each in value]
    if isinstance(value, int):
        return int(value)
    return value  # datetime, Decimal

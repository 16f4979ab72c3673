"""Values of AMQP headers as plain Python.

Values from the wire are untrusted: pika returns a short string that is not UTF-8 as bytes,
and a 64-bit integer as its own subclass of int. Both become plain types here. Text keeps
bytes that are not UTF-8 as ``\\xNN``, so that two ids never become one.
"""

from collections.abc import Mapping

_PLAIN = frozenset({str, int, bool, bytes, float, type(None)})


def text(value: str | bytes | None) -> str | None:
    """Return a short string as text, whatever its bytes were."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return value


def plain(value: object) -> object:
    """Return a header's value with everything in it of a plain type."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, Mapping):
        return {str(text(key)): plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, int):
        return int(value)
    return value  # datetime, Decimal

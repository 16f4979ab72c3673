"""Makes any value safe to write into a log: one line, no terminal tricks, no secrets, not too long. Pure.

Routing keys, headers and message ids hold whatever a publisher sent. Unescaped, a line feed
forges a log line, an escape sequence rewrites the reader's terminal, and a bidi control shows
text in another order.

The text of an error may quote what it was about. So what looks like an e-mail address, a phone
number with its country or the number of a payment card is masked, beside credentials. Names and
postal addresses look like any other words: code that raises an error must leave them out.
"""

import math
import re

from ordermq.config.secret import redact

LONGEST_VALUE = 1024
LONGEST_MESSAGE = 8 * 1024
LONGEST_EXCEPTION = 16 * 1024

# C0, DEL, C1; soft hyphen, Arabic letter mark; zero-width, bidi and line-separator
# controls; invisible operators; byte order mark; lone surrogates; tags.
_UNSAFE = (
    r"\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f"
)
# Not a host after "//" or after a password, as in amqp://***@host.
_EMAIL = re.compile(r"(?<![\w.+%'*-])(?<!//)[\w.+%'-]{1,128}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}(?![\w-])")
_PHONE = re.compile(r"(?<![\w+])\+[1-9](?:[ ()./-]{0,2}[0-9]){7,14}(?![0-9])")
_CARD = re.compile(r"(?<![\w.-])[3-6][0-9]{3}(?:[ -]?[0-9]){9,15}(?![\w-])")

_IN_LINE = re.compile(f"[{_UNSAFE}]")
_IN_BLOCK = re.compile(f"(?!\n)[{_UNSAFE}]")


def line(text: str, longest: int = LONGEST_VALUE) -> str:
    """Return ``text`` on one line, controls as ``\\x1b`` or ``\\u202e``, its middle cut past ``longest``."""
    return _IN_LINE.sub(_escape, _cut(mask(redact(_cut(text, 4 * longest))), longest))


def block(text: str, longest: int = LONGEST_EXCEPTION) -> str:
    """Like ``line`` but keep line feeds: for a traceback, which the formatter indents or quotes."""
    return _IN_BLOCK.sub(_escape, _cut(mask(redact(_cut(text, 4 * longest))), longest))


def mask(text: str) -> str:
    """Return ``text`` without e-mail addresses, international phone numbers and numbers of payment cards."""
    if "@" in text:
        text = _EMAIL.sub("<e-mail>", text)
    if "+" in text:
        text = _PHONE.sub("<phone>", text)
    return _CARD.sub(_card, text)


def _card(match: re.Match[str]) -> str:
    # By ISO/IEC 7812 the last digit checks the others, so one in ten other numbers is masked too.
    digits = [int(each) for each in reversed(match[0]) if each.isdigit()]
    doubled = [sum(divmod(2 * each, 10)) for each in digits[1::2]]
    return match[0] if (sum(digits[::2]) + sum(doubled)) % 10 else "<card number>"


def field(value: object, longest: int = LONGEST_VALUE) -> str | int | float | bool | None:
    """Return ``value`` as a log field: small numbers as they are, anything else as a safe line."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) < 2**63:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    return line(value if isinstance(value, str) else printed(value), longest)


def printed(value: object) -> str:
    """Return ``str(value)``, or its type if that raises: a log call must not raise."""
    try:
        return str(value)
    except Exception:  # a foreign __str__ may raise anything
        return f"<{type(value).__name__} that cannot be printed>"


def _cut(text: str, longest: int) -> str:
    """Cut the middle: a message says what it is at its beginning, a traceback at its end."""
    if len(text) <= longest:
        return text
    head, tail = longest // 4, longest - longest // 4
    return f"{text[:head]}...({len(text) - longest} characters cut)...{text[-tail:]}"


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()

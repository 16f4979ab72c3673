"""Read the text or value of a source as a typed value, and print it for an operator. Pure.

A file holds typed values, which must be of the right type: ``threads = "8"`` is refused.
The environment and a command line hold text, which is read as the setting's type.
"""

import json
import math
import re
from typing import Any

from ordermq.config.declaration import Declared, Limits
from ordermq.config.secret import HIDDEN, Secret, redact

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_NUMBER = re.compile(r"[+-]?([0-9]{1,18}(\.[0-9]{0,18})?|\.[0-9]{1,18})", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LONGEST_SHOWN = 200
_SHAPES: dict[type, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    tuple: "a list of texts",
    Secret: "text (a secret)",
}


class NotAllowed(ValueError):
    """A value of the wrong type or outside the limits. The text says what is allowed."""


def from_text(declared: Declared, text: str) -> Any:
    """Read ``text`` as the setting's type, within its limits. Raises NotAllowed."""
    if declared.kind is int and _INTEGER.fullmatch(text):
        return from_value(declared, int(text))
    if declared.kind is float and _NUMBER.fullmatch(text):
        return from_value(declared, float(text))
    if declared.kind is bool and text in ("true", "false"):
        return text == "true"
    if declared.kind is tuple:
        return from_value(declared, [item.strip() for item in text.split(",")] if text.strip() else [])
    if declared.kind in (str, Secret):
        return from_value(declared, text)
    raise NotAllowed(f"must be {allowed(declared)}")


def from_value(declared: Declared, value: Any) -> Any:
    """Check ``value`` against the setting's type and limits. Raises NotAllowed."""
    typed = _typed(declared.kind, value)
    if typed is None or not _within(declared.limits, typed):
        raise NotAllowed(f"must be {allowed(declared)}")
    return typed


def allowed(declared: Declared) -> str:
    """Return in words what the setting may be: ``a whole number from 2 to 60 s``."""
    limits = declared.limits
    if limits.choices:
        return "one of " + ", ".join(limits.choices)
    parts = [_SHAPES[declared.kind]]
    if limits.ge is not None and limits.le is not None:
        parts.append(f"from {limits.ge:.12g} to {limits.le:.12g}")
    else:
        parts += [f"{word} {bound:.12g}" for word, bound in _bounds(limits) if bound is not None]
    if declared.unit:
        parts.append(declared.unit)
    words = " ".join(parts)
    return f"{words}: {limits.shape.words}" if limits.shape else words


def shown(declared: Declared, value: Any) -> str:
    """Return ``value`` as TOML writes it, safe to show: credentials are hidden, a long text is cut."""
    if declared.is_secret:
        return HIDDEN
    text = redact(toml(value))
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "..."


def toml(value: Any) -> str:
    """Return ``value`` as TOML writes it, on one line; a value that no setting can have, as Python does."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.12g}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml, value))}]"
    return json.dumps(value) if isinstance(value, str) else repr(value)


def _bounds(limits: Limits) -> list[tuple[str, float | None]]:
    both = limits.gt is not None and limits.le is not None
    return [("at least", limits.ge), ("above", limits.gt), ("and at most" if both else "at most", limits.le)]


def _typed(kind: type, value: Any) -> Any:
    """Return ``value`` as ``kind``, or None if it is of another type."""
    if kind is float and type(value) in (int, float) and math.isfinite(value):
        return float(value)
    if kind is tuple and isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return tuple(value)
    if kind is Secret and isinstance(value, str):
        return Secret(value)
    # bool is a subclass of int, but ``threads = true`` is a mistake.
    return value if type(value) is kind and kind in (str, int, bool) else None


def _within(limits: Limits, value: Any) -> bool:
    if isinstance(value, str | tuple):
        texts = (value,) if isinstance(value, str) else value
        return all(_is_allowed_text(limits, text) for text in texts)
    if isinstance(value, bool | Secret):
        return True
    return (
        (limits.ge is None or value >= limits.ge)
        and (limits.gt is None or value > limits.gt)
        and (limits.le is None or value <= limits.le)
    )


def _is_allowed_text(limits: Limits, text: str) -> bool:
    return (
        not _CONTROL.search(text)
        and (not limits.choices or text in limits.choices)
        and (limits.shape is None or re.fullmatch(limits.shape.pattern, text, re.ASCII) is not None)
    )

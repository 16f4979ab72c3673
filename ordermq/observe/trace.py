"""W3C Trace Context: the ``traceparent`` that connects the messages and logs of one correlation id. Pure.

https://www.w3.org/TR/trace-context/ ; the text is
``00-<trace_id, 32 hex>-<span_id, 16 hex>-<flags, 2 hex>``. Random bytes come from
``random``, the operating system's unless a test gives its own.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass

Random = Callable[[int], bytes]

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_OURS = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)
_SAMPLED = 1

Sampler = Callable[[str], bool]


class _Sampling:
    by: Sampler | None = None


def sample_by(sampler: Sampler | None) -> None:
    """Have ``sampler`` decide by its trace id whether a new trace is sampled; without one each is."""
    _Sampling.by = sampler


@dataclass(frozen=True, slots=True)
class Trace:
    """One step of a trace. ``str()`` is its traceparent."""

    trace_id: str
    span_id: str
    flags: int = _SAMPLED

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"


def new(random: Random = os.urandom) -> str:
    """Return the traceparent of a new trace."""
    trace_id = _identifier(16, random)
    flags = _SAMPLED if _Sampling.by is None or _Sampling.by(trace_id) else 0
    return f"00-{trace_id}-{_identifier(8, random)}-{flags:02x}"


def parse(traceparent: str) -> Trace | None:
    """Return the parts of a traceparent, also of a later version; None if ``traceparent`` is not valid."""
    match = _TRACEPARENT.fullmatch(traceparent)
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if version == "ff" or (version == "00" and more) or not int(trace_id, 16) or not int(span_id, 16):
        return None
    return Trace(trace_id, span_id, int(flags, 16) & _SAMPLED)


def trace_id_of(traceparent: str) -> str:
    """Return the trace id of a traceparent; "" if it is not valid."""
    if _OURS.fullmatch(traceparent):
        return traceparent[3:35]
    found = parse(traceparent)
    return found.trace_id if found else ""


def is_valid(traceparent: str) -> bool:
    """Return whether ``parse`` can read it."""
    return _OURS.fullmatch(traceparent) is not None or parse(traceparent) is not None


def child(traceparent: str, random: Random = os.urandom) -> str:
    """Return a new step of the same trace, or of a new trace if ``traceparent`` cannot be read."""
    if _OURS.fullmatch(traceparent):  # nearly all are like this and need no parsing
        return f"{traceparent[:36]}{_identifier(8, random)}-{int(traceparent[53:], 16) & _SAMPLED:02x}"
    parent = parse(traceparent)
    if parent is None:
        return new(random)
    return str(Trace(parent.trace_id, _identifier(8, random), parent.flags))


def _identifier(size_bytes: int, random: Random) -> str:
    # All zeros would mean "invalid".
    raw = random(size_bytes)
    return raw.hex() if any(raw) else f"{1:0{2 * size_bytes}x}"

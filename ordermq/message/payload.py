"""Typed payloads and their strict JSON.

A payload type is a ``Payload`` subclass; its class name is the message's ``type``
and ``VERSION`` its version. Unknown fields are ignored, so that an old consumer
reads a newer publisher's message of the same version (rolling upgrades).

What is refused, and why it is refused here rather than later:

    over 256 KiB, deeper than 64      a 100,000-fold nesting costs 20 x its size in memory
    not UTF-8, or with a BOM          json.loads guesses UTF-16 and UTF-32; two readers may differ
    NaN, Infinity, 1e999              not JSON, and PostgreSQL's jsonb refuses them
    an object key twice               two readers may see two meanings
    \\u0000 and lone surrogates       PostgreSQL's text cannot hold them, on every attempt

Pure: no I/O.
"""

import json
import re
from functools import lru_cache
from typing import Any, ClassVar, Never, TypeVar, dataclass_transform

import msgspec

from ordermq.errors import MalformedMessage

MAX_BODY_BYTES = 256 * 1024
MAX_DEPTH = 64

_NUL_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
# The closing quote is optional. Otherwise a string without one would be searched again from each quote.
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.DOTALL)


@dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
class Payload(msgspec.Struct, frozen=True):
    """Base of every message body: a subclass declares typed fields, as a dataclass does.

    Its name is the message's type, and ``VERSION`` (1 if it is not given) the version. Add a field
    with a default without a new version; write ``VERSION = 2`` for a change that an old consumer
    must not read: it keeps such messages as dead letters. Instances are immutable. As JSON at most
    256 KiB. What is read from a queue is checked against the fields, strictly: MalformedMessage.
    """

    VERSION: ClassVar[int] = 1


P = TypeVar("P", bound=Payload)

_encoder = msgspec.json.Encoder()


@lru_cache(maxsize=256)
def _decoder(payload_type: type[Payload]) -> "msgspec.json.Decoder[Any]":
    return msgspec.json.Decoder(payload_type)


def encode(payload: Payload) -> bytes:
    """Return the payload's one canonical JSON form. Raises MalformedMessage over the size limit."""
    body = _encoder.encode(payload)
    if len(body) > MAX_BODY_BYTES:
        raise MalformedMessage(f"{type(payload).__name__} of {len(body)} bytes is over {MAX_BODY_BYTES}")
    return body


def decode(body: bytes, payload_type: type[P]) -> P:
    """Read ``body`` as ``payload_type``. Raises MalformedMessage saying what is wrong and where."""
    if len(body) > MAX_BODY_BYTES:
        raise MalformedMessage(f"body over the limit of {MAX_BODY_BYTES} bytes: it has {len(body)}")
    try:
        payload: P = _decoder(payload_type).decode(body)
    except msgspec.ValidationError as exc:
        check_strict(body)
        raise MalformedMessage(f"not a {payload_type.__name__}: {exc}") from exc
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise MalformedMessage(f"not JSON: {exc}") from exc
    # A body that encodes to the same bytes again holds no unknown field, no key twice and no odd
    # escape. Messages of ordermq need no second look; only those of foreign clients do.
    if b"\\u" in body or _encoder.encode(payload) != body:
        check_strict(body)
    return payload


def check_strict(body: bytes) -> Any:
    """Return ``body`` parsed by the rules above, whatever its type. Raises MalformedMessage."""
    if len(body) > MAX_BODY_BYTES:
        raise MalformedMessage(f"body over the limit of {MAX_BODY_BYTES} bytes: it has {len(body)}")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise MalformedMessage(f"not UTF-8: at byte {exc.start}") from exc
    _check_depth(body)
    if _NUL_ESCAPE.search(text):
        raise MalformedMessage("holds \\u0000, which PostgreSQL cannot store")
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object_without_duplicates,
            parse_constant=_refuse_constant,
            parse_float=_finite_float,
        )
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as exc:
        raise MalformedMessage("holds half of a surrogate pair") from exc
    except (ValueError, RecursionError) as exc:
        raise MalformedMessage(f"not JSON: {exc}") from exc
    return value


def _check_depth(body: bytes) -> None:
    depth = 0
    for byte in _STRING.sub(b"", body):
        if byte in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise MalformedMessage(f"nested deeper than {MAX_DEPTH}")
        elif byte in b"]}":
            depth -= 1


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        key = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value] # set.add is None
        raise MalformedMessage(f"a key stands twice in one object: {key[:64]!r}")
    return result


def _refuse_constant(text: str) -> Never:
    raise MalformedMessage(f"{text} is not JSON")


def _finite_float(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise MalformedMessage(f"a number is out of range: {text[:32]}")
    return value

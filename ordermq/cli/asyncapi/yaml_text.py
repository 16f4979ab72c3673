"""Plain data as YAML that people like to read: mappings, lists, texts, numbers. Pure."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# Texts that need no quotes: they hold no sign of YAML and are no number. YAML 1.1 takes the words for others.
_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*( [A-Za-z0-9_./()=,;'-]+)*")
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})


def to_yaml(value: Mapping[str, Any]) -> str:
    """Return ``value`` as a YAML document, its keys in their order."""
    return "".join(f"{line}\n" for line in _lines(value, ""))


def _lines(value: Mapping[str, Any] | Sequence[Any], indent: str) -> Iterator[str]:
    is_mapping = isinstance(value, Mapping)
    pairs = value.items() if isinstance(value, Mapping) else (("", each) for each in value)
    for key, each in pairs:
        head = f"{indent}{_scalar(key)}:" if is_mapping else f"{indent}-"
        if not _is_nested(each):
            yield f"{head} {_scalar(each)}"
        elif is_mapping:
            yield head
            yield from _lines(each, f"{indent}  ")
        else:
            first, *rest = _lines(each, f"{indent}  ")
            yield f"{head} {first.lstrip()}"
            yield from rest


def _is_nested(value: object) -> bool:
    return isinstance(value, Mapping | list | tuple) and len(value) > 0


def _scalar(value: object) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)

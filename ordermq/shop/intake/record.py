"""What the readers of order files share: what they find, and strict JSON. Pure."""

import re
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from ordermq.cli.records import Reject, beginning
from ordermq.errors import BadInput, MessageError
from ordermq.message.payload import check_strict
from ordermq.shop.model import Order

T = TypeVar("T")

# msgspec rounds what is smaller than a microsecond, which may end in the next year; CSV's reader cuts it off.
_SEVENTH_DIGIT = re.compile(r'("placed_at"\s*:\s*"[^"\\]{0,30}\.[0-9]{6})[0-9]+')


@dataclass(frozen=True, slots=True)
class Entry:
    """An order that was read, and the line where it begins.

    ``shared_id`` is the order_id that is made of the order's name, if other orders of the file have
    that name too. The oldest of them has it; the others are placed only if it got it.
    """

    line: int
    order: Order
    shared_id: str | None = None

    @property
    def has_its_name(self) -> bool:
        """Whether the order_id is the one that is made of the order's name alone."""
        return self.shared_id in (None, self.order.order_id)


class Skipped(Reject):
    """A record that is in order and yet not to be placed, such as a cancelled order."""


def decode(text: str, kind: type[T]) -> T:
    """Decode one strict JSON object as ``kind``; Decimal fields are exact. Raises BadInput."""
    body = _SEVENTH_DIGIT.sub(r"\1", text).encode()
    try:
        check_strict(body)
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as exc:
        raise BadInput(f"not an order of this format: {exc}") from exc
    except (MessageError, msgspec.DecodeError) as exc:
        raise BadInput(str(exc)) from exc


def order_id_in(text: str) -> str | None:
    """Return the order_id of a JSON line that holds no valid order, if it has one."""
    try:
        value: Any = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None
    order_id = value.get("order_id") if isinstance(value, dict) else None
    return beginning(order_id) if isinstance(order_id, str) else None

"""Orders of WooCommerce's REST API, version 3: a JSON array, or one object a line.

    curl -u KEY:SECRET 'https://shop.example/wp-json/wc/v3/orders?per_page=100&page=1' >> orders.json

Orders that wait for their payment (``pending``, ``on-hold``) are placed, and ``processing`` ones too.
An order with ``date_paid`` is paid. Of any other status nothing is guessed: the order is skipped.
``intake.woocommerce_order`` makes the Order.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec

from ordermq.cli.records import Line, Reject, beginning, reject
from ordermq.errors import BadInput
from ordermq.shop.intake.documents import Documents
from ordermq.shop.intake.identify import order_id_of
from ordermq.shop.intake.mapping import PaidOrders, ReadOptions
from ordermq.shop.intake.record import Entry, Skipped
from ordermq.shop.intake.woocommerce_order import StoreOrder, order_in

# The REST API writes these two fields first, and no other object has them.
_BEGINNING = r'\{\s*"id"\s*:\s*"?[0-9]+"?\s*,\s*"parent_id"\s*:'

_OPEN = ("pending", "on-hold", "processing")
_decoder = msgspec.json.Decoder(StoreOrder, float_hook=Decimal)
_anything = msgspec.json.Decoder(float_hook=Decimal)


def read_woocommerce(chunks: Iterator[bytes], options: ReadOptions) -> Iterator[Entry | Reject]:
    """Yield each order, or a reject, in the order of the file.

    Raises BadInput at the end of a file that was cut inside of its array.
    """
    for found in Documents(chunks, _BEGINNING).read():
        yield found if isinstance(found, Reject) else _read(found, options)


def _read(line: Line, options: ReadOptions) -> Entry | Reject:
    order_id = None
    try:
        source = _decode(line.text)
        order_id = _order_id(source, line.text, options)
        if word := _word_against(source, options):
            reason = f"skipped ({word}): {_statuses_of(source)}"
            return Skipped(line.number, reason, beginning(line.text), order_id)
        return Entry(line.number, order_in(source, order_id, options, lambda name: value_at(line.text, name)))
    except BadInput as exc:
        return reject(line, exc, order_id or _id_in(line.text))


def _decode(text: str) -> StoreOrder:
    try:
        return _decoder.decode(text)
    except msgspec.ValidationError as exc:
        raise BadInput(f"not an order of WooCommerce: {exc}") from exc
    except UnicodeEncodeError as exc:
        raise BadInput("not UTF-8: convert the file to UTF-8 first") from exc
    except (msgspec.DecodeError, RecursionError) as exc:
        raise BadInput(f"not JSON: {exc}") from exc


def _order_id(source: StoreOrder, text: str, options: ReadOptions) -> str:
    field = options.mapping.order_id_from
    order_id = order_id_of(value_at(text, field) if field else str(source.id))
    if not order_id:
        raise BadInput(f"{field or 'id'}: empty, and the order_id is made of it")
    return order_id


def _word_against(source: StoreOrder, options: ReadOptions) -> str | None:
    """Return the word for which the order is not to be placed, None if it is to be."""
    status = source.status.lower()
    if status not in _OPEN:
        return status or "no status"
    if source.refunds:
        return "partially refunded"
    return "paid" if source.is_paid and options.paid is PaidOrders.SKIP else None


def _statuses_of(source: StoreOrder) -> str:
    said = [f"status {source.status}"]
    if source.is_paid:
        said.append(f"paid at {source.date_paid_gmt or source.date_paid or 'an unknown time'}")
    if source.refunds:
        said.append(f"with {len(source.refunds)} refunds")
    return ", ".join(said)


def _id_in(text: str) -> str | None:
    """Return the order_id of an object that is no order, if it has an id."""
    try:
        return order_id_of(value_at(text, "id")) or None
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return None


def value_at(text: str, name: str) -> str:
    """Return the value of a field of an order, or of a key of its ``meta_data``; "" if there is none.

    ``name`` is such as ``transaction_id``, ``billing.email`` or ``meta_data._stripe_source_id``.
    """
    value: Any = _anything.decode(text)
    for part in name.split(".", 1):
        if isinstance(value, list):
            value = {each.get("key"): each.get("value") for each in value if isinstance(each, dict)}
        value = value.get(part) if isinstance(value, dict) else None
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""

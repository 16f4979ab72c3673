"""ordermq's own order files: JSON lines or CSV; the first line shows which.

JSON lines: one object for each line, with the fields of ``ordermq.shop.model.Order``:

    {"order_id": "A-1", "customer_id": "C-7", "currency": "EUR", "total_minor": 2398, "card_token": "tok_1",
     "items": [{"product_id": "P-1", "quantity": 2, "unit_price_minor": 1299, "freight_minor": 0}],
     "adjustments": [{"kind": "discount", "amount_minor": -200, "label": "WELCOME"}],
     "contact": {"phone": "+4930123456", "email": "a@b.example", "name": "A. B."},
     "notify": "both", "placed_at": "2026-01-31T09:30:00Z"}

``freight_minor``, ``adjustments`` of the order and of an item, ``contact``, each field of it,
``notify`` and ``placed_at`` may be missing. ``card_token`` may be missing if there is nothing
to charge, as with ``"payment": {"state": "paid", "reference": "ch_1"}``. Fields with other
names are ignored. ``intake.table`` describes CSV.
"""

from collections.abc import Iterable, Iterator
from itertools import chain

from ordermq.cli.records import Line, Reject, reject
from ordermq.errors import BadInput
from ordermq.shop.intake.record import Entry, decode, order_id_in
from ordermq.shop.intake.table import read_table
from ordermq.shop.model import Order


def read_native(lines: Iterable[Line | Reject]) -> Iterator[Entry | Reject]:
    """Yield each order, or a reject. Raises BadInput if the file is neither JSON lines nor CSV."""
    rest = iter(lines)
    for line in rest:
        if isinstance(line, Reject):
            yield line
            continue
        beginning = line.text.lstrip()[:1]
        if beginning == "[":
            raise BadInput("the file is a JSON array; write one order a line (jq -c '.[]' does)")
        read = read_json if beginning == "{" else read_table
        yield from read(chain([line], rest))


def read_json(lines: Iterable[Line | Reject]) -> Iterator[Entry | Reject]:
    """Yield the order of each line, or a reject. Never raises because of a line."""
    for line in lines:
        if isinstance(line, Reject):
            yield line
            continue
        try:
            yield Entry(line.number, decode(line.text, Order))
        except BadInput as exc:
            yield reject(line, exc, order_id_in(line.text))

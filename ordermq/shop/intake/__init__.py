"""Readers of order files. They stream, and a bad record does not stop them. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from ordermq.cli.records import ByteStream, Line, Reject, read_lines
from ordermq.shop.intake.native import read_native
from ordermq.shop.intake.olist import read_olist
from ordermq.shop.intake.record import Entry

__all__ = ["FORMATS", "Entry", "read_orders"]

FORMATS: Mapping[str, Callable[[Iterable[Line | Reject]], Iterator[Entry | Reject]]] = {
    "native": read_native,
    "olist": read_olist,
}


def read_orders(stream: ByteStream, format: str) -> Iterator[Entry | Reject]:
    """Yield every record of the file, in its order: an order, or a reject with its reason.

    ``format`` is a key of FORMATS. Raises BadInput at the first record if the whole file
    is not in that format.
    """
    return FORMATS[format](read_lines(stream))

"""Readers of order files. They stream, and a bad record does not stop them. Pure."""

from collections.abc import Callable, Iterator, Mapping

from ordermq.cli.records import ByteStream, Reject, lines_of, read_chunks
from ordermq.shop.intake.mapping import PaidOrders, ReadOptions, read_mapping
from ordermq.shop.intake.native import read_native
from ordermq.shop.intake.olist import read_olist
from ordermq.shop.intake.recognise import recognised
from ordermq.shop.intake.record import Entry, Skipped
from ordermq.shop.intake.shopify import read_shopify
from ordermq.shop.intake.woocommerce import read_woocommerce

__all__ = [
    "EXPORTS", "FORMATS", "Entry", "PaidOrders", "ReadOptions", "Skipped", "read_mapping", "read_orders",
]  # fmt: skip

FORMATS: Mapping[str, Callable[[Iterator[bytes], ReadOptions], Iterator[Entry | Reject]]] = {
    "native": lambda chunks, options: read_native(lines_of(chunks)),
    "olist": lambda chunks, options: read_olist(lines_of(chunks)),
    "shopify": lambda chunks, options: read_shopify(lines_of(chunks), options),
    "woocommerce": read_woocommerce,
}
EXPORTS = ("shopify", "woocommerce")
"""Formats of shops: ReadOptions say what the file does not."""


def read_orders(
    stream: ByteStream, format: str, options: ReadOptions | None = None
) -> Iterator[Entry | Reject]:
    """Yield every record of the file, in its order: an order, or a reject with its reason.

    ``format`` is a key of FORMATS. A record that is in order and not to be placed is a Skipped.
    Raises BadInput at the first record if the whole file is not in that format.
    """
    return FORMATS[format](recognised(read_chunks(stream), format), options or ReadOptions())

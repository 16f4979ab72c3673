"""Files of another format than the one they are read as: the cause, and what to type instead. Pure.

Only the beginning of a file is looked at. What is not recognised is left to its reader.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import chain

from ordermq.errors import BadInput

_HEAD_BYTES = 16 * 1024

# Fields that only one format has, near the beginning of an order.
_JSON_KEYS: Mapping[str, re.Pattern[str]] = {
    "woocommerce": re.compile(r'"(?:date_created_gmt|order_key|prices_include_tax)"\s*:'),
    "olist": re.compile(r'"(?:purchased_at|approved_at)"\s*:'),
    "native": re.compile(r'"(?:card_token|unit_price_minor|total_minor)"\s*:'),
}
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "shopify": ("lineitem name", "financial status"),
    "native": ("order_id", "product_id"),
}
_NAMES: Mapping[str, str] = {
    "native": "ordermq's own orders",
    "olist": "orders of Olist",
    "shopify": "an export of Shopify",
    "woocommerce": "orders of WooCommerce's REST API",
}
_SEPARATORS = {";": ("semicolons", ";"), "\t": ("tabs", "\\t"), "|": ("bars", "|")}
# The first object goes on in the second line, as jq and editors write it.
_PRETTY = re.compile(r'[^\n]*[{\[,]\s*\n(?:\s*["}\]]|[ \t]+\{)')
_JSON_LINES = ("native", "olist")


def recognised(chunks: Iterator[bytes], format: str) -> Iterator[bytes]:
    """Yield the chunks. Raises BadInput with a hint if the file begins as one of another format does."""
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= _HEAD_BYTES or _is_enough(head):
            break
    _check(head.decode("utf-8", "replace")[:_HEAD_BYTES], format)
    yield from chain([head] if head else [], chunks)


def _is_enough(head: bytes) -> bool:
    """Return whether the first record is there: a pipe may give no more of it for long."""
    first, end, _ = head.lstrip().partition(b"\n")
    return bool(end) and (not first.startswith((b"{", b"[")) or first.rstrip().endswith(b"}"))


def _check(head: str, format: str) -> None:
    text = head.lstrip()
    first = text.partition("\n")[0]
    if not first:
        return
    if text.startswith("PK\x03\x04"):
        raise BadInput("the file is a ZIP archive or a workbook of Excel; unpack it, or save it as CSV UTF-8")
    if re.match(r"<(?:!doctype|html|\?xml)\b", text, re.IGNORECASE):
        raise BadInput("the file is a page of HTML or XML and not an export; was the login missing?")
    if first[0] in "{[":
        _check_json(text, format)
    else:
        _check_table(first, format)


def _check_json(text: str, format: str) -> None:
    found = {name for name, pattern in _JSON_KEYS.items() if pattern.search(text)}
    if re.match(r'\{\s*"code"\s*:.*"message"\s*:', text, re.DOTALL) and not found:
        raise BadInput(f"the file is an error that the shop answered, and no orders: {text[:200]!r}")
    if re.match(r'\{\s*"orders"\s*:\s*\[', text):
        raise BadInput("the orders stand inside of an object; take them out: jq -c '.orders[]' FILE")
    if found and format not in found:
        raise BadInput(_other(sorted(found)[0]))
    if format == "shopify":
        raise BadInput(
            "the file is JSON; --format shopify reads the CSV of Orders, Export in Shopify's administration"
        )
    if format in _JSON_LINES and text[0] == "[":
        raise BadInput(
            "the file is a JSON array; write one order a line:"
            f" jq -c '.[]' FILE | ordermq-publish orders - --format {format}"
        )
    if format in _JSON_LINES and _PRETTY.match(text):
        raise BadInput(
            "the JSON is spread over several lines; write one order a line:"
            f" jq -c . FILE | ordermq-publish orders - --format {format}"
        )


def _check_table(first: str, format: str) -> None:
    for separator, (name, written) in _SEPARATORS.items():
        if first.count(separator) >= 2 and first.count(separator) > first.count(","):
            raise BadInput(
                f"the cells are separated by {name}; write commas:"
                f" mlr --icsv --ifs '{written}' --ocsv cat FILE | ordermq-publish orders - --format {format}"
            )
    columns = {column.strip(' "\r').lower() for column in first.split(",")}
    found = [name for name, needed in _COLUMNS.items() if columns.issuperset(needed)]
    if found and format not in found:
        raise BadInput(_other(found[0]))
    if format == "woocommerce":
        raise BadInput(
            "the file is not JSON; --format woocommerce reads the orders of the REST API, version 3"
            " (GET /wp-json/wc/v3/orders)"
        )


def _other(found: str) -> str:
    return f"the file holds {_NAMES[found]}; type --format {found}"

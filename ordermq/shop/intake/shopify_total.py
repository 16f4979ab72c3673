"""How the total of an order that Shopify exported comes about: no column says so, the sums do. Pure.

    L  the lines: quantity x price         S  Subtotal           D  Discount Amount
    H  Shipping, before a discount of it   X  Taxes, U  Duties   T  Total

    L - S      is what D takes from the lines; the rest of D, if any, is taken from H
    T          is S + shipping, where the prices include the tax
    T          is S + shipping + X, where the tax comes on top
    T          is either of them + U, where the customer pays the duties

A tip is a row of its own, without a product. It is a fee, whether Subtotal counts it or not.
An order is taken only if one of these fits exactly. An order that was edited often fits none.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from ordermq.errors import BadInput
from ordermq.shop.money import written


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedAmounts:
    """The amounts of one order as the file has them, in minor units of ``currency``."""

    currency: str
    lines: int
    tips: int
    subtotal: int
    shipping: int
    taxes: int
    duties: int
    discount: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Charges:
    """What is added to the lines: lines - discount + shipping + tax + duties + tips = total."""

    discount: int
    shipping: int
    tax_on_top: int
    tax_included: int
    duties: int
    tips: int


def explain(found: ExportedAmounts) -> Charges:
    """Return how ``total`` comes about. Raises BadInput with the amounts if nothing fits."""
    _check_signs(found)
    discount, tips_beside = _line_discount(found)
    shipping_discount = found.discount - discount
    for shipping, tax, duties in product(
        dict.fromkeys((max(0, found.shipping - shipping_discount), found.shipping)),
        dict.fromkeys((0, found.taxes)),
        dict.fromkeys((0, found.duties)),
    ):
        if found.subtotal + tips_beside + shipping + tax + duties == found.total:
            return Charges(
                discount=discount,
                shipping=shipping,
                tax_on_top=tax,
                tax_included=found.taxes - tax,
                duties=duties,
                tips=found.tips,
            )
    said = _said(found, found.total)
    raise BadInput(f"total differs from its parts: {said} is {_neither(found, tips_beside)}")


def _check_signs(found: ExportedAmounts) -> None:
    for name in ("subtotal", "shipping", "taxes", "duties", "discount", "total"):
        if getattr(found, name) < 0:
            raise BadInput(f"{name}: {_said(found, getattr(found, name))} is below 0")


def _line_discount(found: ExportedAmounts) -> tuple[int, int]:
    """Return what is taken from the lines, and the tips that Subtotal does not count."""
    for tips_beside in dict.fromkeys((0, found.tips)):
        discount = found.lines + found.tips - tips_beside - found.subtotal
        if 0 <= discount <= found.discount:
            return discount, tips_beside
    raise BadInput(
        f"subtotal differs from the lines: they come to {_said(found, found.lines + found.tips)}, less a"
        f" Discount Amount of {_said(found, found.discount)}, but Subtotal is {_said(found, found.subtotal)};"
        " an edited order, or a row that is missing"
    )


def _neither(found: ExportedAmounts, tips_beside: int) -> str:
    base = found.subtotal + tips_beside + found.shipping
    texts = [f"neither Subtotal + Shipping, {_said(found, base)}"]
    texts += _also(found, base)
    return ", ".join(texts) + "; the order was edited, perhaps"


def _also(found: ExportedAmounts, base: int) -> Iterator[str]:
    yield f"nor with Taxes on top, {_said(found, base + found.taxes)}"
    if found.discount:
        yield f"nor with Discount Amount {_said(found, found.discount)} taken from Shipping"
    if found.duties:
        yield f"nor with Duties {_said(found, found.duties)}"


def _said(found: ExportedAmounts, amount_minor: int) -> str:
    return written(amount_minor, found.currency)

"""Orders of WooCommerce's REST API: what real ones hold, each trap by itself."""

import io
import json
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ordermq.cli.records import Reject
from ordermq.shop.intake import Entry, PaidOrders, ReadOptions, Skipped, read_orders
from ordermq.shop.intake.mapping import ExportMapping
from ordermq.shop.model import PaidBefore
from tests.support.exports import json_lines, woocommerce_line, woocommerce_order

PLACE = ReadOptions(PaidOrders.PLACE)


def read(data, options=PLACE):
    return list(read_orders(io.BytesIO(data), "woocommerce", options))


def read_one(*lines, options=PLACE, **fields):
    (found,) = read(json_lines(woocommerce_order(1001, *lines, **fields)), options)
    return found


def order(*lines, options=PLACE, **fields):
    found = read_one(*lines, options=options, **fields)
    assert isinstance(found, Entry), found
    return found.order


def added(found):
    """Return the order's adjustments, and what each of its lines comes to."""
    return [(str(each.kind), each.amount_minor) for each in found.adjustments], [
        item.amount_minor for item in found.items
    ]


# --- how a total comes about ------------------------------------------------------------------------


def test_totals_of_lines_are_without_tax_whatever_the_prices_include():
    line = woocommerce_line(2, "21.68", "4.12")
    for includes in (True, False):
        found = order(line, total="25.80", total_tax="4.12", prices_include_tax=includes)
        assert added(found) == ([], [2580])


def test_price_is_a_float_and_not_used():
    line = woocommerce_line(7, "14.31", price=14.309999999999999)
    found = order(line, total="14.31")
    assert (found.total_minor, found.quantities()) == (1431, {"MUG-B": 7})
    assert added(found) == ([], [1431])


def test_a_line_that_its_units_do_not_divide_keeps_its_quantity():
    (item,) = order(woocommerce_line(3, "10.00")).items
    assert (item.quantity, item.unit_price_minor, item.amount_minor) == (3, 333, 1000)


def test_a_coupon_is_the_discount_of_its_lines():
    (item,) = order(woocommerce_line(3, "10.00", subtotal="12.00")).items
    assert [(each.kind, each.amount_minor) for each in item.adjustments] == [("discount", -200)]


def test_shipping_and_fees_are_taken_with_their_tax_and_fees_may_lower_the_total():
    fees = [{"id": 1, "name": "Wrap &amp; card", "total": "3.00", "total_tax": "0.57"},
            {"id": 2, "name": "Loyalty", "total": "-5.00", "total_tax": "-0.95"}]  # fmt: skip
    found = order(fee_lines=fees, shipping_total="4.12", shipping_tax="0.78", total="12.52")
    assert added(found) == ([("shipping", 490), ("fee", 357), ("fee", -595)], [1000])
    assert found.adjustments[1].label == "Wrap & card"


@pytest.mark.parametrize("total", ["11.90", "11.91", "11.89"])
def test_a_total_may_be_a_cent_off_because_tax_is_rounded_at_once(total):
    found = order(woocommerce_line(1, "10.00", "1.90"), total=total, total_tax="1.90")
    assert found.total_minor == int(total.replace(".", ""))


@pytest.mark.parametrize("total", ["11.92", "11.88", "21.90"])
def test_a_total_that_rounding_does_not_explain_rejects_the_order(total):
    found = read_one(woocommerce_line(1, "10.00", "1.90"), total=total, total_tax="1.90")
    assert isinstance(found, Reject)
    assert found.reason.startswith(
        "total differs from its parts: the lines with tax, shipping and fees come to 11.90"
    )


def test_amounts_have_the_decimals_that_the_shop_shows():
    fine = order(woocommerce_line(2, "21.6807", "4.1193"), total="25.8000", total_tax="4.1193")
    assert added(fine) == ([], [2580])
    coarse = order(woocommerce_line(2, "22", "4"), total="26", shipping_total="0", shipping_tax="0")
    assert coarse.total_minor == 2600
    off = order(woocommerce_line(2, "22", "4"), total="25", shipping_total="0", shipping_tax="0")
    assert added(off) == ([("rounding", -100)], [2600])
    yen = order(woocommerce_line(1, "23600"), total="23600", currency="JPY")
    assert yen.total_minor == 23600
    assert isinstance(read_one(woocommerce_line(1, "10.005"), total="10.005"), Reject)
    assert isinstance(read_one(woocommerce_line(1, 10), total="10.50"), Reject)


cents = st.integers(0, 10**7)


def plain(amount_minor):
    return f"{amount_minor // 100}.{amount_minor % 100:02}"


@given(
    st.lists(st.tuples(st.integers(1, 40), cents, cents, cents), min_size=1, max_size=5),
    cents,
    st.integers(-1, 1),
)
def test_any_amounts_that_differ_by_their_rounding_make_the_total_exactly(parts, shipping, off):
    lines = [
        woocommerce_line(units, plain(total), plain(tax), subtotal=plain(total + coupon))
        for units, total, tax, coupon in parts
    ]
    wanted = sum(total + tax for _, total, tax, _ in parts) + shipping
    total = max(0, wanted + off)
    found = order(*lines, total=plain(total), shipping_total=plain(shipping))
    assert found.total_minor == total
    assert found.quantities() == {"MUG-B": sum(units for units, *_ in parts)}


def test_three_decimals_and_numbers_in_the_place_of_text_are_exact():
    line = woocommerce_line(1, 1.25, 0)
    assert order(line, total=1.250, currency="KWD").total_minor == 1250
    assert order(woocommerce_line(1, "0.00", 1e-7), total=0.0).total_minor == 0


def test_gift_cards_lower_the_total():
    found = order(gift_cards=[{"id": 1, "code": "secret", "amount": "4.00"}], total="6.00")
    assert added(found) == ([("gift_card", -400)], [1000])
    assert "secret" not in str(found.adjustments)


def test_an_order_that_costs_nothing_has_no_card():
    found = order(woocommerce_line(1, "0.00", subtotal="10.00"), total="0.00")
    assert (found.total_minor, found.card_token, found.payment) == (0, None, None)


# --- who pays -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "status",
    ["completed", "cancelled", "refunded", "failed", "checkout-draft", "trash", "awaiting-pickup", "wc-new"],
)
def test_an_order_of_any_other_status_is_skipped_with_its_word(status):
    found = read_one(status=status)
    assert isinstance(found, Skipped)
    assert found.reason == f"skipped ({status}): status {status}"
    assert found.record_id == "1001"


@pytest.mark.parametrize("status", ["pending", "on-hold", "processing"])
def test_an_order_that_waits_for_its_money_is_placed_to_be_charged(status):
    found = order(status=status, options=ReadOptions())
    assert (found.card_token, found.payment) == ("woocommerce:1001:no-card", None)


@pytest.mark.parametrize(
    "fields",
    [
        {"date_paid": "2026-05-04T09:16:00"}, {"date_paid_gmt": "2026-05-04T07:16:00"},
        {"status": "processing", "transaction_id": "ch_1"},
    ],
)  # fmt: skip
def test_an_order_with_a_date_of_its_payment_is_paid(fields):
    skipped = read_one(options=ReadOptions(), **fields)
    assert isinstance(skipped, Skipped)
    assert skipped.reason.startswith("skipped (paid): ")
    reference = fields.get("transaction_id", "woocommerce:1001")
    assert order(**fields).payment == PaidBefore(reference=reference)


def test_refunds_do_not_lower_the_total_so_an_order_with_some_is_skipped():
    found = read_one(
        status="processing", date_paid="2026-05-04T09:16:00", refunds=[{"id": 1, "total": "-4.00"}]
    )
    assert isinstance(found, Skipped)
    assert "partially refunded" in found.reason


# --- names, products, customers -------------------------------------------------------------------------


def test_the_order_id_is_the_id_because_plug_ins_make_the_number_text():
    assert order(number="RE/2026-0815").order_id == "1001"
    by_number = ReadOptions(mapping=ExportMapping(order_id_from="number"))
    assert order(number="RE/2026-0815", options=by_number).order_id == "RE-2026-0815"


def test_a_product_is_its_sku_or_its_variation_or_its_id_or_its_name():
    lines = [
        woocommerce_line(1, "1.00", sku="MUG-B", variation_id=94),
        woocommerce_line(1, "1.00", sku="", variation_id=94),
        woocommerce_line(1, "1.00", sku="", variation_id=0),
        woocommerce_line(1, "1.00", sku=None, product_id=0, name="Old &ndash; mug"),
        woocommerce_line(1, "1.00", sku=None, product_id=None, variation_id=None, name="Old – mug"),
    ]
    ids = [item.product_id for item in order(*lines, total="5.00").items]
    assert ids[:3] == ["MUG-B", "94", "93"]
    assert ids[3] == ids[4]
    assert ids[3].startswith("name:old-mug-")


def test_the_mapping_names_products_by_name_or_id():
    mapping = ExportMapping(products={"Mug": "MUG-9", "94": "MUG-94"})
    lines = [woocommerce_line(1, "5.00", sku="", name="Mug"),
             woocommerce_line(1, "5.00", sku="", name="Cup", variation_id=94)]  # fmt: skip
    assert order(*lines, options=ReadOptions(mapping=mapping)).quantities() == {"MUG-9": 1, "MUG-94": 1}


def test_guests_are_told_apart_though_all_have_the_customer_id_0():
    addresses = [{"email": "a@b.example"}, {"email": "A@b.example"}, {"email": "c@b.example"}]
    ids = [order(customer_id=0, billing=each).customer_id for each in addresses]
    assert ids[0] == ids[1] != ids[2]
    assert order(customer_id=7).customer_id == "7"


def test_the_mapping_takes_values_of_fields_and_of_meta_data():
    mapping = ExportMapping(card_token_from="meta_data._stripe_source_id", payment_reference_from="order_key")
    meta = [{"id": 1, "key": "_stripe_source_id", "value": "pm_1"}, {"id": 2, "key": "other", "value": {}}]
    options = ReadOptions(PaidOrders.PLACE, mapping)
    assert order(meta_data=meta, options=options).card_token == "pm_1"
    assert order(options=options).card_token == "woocommerce:1001:no-card"
    paid = order(date_paid="2026-05-04T09:16:00", options=options)
    assert paid.payment == PaidBefore(reference="wc_order_1001")


def test_the_instant_is_the_one_of_gmt_and_local_time_needs_a_zone():
    assert order().placed_at == datetime(2026, 5, 4, 7, 15, 30, tzinfo=UTC)
    local = {"date_created": "2026-05-04T09:15:30", "date_created_gmt": None}
    found = read_one(**local)
    assert isinstance(found, Reject)
    assert found.reason.startswith(
        "date_created: '2026-05-04T09:15:30' has no time zone; name it as time_zone"
    )
    zone = ReadOptions(mapping=ExportMapping(time_zone=ZoneInfo("Europe/Berlin")))
    assert order(options=zone, **local).placed_at == datetime(2026, 5, 4, 7, 15, 30, tzinfo=UTC)


# --- the file ---------------------------------------------------------------------------------------------


ORDERS = [woocommerce_order(n) for n in (1, 2, 3)]
SHAPES = {
    "lines": json_lines(*ORDERS),
    "lines with CRLF and a mark": b"\xef\xbb\xbf" + json_lines(*ORDERS).replace(b"\n", b"\r\n"),
    "an array on one line": json.dumps(ORDERS).encode(),
    "a pretty array": json.dumps(ORDERS, indent=2).encode(),
    "a pretty array with tabs": json.dumps(ORDERS, indent="\t").encode(),
    "an array with an order a line": b"[" + json_lines(*ORDERS).rstrip().replace(b"\n", b",\n") + b"]",
    "pretty objects": b"\n".join(json.dumps(each, indent=1).encode() for each in ORDERS),
    "two pages": json.dumps(ORDERS[:2]).encode() + b"\n" + json.dumps(ORDERS[2:]).encode(),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_file_gives_the_same_orders(shape):
    found = read(SHAPES[shape])
    assert [each.order.order_id for each in found] == ["1", "2", "3"]


def test_an_empty_array_has_no_orders():
    assert read(b"[]") == read(b"[ ]\n") == read(b"") == []


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "break_", [b'"total" "10.00"', b'"total: "10.00"', b'"total": NaN', b'"total": 7}, "x": 1']
)
def test_a_broken_order_costs_no_other_one_in_any_shape(shape, break_):
    data = SHAPES[shape]
    at = data.index(
        b'"total": "10.00", "total_tax"' if b'"total": "10.00", "total_tax"' in data else b'"total": "10.00"',
        data.index(b"wc_order_2"),
    )
    found = read(data[:at] + break_ + data[at + len(b'"total": "10.00"') :])
    assert [each.order.order_id for each in found if isinstance(each, Entry)] == ["1", "3"]
    assert [isinstance(each, Reject) for each in found] == [False, True, False]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"total": None}, "total differs"), ({"total": "ten"}, "total: 'ten' is not an amount"),
        ({"line_items": []}, "no lines of goods"), ({"line_items": None}, "not an order of WooCommerce"),
        ({"currency": ""}, "currency: the file names none"), ({"currency": "ABC"}, "currency: 'ABC'"),
        ({"line_items": [woocommerce_line(2, "10.00", quantity=0.5)]}, "quantity: 0.5 is not a whole"),
        ({"line_items": [woocommerce_line(sku="", product_id=0, name=None)]}, "without a product"),
        ({"status": None}, "not an order of WooCommerce"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_rejects_its_order_with_the_field(fields, said):
    data = json_lines(woocommerce_order(1), woocommerce_order(2, **fields), woocommerce_order(3))
    before, bad, behind = read(data)
    assert isinstance(bad, Reject)
    assert said in bad.reason
    assert (bad.line, bad.record_id) == (2, "2")
    assert isinstance(before, Entry)
    assert isinstance(behind, Entry)


texts = st.text(max_size=5) | st.sampled_from(["1.00", "-1", "2026-05-04T09:15:30"])
keys = st.sampled_from(["total", "name", "sku", "quantity", "key"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(list(woocommerce_order())), json_values, max_size=4))
def test_no_json_makes_the_reader_raise_and_none_costs_a_neighbour(changes):
    data = json_lines(woocommerce_order(1), {**woocommerce_order(2), **changes}, woocommerce_order(3))
    found = read(data)
    assert len(found) == 3
    assert isinstance(found[0], Entry)
    assert isinstance(found[2], Entry)

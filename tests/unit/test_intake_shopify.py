"""Shopify's exports: what real ones hold, each trap by itself."""

import io
import re
import tracemalloc
from dataclasses import astuple
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ordermq.cli.records import Reject
from ordermq.errors import BadInput
from ordermq.shop.intake import Entry, PaidOrders, ReadOptions, Skipped, read_orders
from ordermq.shop.intake.identify import order_id_of, product_id_of
from ordermq.shop.intake.mapping import ExportMapping
from ordermq.shop.intake.shopify_total import ExportedAmounts, explain
from ordermq.shop.model import PaidBefore
from ordermq.shop.split import shares
from tests.support.exports import SHOPIFY_COLUMNS, shopify_file, shopify_order

PLACE = ReadOptions(PaidOrders.PLACE)
MUGS = (2, "Mug - Blue", "12.90", "MUG-B")


def read(data, options=PLACE):
    return list(read_orders(io.BytesIO(data), "shopify", options))


def read_one(*rows_of, options=PLACE, **cells):
    (found,) = read(shopify_file(shopify_order(*rows_of, **cells)), options)
    return found


def order(*rows_of, options=PLACE, **cells):
    found = read_one(*rows_of, options=options, **cells)
    assert isinstance(found, Entry), found
    return found.order


def reason(*rows_of, options=PLACE, **cells):
    found = read_one(*rows_of, options=options, **cells)
    assert isinstance(found, Reject), found
    return found.reason


def added(found):
    """Return the order's adjustments, and the sum of what its lines come to."""
    return {str(each.kind): each.amount_minor for each in found.adjustments}, sum(
        item.amount_minor for item in found.items
    )


def outcomes(found):
    return [
        (each.order.order_id, "place")
        if isinstance(each, Entry)
        else (each.record_id, "skip" if isinstance(each, Skipped) else "reject")
        for each in found
    ]


# --- how a total comes about ------------------------------------------------------------------------


def test_taxes_inside_of_the_prices_are_not_added():
    found = order("#1", MUGS, subtotal="25.80", shipping="4.90", taxes="4.90", total="30.70")
    assert found.total_minor == 3070
    assert added(found) == ({"shipping": 490, "tax_included": 490}, 2580)


def test_taxes_on_top_are_added_order_by_order_in_one_file():
    on_top = shopify_order("#1", MUGS, subtotal="25.80", shipping="4.90", taxes="4.90", total="35.60")
    inside = shopify_order("#2", MUGS, subtotal="25.80", shipping="4.90", taxes="4.90", total="30.70")
    first, second = (each.order for each in read(shopify_file(on_top, inside)))
    assert added(first)[0] == {"shipping": 490, "tax": 490}
    assert added(second)[0] == {"shipping": 490, "tax_included": 490}


def test_an_order_whose_total_nothing_explains_is_rejected_with_the_numbers():
    said = reason("#1", (1, "Lamp", "50.00"), subtotal="50.00", taxes="5.00", total="64.99")
    assert said.startswith("total differs from its parts: 64.99 is neither Subtotal + Shipping, 50.00, nor")
    assert "55.00" in said


def test_a_discount_that_stands_in_no_line_is_the_orders():
    found = order(
        "#1", (3, "Notebook", "10.00"), (1, "Pen", "5.00"), subtotal="30.00", discount="5.00", code="MAY"
    )
    assert added(found) == ({"discount": -500}, 3500)
    assert found.adjustments[0].label == "MAY"


def test_a_discount_that_stands_in_the_lines_too_is_subtracted_once_and_there():
    found = order(
        "#1", (2, "Poster", "20.00", "P", "8.00"), (1, "Pen", "5.00", "Q"), subtotal="37.00", discount="8.00"
    )
    assert added(found) == ({}, 3700)
    assert [item.amount_minor for item in found.items] == [3200, 500]


def test_discounts_of_lines_that_are_only_a_part_of_the_discount_are_the_orders():
    found = order("#1", (2, "Poster", "20.00", "P", "3.00"), subtotal="32.00", discount="8.00")
    assert added(found) == ({"discount": -800}, 4000)


def test_a_code_for_free_shipping_is_taken_from_the_shipping():
    found = order(
        "#1", (1, "Lamp", "49.99"), subtotal="49.99", shipping="15.00", discount="15.00", total="49.99"
    )
    assert added(found) == ({}, 4999)


def test_a_discount_may_be_partly_of_the_lines_and_partly_of_the_shipping():
    found = order(
        "#1", MUGS, subtotal="20.80", shipping="9.00", discount="14.00", taxes="1.00", total="21.80"
    )
    assert added(found) == ({"discount": -500, "tax": 100}, 2580)


cents = st.integers(0, 10**7)


@given(st.tuples(*[cents] * 5), st.integers(0, 100), st.booleans(), st.booleans())
def test_any_order_whose_columns_agree_is_taken_at_its_total(amounts, share, on_top, counts_tips):
    lines, shipping, taxes, duties, tips = amounts
    of_lines, of_shipping = lines * share // 100, shipping * share // 100
    subtotal = lines - of_lines + tips * counts_tips
    total = lines - of_lines + tips + shipping - of_shipping + taxes * on_top + duties
    found = ExportedAmounts(
        currency="EUR", lines=lines, tips=tips, subtotal=subtotal, shipping=shipping, taxes=taxes,
        duties=duties, discount=of_lines + of_shipping, total=total,
    )  # fmt: skip
    charges = explain(found)
    added = charges.shipping + charges.tax_on_top + charges.duties + charges.tips
    assert lines - charges.discount + added == total
    assert min(astuple(charges)) >= 0


def test_lines_that_do_not_make_the_subtotal_reject_the_order():
    assert "subtotal differs from the lines: they come to 25.80" in reason("#1", MUGS, subtotal="30.00")
    assert "subtotal differs from the lines" in reason("#1", MUGS, subtotal="20.00", discount="1.00")


def test_duties_are_a_fee():
    found = order("#1", duties="3.50", total="13.50")
    assert added(found) == ({"fee": 350}, 1000)


@pytest.mark.parametrize("subtotal", ["10.00", "12.00"])
def test_a_tip_is_a_fee_and_no_product_whether_the_subtotal_counts_it_or_not(subtotal):
    rows = shopify_order(
        "#1", (1, "Mug", "10.00", "MUG-B"), (1, "Tip", "2.00"), subtotal=subtotal, total="12.00"
    )
    rows[1]["Lineitem requires shipping"] = "false"
    (found,) = read(shopify_file(rows))
    assert found.order.quantities() == {"MUG-B": 1}
    assert added(found.order) == ({"fee": 200}, 1000)


def test_an_order_that_costs_nothing_has_no_card_and_no_payment():
    found = order("#1", status="paid", subtotal="0.00", discount="10.00", total="0.00")
    assert (found.total_minor, found.card_token, found.payment) == (0, None, None)


def test_a_line_that_an_edit_removed_is_no_product():
    found = order("#1", (1, "Mug", "10.00", "MUG-B"), (0, "Lamp", "50.00", "LMP-1"))
    assert found.quantities() == {"MUG-B": 1}


@pytest.mark.parametrize(
    ("currency", "price", "minor"),
    [("JPY", "23600", 23600), ("JPY", "23600.00", 23600), ("PKR", "20315", 2031500), ("KWD", "1.250", 1250)],
)
def test_amounts_have_the_decimals_of_their_currency_or_none(currency, price, minor):
    found = order("#1", (1, "Mug", price), currency=currency, subtotal=price)
    assert (found.total_minor, found.currency) == (minor, currency)


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ({"total": "1e3"}, "total: '1e3' is not an amount"),
        ({"total": ""}, "total differs"),
        ({"shipping": "4,90"}, "shipping: '4,90' is not an amount"),
        ({"total": "10.005"}, "more than EUR's 2 decimals"),
        ({"discount": "-1.00"}, "discount: -1.00 is below 0"),
        ({"currency": "XXX"}, "currency"),
        ({"created": "yesterday"}, "Created at: 'yesterday' is not a time"),
        ({"created": "2026-05-04 09:15:30"}, "has no time zone; name it as time_zone"),
        ({"quantity": "1.5"}, "lineitem quantity"),
        ({"price": ""}, "lineitem price: empty"),
    ],
)
def test_what_cannot_be_read_rejects_its_order_with_the_cell(cells, said):
    rows = shopify_order("#1", **{k: v for k, v in cells.items() if k not in ("quantity", "price")})
    for key, column in (("quantity", "Lineitem quantity"), ("price", "Lineitem price")):
        if key in cells:
            rows[0][column] = cells[key]
    before, bad, behind = read(shopify_file(shopify_order("#0"), rows, shopify_order("#2")))
    assert isinstance(bad, Reject)
    assert said in bad.reason
    assert (bad.line, bad.record_id) == (3, "1")
    assert isinstance(before, Entry)
    assert isinstance(behind, Entry)


# --- who pays -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "word"),
    [
        ({"status": "paid", "cancelled": "2026-05-05 10:00:00 +0200"}, "cancelled"),
        ({"status": "refunded"}, "refunded"),
        ({"status": "partially_refunded"}, "partially_refunded"),
        ({"status": "paid", "refunded": "4.00"}, "partially_refunded"),
        ({"status": "voided"}, "voided"),
        ({"status": "expired"}, "expired"),
        ({"status": "partially_paid"}, "partially_paid"),
        ({"status": "new_in_2027"}, "new_in_2027"),
        ({"status": ""}, "no Financial Status"),
        ({"status": "paid", "shipped": "fulfilled"}, "fulfilled"),
        ({"status": "paid", "shipped": "partial"}, "partial"),
    ],
)
def test_an_order_that_is_not_to_be_placed_is_skipped_with_its_word(cells, word):
    found = read_one("#1", **cells)
    assert isinstance(found, Skipped)
    assert found.reason.startswith(f"skipped ({word}): ")
    assert found.record_id == "1"


def test_a_paid_order_is_skipped_unless_it_is_asked_for():
    found = read_one("#1", status="paid", options=ReadOptions())
    assert isinstance(found, Skipped)
    assert found.reason.startswith("skipped (paid): Financial Status paid")
    placed = order("#1", status="paid", reference="c123.1")
    assert (placed.payment, placed.card_token) == (PaidBefore(reference="c123.1"), None)


def test_a_payment_in_several_parts_is_named_by_its_order():
    assert order("#1", status="paid", reference="c1.1 + c2.1").payment == PaidBefore(reference="shopify:1")


@pytest.mark.parametrize("status", ["pending", "authorized", "PENDING"])
def test_an_order_that_is_not_paid_is_to_be_charged_by_a_token_that_says_there_is_no_card(status):
    found = order("#1", status=status, options=ReadOptions())
    assert (found.card_token, found.payment) == ("shopify:1:no-card", None)


# --- names, products, customers -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "order_id"),
    [
        ("#1001", "1001"), ("#AB1001", "AB1001"), ("AB-001/26-000123", "AB-001-26-000123"), ("1001", "1001"),
        ("№ 1001", "1001"), (" #1001 ", "1001"), ("ORD.7_x", "ORD.7_x"),
    ],
)  # fmt: skip
def test_a_name_becomes_an_order_id(name, order_id):
    assert order(name).order_id == order_id


@given(st.text(max_size=90))
def test_any_name_gives_an_order_id_or_none(name):
    order_id = order_id_of(name)
    if order_id:
        assert msgspec.structs.replace(order("#1"), order_id=order_id).order_id == order_id


def test_long_names_stay_apart():
    assert order_id_of("A" * 80) != order_id_of("A" * 81)


def test_orders_with_one_name_are_told_apart_by_their_ids_and_the_oldest_has_the_name():
    older = shopify_order(
        "#1001", (1, "Mug", "10.00", "A"), (1, "Cup", "5.00", "B"), subtotal="15.00", id="7"
    )
    newer = shopify_order(
        "#1001", (1, "Lamp", "10.00", "C"), (1, "Pen", "5.00", "D"), subtotal="15.00", id="8",
        created="2026-06-01 10:00:00 +0200", email="other@shop.example",
    )  # fmt: skip
    other = shopify_order("#1002")
    for orders in ((older, newer, other), (newer, older, other), ([*newer[:1], *older, *newer[1:]], other)):
        found = {each.order.order_id: each for each in read(shopify_file(*orders))}
        assert found.keys() == {"1001", "1001-8", "1002"}
        assert found["1001"].order.quantities() == {"A": 1, "B": 1}
        assert found["1001-8"].order.quantities() == {"C": 1, "D": 1}
        assert [found[each].has_its_name for each in ("1001", "1001-8", "1002")] == [True, False, True]
        assert found["1001"].shared_id == found["1001-8"].shared_id == "1001"


def test_orders_with_one_name_and_no_id_are_rejected_but_for_the_oldest():
    orders = [shopify_order("#1", id="", created=f"2026-05-0{day} 10:00:00 +0200") for day in (2, 1)]
    found = read(shopify_file(*orders))
    assert sorted(outcomes(found)) == [("1", "place"), ("1", "reject")]
    assert any("no Id tells them apart" in each.reason for each in found if isinstance(each, Reject))


def test_two_names_that_give_one_order_id_are_two_orders():
    found = read(shopify_file(shopify_order("A/1", id="7"), shopify_order("A-1", id="8")))
    assert sorted(each.order.order_id for each in found) == ["A-1", "A-1-8"]


def test_one_order_twice_in_a_file_has_the_same_content_twice():
    rows = shopify_order("#1", MUGS, (1, "Cup", "1.00"), subtotal="26.80")
    first, second, _ = read(shopify_file(rows, shopify_order("#2"), rows))
    assert first.order.content_hash() == second.order.content_hash()


def test_the_rows_of_an_order_may_stand_anywhere():
    first = shopify_order("#1", MUGS, (1, "Cup", "1.00", "CUP"), subtotal="26.80")
    second = shopify_order(
        "#2", (1, "Pen", "1.00", "PEN"), (3, "Lamp", "2.00", "LMP"), subtotal="7.00", id="8"
    )
    rows = [second[1], first[0], second[0], first[1]]
    found = {each.order.order_id: each for each in read(shopify_file(rows))}
    assert found["1"].order.quantities() == {"MUG-B": 2, "CUP": 1}
    assert found["2"].order.quantities() == {"PEN": 1, "LMP": 3}
    assert (found["1"].line, found["2"].line) == (3, 4)


def test_rows_whose_first_one_is_missing_are_rejected():
    rows = shopify_order("#1", MUGS, (1, "Cup", "1.00"))[1:]
    (found,) = read(shopify_file(rows))
    assert found.reason == "the order's first row, with its totals, is not in the file"


def test_a_row_that_is_missing_shows_in_the_sums():
    rows = shopify_order("#1", MUGS, (1, "Cup", "1.00"), subtotal="26.80")[:1]
    (found,) = read(shopify_file(rows))
    assert "subtotal differs from the lines" in found.reason


def test_a_product_without_a_sku_is_named_by_its_name_and_each_name_has_an_id_of_its_own():
    lines = [(1, f"Tea Pot {colour}", "1.00") for colour in ("blau", "grün", "grun", "  blau ")]
    ids = [item.product_id for item in order("#1", *lines, subtotal="4.00").items]
    assert ids[0] == ids[3]
    assert len(set(ids)) == 3
    assert all(each.startswith("name:tea-pot-") for each in ids)


@given(st.text(max_size=80), st.text(max_size=80))
def test_any_names_and_skus_give_valid_product_ids(name, sku):
    try:
        product_id = product_id_of(name, sku, (), {})
    except BadInput:
        assert not name.split()
        return
    assert order("#1", (1, "Mug", "10.00", product_id)).quantities() == {product_id: 1}


def test_a_sku_with_a_space_is_a_product_of_its_own():
    first, second = (
        item.product_id for item in order("#1", (1, "A", "5.00", "MUG B"), (1, "A", "5.00", "MUG  C")).items
    )
    assert first.startswith("sku:mug-b-")
    assert first != second


def test_customers_are_known_by_address_then_by_phone_then_by_order_and_no_address_shows():
    by_mail = {order("#1", email=each).customer_id for each in ("a@b.example", " A@B.example")}
    assert len(by_mail) == 1
    assert "a@b" not in by_mail.pop()
    by_phone = {order(name, email="", phone="'+49 30 1234567").customer_id for name in ("#1", "#2")}
    assert len(by_phone) == 1
    guests = {order(name, email="").customer_id for name in ("#1", "#2")}
    assert len(guests) == 2


def test_the_contact_loses_a_spreadsheets_apostrophe_and_what_is_no_address():
    found = order("#1", email="not an address", shipping_phone="'+4930123456", shipping_name="Ada\nL.")
    assert (found.contact.phone, found.contact.email, found.contact.name) == ("+4930123456", None, "Ada L.")


# --- the file ---------------------------------------------------------------------------------------------


def test_times_are_read_with_the_offset_of_their_own_day():
    before = order("#1", created="2026-03-08 01:30:00 -0500").placed_at
    behind = order("#2", created="2026-03-08 03:30:00 -0400").placed_at
    assert (before, behind) == (
        datetime(2026, 3, 8, 6, 30, tzinfo=UTC),
        datetime(2026, 3, 8, 7, 30, tzinfo=UTC),
    )
    assert order("#3", created="2019-07-02 10:14:00 UTC").placed_at == datetime(
        2019, 7, 2, 10, 14, tzinfo=UTC
    )


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_line_ends_marks_and_line_breaks_in_cells_cost_nothing(end, mark):
    note = f'Please ring twice.{end}{end}#9,not,a,row{end}"thank you"'
    rows = shopify_order("#1", MUGS, (1, 'Frame 8" x 10", oak', "1.00"), subtotal="26.80", notes=note)
    first, second = read(mark + shopify_file(rows, shopify_order("#2"), end=end))
    assert (first.line, second.line, len(first.order.items)) == (2, 7, 2)


def test_a_cell_of_hundreds_of_lines_is_one_cell():
    rows = shopify_order("#1", notes="\n".join(f'{n}: "{n}"' for n in range(900)))
    first, second = read(shopify_file(rows, shopify_order("#2")))
    assert (first.order.order_id, second.line) == ("1", 902)


def test_columns_are_found_by_name_and_may_be_missing():
    old = [
        name for name in SHOPIFY_COLUMNS
        if name not in ("Lineitem discount", "Duties", "Payment References", "Id", "Email", "Lineitem sku")
    ]  # fmt: skip
    rows = shopify_order("#1", MUGS, subtotal="25.80")
    (found,) = read(shopify_file(rows, columns=sorted(old)))
    assert found.order.total_minor == 2580
    (upper,) = read(shopify_file(rows).replace(b"Financial Status", b"FINANCIAL STATUS"))
    assert upper.order.total_minor == 2580


@pytest.mark.parametrize("column", ["Total", "Financial Status", "Lineitem quantity"])
def test_a_column_that_is_needed_is_named_when_it_is_missing(column):
    columns = [name for name in SHOPIFY_COLUMNS if name != column]
    with pytest.raises(BadInput, match=f"no column '{column}'"):
        read(shopify_file(shopify_order(), columns=columns))


def test_files_that_were_joined_have_the_header_twice():
    data = shopify_file(shopify_order("#1")) + shopify_file(shopify_order("#2"))
    assert outcomes(read(data)) == [("1", "place"), ("2", "place")]


def test_a_broken_row_costs_its_own_order_only():
    lines = shopify_file(*(shopify_order(f"#{n}") for n in range(4))).splitlines(keepends=True)
    for broken in (b'#1,"never closed\n', b"#1,two,cells\n", b"#1,\xff" + lines[2][3:], b'#1,a"b\x00,\n'):
        data = b"".join([*lines[:2], broken, *lines[3:]])
        assert outcomes(read(data)) == [("0", "place"), ("1", "reject"), ("2", "place"), ("3", "place")]


def test_a_row_that_names_no_order_costs_none_whose_sums_are_right():
    lines = shopify_file(*(shopify_order(f"#{n}") for n in range(3))).splitlines(keepends=True)
    data = b"".join([*lines[:2], b'"\n', b"\xff,,,\n", *lines[2:]])
    assert outcomes(read(data)) == [
        ("0", "place"),
        (None, "reject"),
        (None, "reject"),
        ("1", "place"),
        ("2", "place"),
    ]


def test_the_causes_of_rejects_hold_no_line_numbers():
    rows = [shopify_order("#1", total="11.00"), shopify_order("#2", subtotal="11.00"), shopify_order("#3")]
    data = shopify_file(*rows) + b"#3,two\n,,\n\xff\n" + b'"\n'
    causes = [each.reason.partition(":")[0] for each in read(data) if isinstance(each, Reject)]
    assert len(causes) >= 6
    assert not [cause for cause in causes if re.search(r"[0-9]", cause.replace("UTF-8", ""))]


def test_the_mapping_fills_what_the_file_lacks():
    mapping = ExportMapping(
        currency="JPY", order_id_from="Id", card_token_from="Notes", products={"Tea Pot": "POT-1"},
    )  # fmt: skip
    columns = [name for name in SHOPIFY_COLUMNS if name != "Currency"]
    rows = shopify_order("#1", (1, "Tea  Pot", "300"), subtotal="300", notes="tok_7", id="9001")
    (found,) = read(shopify_file(rows, columns=columns), ReadOptions(mapping=mapping))
    assert (found.order.order_id, found.order.currency, found.order.card_token) == ("9001", "JPY", "tok_7")
    assert found.order.quantities() == {"POT-1": 1}
    with pytest.raises(BadInput, match="no column 'Currency'; name it as currency"):
        read(shopify_file(rows, columns=columns))


def test_a_column_that_only_the_mapping_knows_is_an_error_of_the_whole_file():
    with pytest.raises(BadInput, match="the column 'token'"):
        read(shopify_file(shopify_order()), ReadOptions(mapping=ExportMapping(card_token_from="Token")))


def test_no_share_of_a_line_is_below_nothing():
    found = order(
        "#1", MUGS, (1, "Gift", "0.00"), subtotal="0.00", discount="25.80", shipping="4.90", total="4.90"
    )
    own = [item.amount_minor for item in found.items]
    parts = shares(own, sum(each.amount_minor for each in found.adjustments))
    assert sum(parts) == found.total_minor
    assert min(parts) >= 0


cells = st.sampled_from(
    [
        "#1",
        "#2",
        "paid",
        "pending",
        "EUR",
        "10.00",
        "0.00",
        "",
        "1",
        "Mug",
        '"',
        "x\ny",
        "\r",
        "-1",
        "é",
        "2026-05-04 09:15:30 +0200",
    ]
)


@given(st.lists(st.lists(cells, min_size=1, max_size=9), max_size=8), st.booleans())
def test_no_rows_make_the_reader_raise_and_none_costs_an_order_that_is_whole(rows, is_quoted):
    columns = [
        "Name",
        "Financial Status",
        "Currency",
        "Subtotal",
        "Total",
        "Created at",
        "Lineitem quantity",
        "Lineitem name",
        "Lineitem price",
    ]
    whole = shopify_file(shopify_order("#77"), columns=columns)
    noise = "\n".join(",".join(f'"{each}"' if is_quoted else each for each in row) for row in rows)
    found = read(whole + noise.encode() + b"\n" + whole.partition(b"\n")[2].replace(b"#77", b"#78"))
    assert ("77", "place") in outcomes(found)
    assert ("78", "place") in outcomes(found) or noise.count('"') % 2


def test_memory_does_not_grow_with_the_file():
    class Endless(io.RawIOBase):
        """Rows of 4,000 orders, made while they are read."""

        def __init__(self):
            self.parts = iter(
                [
                    shopify_file().decode(),
                    *(
                        shopify_file(shopify_order(f"#{n}", MUGS, (1, "Cup", "1.00"), subtotal="26.80"))
                        .decode()
                        .partition("\n")[2]
                        for n in range(4000)
                    ),
                ]
            )

        def read1(self, size=-1):
            return next(self.parts, "").encode()

    tracemalloc.start()
    try:
        count = sum(isinstance(each, Entry) for each in read_orders(Endless(), "shopify", PLACE))
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 4000
    assert peak_bytes < 6 * 1024 * 1024

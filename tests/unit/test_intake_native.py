"""ordermq's own order files: what is whole is read, what is broken costs its own order only."""

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ordermq.cli.records import Reject
from ordermq.errors import BadInput
from ordermq.shop.adjustment import Adjustment
from ordermq.shop.intake import Entry, read_orders
from ordermq.shop.intake.generate import generate, json_line
from ordermq.shop.model import PaidBefore

HEADER = "order_id,customer_id,currency,product_id,quantity,unit_price,card_token,phone"
FULL = (
    "order_id,customer_id,currency,product_id,quantity,unit_price_minor,freight_minor,total_minor,card_token,"
    "name,placed_at"
)


def read(text: str | bytes) -> list[Entry | Reject]:
    data = text.encode() if isinstance(text, str) else text
    return list(read_orders(io.BytesIO(data), "native"))


def table(*rows: str, header: str = HEADER) -> list[Entry | Reject]:
    return read("\n".join([header, *rows]) + "\n")


def brief(found: list[Entry | Reject]) -> list[tuple[int, str | None, str]]:
    return [
        (each.line, each.order.order_id, "taken")
        if isinstance(each, Entry)
        else (each.line, each.record_id, each.reason)
        for each in found
    ]


def test_json_lines_are_the_fields_of_an_order() -> None:
    orders = list(generate(20, 3))
    found = read(b"".join(json_line(order) for order in orders))
    assert [each.order for each in found if isinstance(each, Entry)] == orders


def test_a_broken_json_line_does_not_stop_its_neighbours() -> None:
    first, second = (json_line(order) for order in generate(2, 3))
    found = read(first + b'{"order_id": "x", \n' + b"\xff\n" + second)
    assert [isinstance(each, Entry) for each in found] == [True, False, False, True]


def test_a_json_order_is_refused_with_the_field_that_is_wrong() -> None:
    order: dict[str, Any] = json.loads(json_line(next(generate(1, 3))))
    cases = [
        ({"total_minor": 1}, "total_minor"),
        ({"items": []}, "items"),
        ({"currency": "eur"}, "currency"),
        ({"card_token": 7}, "$.card_token"),
        ({"placed_at": "yesterday"}, "$.placed_at"),
        ({"contact": {"phone": 4930123456}}, "$.contact.phone"),
        ({"adjustments": [{"kind": "coupon", "amount_minor": -1}]}, "$.adjustments[0].kind"),
        ({"adjustments": [{"kind": "discount", "amount_minor": 1}]}, "adjustments, discount"),
        ({"payment": {"state": "pending", "reference": "ch_1"}}, "$.payment.state"),
        ({"notify": "pigeon"}, "$.notify"),
    ]
    for change, said in cases:
        (found,) = read(json.dumps({**order, **change}))
        assert isinstance(found, Reject)
        assert said in found.reason
        assert found.record_id == order["order_id"]


def test_the_examples_of_the_documentation_are_orders() -> None:
    page = Path("docs/order-files.md").read_text()
    blocks = re.findall(r"^```(\w*)\n(.+?)^```$", page, re.DOTALL | re.MULTILINE)
    found = [read(block) for language, block in blocks if language in ("", "json")]
    assert all(isinstance(each, Entry) for block in found for each in block)
    in_json, *in_csv = [[each.order for each in block if isinstance(each, Entry)] for block in found]
    assert [order.order_id for block in in_csv for order in block] == [order.order_id for order in in_json]
    assert [order.total_minor for block in in_csv for order in block] == [
        order.total_minor for order in in_json
    ]


def test_consecutive_rows_of_a_table_are_one_order() -> None:
    found = table(
        "A-1,C-7,EUR,P-1,2,12.99,tok_1,+4930123456",
        "A-1,C-7,EUR,P-9,1,3.5,tok_1,",
        'A-2,C-8,JPY,"P,2",1,350,tok_2,',
    )
    assert brief(found) == [(2, "A-1", "taken"), (4, "A-2", "taken")]
    first, second = (each.order for each in found if isinstance(each, Entry))
    assert (first.total_minor, len(first.items), first.contact.phone) == (2948, 2, "+4930123456")
    assert (second.total_minor, second.items[0].product_id) == (350, "P,2")


def test_a_table_may_say_minor_units_and_totals() -> None:
    row = "A-1,C-7,EUR,P-1,2,1299,100,{total},tok_1,Ada L.,2026-01-31T09:30:00Z"
    (found,) = table(row.format(total=2698), header=FULL)
    assert isinstance(found, Entry)
    assert found.order.total_minor == 2698
    assert found.order.placed_at is not None
    (wrong,) = table(row.format(total=2600), header=FULL)
    assert isinstance(wrong, Reject)
    assert "total_minor" in wrong.reason


ADJUSTED = (
    "order_id,customer_id,currency,product_id,quantity,unit_price,item_discount,discount,shipping,tax_minor,"
    "tax_included,rounding,total,paid_reference,notify"
)


def test_a_table_may_hold_discounts_taxes_and_what_is_paid_already() -> None:
    (found,) = table(
        "A-1,C,EUR,P-1,2,10.00,1.00,-4.50,4.90,190,0.42,-0.01,26.29,ch_1,email",
        "A-1,C,EUR,P-9,1,5.00,0,,,,,,,,",
        header=ADJUSTED,
    )
    assert isinstance(found, Entry)
    order = found.order
    assert order.items[0].adjustments == (Adjustment("discount", -100),)
    assert order.items[1].adjustments == ()
    assert [(each.kind.value, each.amount_minor) for each in order.adjustments] == [
        ("discount", -450), ("shipping", 490), ("tax", 190), ("tax_included", 42), ("rounding", -1),
    ]  # fmt: skip
    assert (order.total_minor, order.payment, order.notify) == (2629, PaidBefore(reference="ch_1"), "email")


def test_a_table_without_totals_adds_up_the_adjustments_too() -> None:
    (found,) = table("A-1,C,EUR,P-1,2,10.00,,20.00,,,,,,,", header=ADJUSTED)
    assert isinstance(found, Entry)
    assert (found.order.total_minor, found.order.card_token) == (0, None)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("A-1,C,EUR,P-1,1,10.00,,,-1.00,,,,,ch_1,", "adjustments, shipping"),
        ("A-1,C,EUR,P-1,1,10.00,,11.00,,,,,,ch_1,", "total_minor"),
        ("A-1,C,EUR,P-1,1,10.00,11.00,,,,,,,ch_1,", "below 0"),
        ("A-1,C,EUR,P-1,1,10.00,,,,1.5,,,,ch_1,", "tax_minor"),
        ("A-1,C,EUR,P-1,1,-10.00,,,,,,,,ch_1,", "unit_price_minor"),
        ("A-1,C,EUR,P-1,1,10.00,,,,,,,,,", "card_token"),
        ("A-1,C,EUR,P-1,1,10.00,,,,,,,,ch_1,pigeon", "notify"),
    ],
)
def test_a_bad_adjustment_refuses_its_order_and_names_it(row: str, said: str) -> None:
    (found,) = table(row, header=ADJUSTED)
    assert isinstance(found, Reject)
    assert said in found.reason


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("A-1,C,EUR,P,two,1.00,t,", "quantity"),
        ("A-1,C,EUR,P,1,1.005,t,", "more than EUR's 2 decimals"),
        ("A-1,C,EUR,P,1,1e3,t,", "is not an amount"),
        ("A-1,C,EUR,P,1,,t,", "unit_price: empty"),
        ("A-1,C,EUR,P,1,1.00,t", "7 cells under 8 columns"),
        ("A-1,C,EUR,P,1,1.00,t,,,", "10 cells under 8 columns"),
        ("A-1,C,EUR,P,0,1.00,t,", "quantity"),
        ("A-1,C,EUR,P,1,1.00,,", "card_token"),
        ('A-1,C,EUR,"P,1,1.00,t,', "not CSV"),
    ],
)
def test_a_bad_row_is_refused_and_its_neighbours_are_not(row: str, said: str) -> None:
    before, bad, after = table("A-0,C,EUR,P,1,1.00,t,", row, "A-2,C,EUR,P,1,1.00,t,")
    assert isinstance(before, Entry)
    assert isinstance(bad, Reject)
    assert said in bad.reason
    assert bad.line == 3
    assert isinstance(after, Entry)


def test_an_unreadable_row_inside_an_order_costs_the_whole_order() -> None:
    rows = [
        "A-0,C,EUR,P,1,1.00,t,",
        "A-1,C,EUR,P,1,1.00,t,",
        "A-1,C,EUR,Q,1,1.00,t,",
        "A-2,C,EUR,P,1,1.00,t,",
    ]
    found = brief(table(*rows[:2], '"', *rows[2:]))
    assert [(line, order_id) for line, order_id, _ in found] == [
        (2, "A-0"), (3, "A-1"), (4, None), (6, "A-2")
    ]  # fmt: skip
    assert [said == "taken" for *_, said in found] == [True, False, False, True]
    assert "line 4" in found[1][2]


UNATTRIBUTABLE = [
    '"',
    '"A-1,C,EUR,P,1,1.00,t,',
    '"A-1"x,C,EUR,P,1,1.00,t,',
    ",C,EUR,P,1,1.00,t,",
    "A\r-1,C,EUR,P,1,1.00,t,",
    "\x00",
    "x" * (1024 * 1024 + 1),
    "A-\xff1,C,EUR,P,1,1.00,t,",
]


@pytest.mark.parametrize("row", UNATTRIBUTABLE, ids=range(len(UNATTRIBUTABLE)))
@pytest.mark.parametrize("place", ["first", "last"])
def test_a_row_that_names_no_order_costs_the_orders_beside_it_and_no_other(row: str, place: str) -> None:
    ours = ["A-1,C,EUR,P,1,1.00,t,", "A-1,C,EUR,Q,1,1.00,t,"]
    others = [f"A-{n},C,EUR,P,1,1.00,t," for n in (0, 5, 6, 9)]
    rows = [*others[:2], *([row, *ours] if place == "first" else [*ours, row]), *others[2:]]
    data = "\n".join([HEADER, *rows]).encode("latin-1")
    found = {order_id: said for _, order_id, said in brief(read(data))}
    assert found.pop("A-0") == found.pop("A-9") == "taken"
    assert found.pop("A-1") != "taken", "half of it may be missing"
    beside, other = ("A-5", "A-6") if place == "first" else ("A-6", "A-5")
    assert found.pop(beside) != "taken"
    assert found.pop(other) == "taken"
    assert "taken" not in found.values()


def test_an_order_that_states_its_total_is_taken_beside_a_row_that_names_none() -> None:
    header = HEADER + ",total"
    found = brief(table("A-1,C,EUR,P,1,1.00,t,,1.00", '"', "A-2,C,EUR,P,1,1.00,t,,2.00", header=header))
    assert found[0][1:] == ("A-1", "taken")
    assert [order_id for _, order_id, said in found if said != "taken"] == [None, "A-2"]


def test_two_rows_on_one_line_cost_both_orders() -> None:
    found = brief(table("A-1,C,EUR,P,1,1.00,t,\rA-2,C,EUR,P,1,1.00,t,", "A-2,C,EUR,Q,1,1.00,t,"))
    assert [(order_id, said == "taken") for _, order_id, said in found] == [("A-1", False), ("A-2", False)]


def test_a_quoted_cell_may_hold_line_breaks() -> None:
    rows = ['A-1,C,EUR,P-1,1,1299,0,,t,"Ada', 'Lovelace",', "A-2,C,EUR,P-1,1,1299,0,,t,Bob,"]
    first, second = table(*rows, header=FULL)
    assert isinstance(first, Entry)
    assert first.order.contact.name == "Ada Lovelace"
    assert (first.line, second.line) == (2, 4)
    assert isinstance(second, Entry)


def test_a_quote_inside_of_a_cell_without_quotes_hides_no_end_of_another_cell() -> None:
    rows = ['A-1,C,EUR,8",1,1299,0,,t,"Ada', 'Lovelace",', "A-2,C,EUR,P-1,1,1299,0,,t,Bob,"]
    first, second = table(*rows, header=FULL)
    assert isinstance(first, Entry)
    assert (first.order.items[0].product_id, first.order.contact.name) == ('8"', "Ada Lovelace")
    assert isinstance(second, Entry)


def test_a_quote_that_is_never_closed_swallows_no_row() -> None:
    start = "C,EUR,P-1,1,1299,0,,t"
    found = brief(table(f'A-1,{start},"Ada,', f"A-2,{start},Bob,", f'A-3,{start},Eve",', header=FULL))
    assert [(order_id, said == "taken") for _, order_id, said in found] == [
        ("A-1", False), ("A-2", True), ("A-3", True)
    ]  # fmt: skip


def test_the_rows_of_an_order_may_stand_anywhere() -> None:
    rows = [f"A-{order},C,EUR,P-{item},1,1.00,t," for order in range(300) for item in range(order % 4 + 1)]
    together = {each.order.order_id: each.order for each in table(*rows) if isinstance(each, Entry)}
    scattered = table(*sorted(rows, key=lambda row: row.split(",")[3]))
    orders = [each.order for each in scattered if isinstance(each, Entry)]
    assert len(scattered) == len(orders) == len(together) == 300
    assert all(order.content_hash() == together[order.order_id].content_hash() for order in orders)


def test_a_row_that_is_not_utf_8_still_says_whose_it_is() -> None:
    rows = b"A-1,C,EUR,P,1,1.00,t,\nA-1,C,EUR,P\xff,1,1.00,t,\nA-2,C,EUR,P,1,1.00,t,\n"
    found = brief(read(HEADER.encode() + b"\n" + rows))
    assert [(line, order_id, said == "taken") for line, order_id, said in found] == [
        (2, "A-1", False),
        (4, "A-2", True),
    ]


def test_rows_that_contradict_each_other_are_refused() -> None:
    (found,) = table("A-1,C-7,EUR,P-1,1,1.00,t,", "A-1,C-8,EUR,P-2,1,1.00,t,")
    assert isinstance(found, Reject)
    assert found.reason == "customer_id: differs between the order's rows"


def test_an_order_of_endless_rows_is_refused_without_keeping_them() -> None:
    (found,) = table(*["A-1,C,EUR,P,1,1.00,t,"] * 2500)
    assert isinstance(found, Reject)
    assert found.reason == "more than 1000 rows"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hello\nworld\n", "neither a JSON object nor a CSV header"),
        ("[{}]\n", "JSON array"),
        (HEADER.replace(",", ";") + "\n", "separated by semicolons"),
        (HEADER.replace("unit_price", "price") + "\n", "unit_price"),
        (HEADER + ",colour\n", "unknown column 'colour'"),
        (HEADER + ",phone\n", "is there twice"),
        (HEADER + ",unit_price_minor\n", "say the same"),
    ],
)
def test_a_file_of_another_kind_is_refused_as_a_whole(text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        read(text)


def test_an_empty_file_has_no_orders() -> None:
    assert read("") == []
    assert read(HEADER) == []


@given(st.lists(st.binary(max_size=40).map(lambda data: data.replace(b"\n", b"")), max_size=8))
def test_no_bytes_make_the_table_reader_raise(rows: list[bytes]) -> None:
    read("\n".join([HEADER, "A,C,EUR,P,1,1.00,t,", ""]).encode() + b"\n".join(rows))


cells = st.sampled_from(
    ["A,C,EUR,P,1,1.00,t,", "A,C,EUR,P,x,1.00,t,", "B,C,EUR,P,1,1.00,t,", '"', ",,", "B,C"]
)


@given(st.lists(cells, max_size=12))
def test_every_row_belongs_to_exactly_one_order_or_reject(rows: list[str]) -> None:
    found = table(*rows)
    named = [each.order.order_id if isinstance(each, Entry) else each.record_id for each in found]
    orders = [row[0] for row in rows if row[0] in "AB"]
    assert [name for name in named if name] == list(dict.fromkeys(orders))

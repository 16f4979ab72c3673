"""Exports of shops into a real database: the dry run says what the run does, and the run can be repeated."""

import json
from pathlib import Path

import pytest

from tests.support.commands import Shop
from tests.support.exports import json_lines, shopify_file, shopify_order, woocommerce_line, woocommerce_order

SAMPLES = Path(__file__).parents[1] / "samples"


@pytest.fixture
def shop(ordermq_stack, vhost, database, sandbox, tmp_path):
    shop = Shop(
        ordermq_stack, vhost, database, tmp_path,
        ORDERMQ_SHOP_PAYMENT_URL=sandbox.payment_url, ORDERMQ_SHOP_SMS_URL=sandbox.sms_url,
    )  # fmt: skip
    yield shop
    shop.close()


def publish(shop, path, format, *argv):
    found = shop.json("ordermq-publish", "orders", str(path), "--format", format, *argv)
    rejects = shop.folder / "rejects.jsonl"
    lines = rejects.read_text().splitlines() if found["rejects"] else []
    del found["seconds"], found["dry_run"]
    return found, [json.loads(line) for line in lines]


@pytest.mark.parametrize("format", ["shopify", "woocommerce"])
def test_a_dry_run_of_an_export_is_equal_to_its_run_and_a_second_run_places_nothing(shop, format):
    (path,) = SAMPLES.glob(f"{format}/traps.expected.json")
    expected = json.loads(path.read_text())
    paid = expected.get("options", {}).get("paid", "skip")
    argv = (path.parent / expected["file"], format, "--paid", paid)
    for is_placed_before in (False, True):
        rehearsed = publish(shop, *argv, "--dry-run")
        assert rehearsed == publish(shop, *argv)
        placed = rehearsed[0]["duplicate" if is_placed_before else "accepted"]
        assert placed == expected["placed"]
    for wanted in expected["records"]:
        if wanted["outcome"] == "place":
            order = shop.json("ordermq", "order", "show", wanted["order_id"])["order"]
            assert (order["total_minor"], order["currency"]) == (wanted["total_minor"], wanted["currency"])


def test_one_name_in_two_files_is_a_conflict_and_neither_order_is_doubled(shop):
    older = shopify_order("#1", id="7", created="2026-05-01 10:00:00 +0200")
    newer = shopify_order("#1", (1, "Lamp", "20.00", "L"), subtotal="20.00", id="8")
    for number, orders in enumerate(([newer], [older, newer])):
        (shop.folder / f"{number}.csv").write_bytes(shopify_file(*orders))
    assert publish(shop, shop.folder / "0.csv", "shopify")[0]["accepted"] == 1
    both = shop.run("ordermq-publish", "orders", str(shop.folder / "1.csv"), "--format", "shopify", "--json")
    assert (both.returncode, json.loads(both.stdout)["reasons"]) == (65, {"conflict": 2})
    assert [each["order_id"] for each in shop.lines("ordermq", "order", "list")] == ["1"]


def test_amounts_of_every_currency_and_kind_are_stored_as_they_were_read(shop):
    orders = [
        woocommerce_order(1, woocommerce_line(1, "23600"), total="23600", currency="JPY"),
        woocommerce_order(2, woocommerce_line(3, "1.250", "0.062"), total="1.312", currency="KWD"),
        woocommerce_order(
            3, woocommerce_line(2, "10.00", "1.90", subtotal="12.00"), total="15.80",
            shipping_total="5.00", fee_lines=[{"name": "Loyalty", "total": "-1.10", "total_tax": "0.00"}],
        ),
        woocommerce_order(4, woocommerce_line(1, "0.00", subtotal="10.00"), total="0.00"),
    ]  # fmt: skip
    (shop.folder / "orders.jsonl").write_bytes(json_lines(*orders))
    assert publish(shop, "orders.jsonl", "woocommerce")[0]["accepted"] == 4
    totals = [shop.json("ordermq", "order", "show", str(n))["order"]["total_minor"] for n in (1, 2, 3, 4)]
    assert totals == [23600, 1312, 1580, 0]


def test_exported_orders_that_are_paid_free_or_to_be_charged_are_completed_and_reconcile(shop):
    mug = (2, "Mug, blue", "12.90")
    given = (
        {"subtotal": "25.80", "taxes": "4.90", "total": "30.70", "status": "paid", "reference": "c1.1"},
        {"subtotal": "0.00", "discount": "25.80", "status": "paid"},
        {"subtotal": "25.80", "shipping": "4.90", "total": "30.70"},
        {"subtotal": "25.80", "status": "voided"},
    )
    orders = [
        shopify_order(f"#{number}", mug, id=str(number), phone="'+49 30 1234 561", **cells)
        for number, cells in enumerate(given, start=1)
    ]
    (shop.folder / "orders.csv").write_bytes(shopify_file(*orders))
    argv = ("orders.csv", "--format", "shopify", "--paid", "place")
    (shop.folder / "stock.csv").write_text(shop.ok("ordermq", "stock", "from-orders", *argv, "--cover", "1"))
    shop.ok("ordermq", "stock", "load", "stock.csv")
    shop.start_all()
    assert publish(shop, "orders.csv", "shopify", "--paid", "place")[0]["accepted"] == 3
    shop.wait_at_rest()
    counts = shop.json("ordermq", "order", "counts")
    assert counts["completed"] == 3
    assert "reconcile: OK" in shop.ok("ordermq", "reconcile")

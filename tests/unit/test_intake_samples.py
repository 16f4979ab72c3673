"""Files of the shape that shops really export, each with what is expected of it.

Those of tests/samples hold invented data and belong to the suite. More of them may lie beside the
checkout, in ../shared/data/exports.
"""

import json
from pathlib import Path

import pytest

from ordermq.cli.records import Reject
from ordermq.shop.intake import EXPORTS, Entry, PaidOrders, ReadOptions, Skipped, read_orders
from ordermq.shop.intake.identify import product_id_of
from ordermq.shop.intake.mapping import read_mapping

OWN = Path(__file__).parents[1] / "samples"
SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "exports"


def samples(folder):
    return sorted(path for format in EXPORTS for path in folder.glob(f"{format}/*.expected.json"))


def ids(paths):
    return [f"{path.parent.name}/{path.name.removesuffix('.expected.json')}" for path in paths]


def check(path):
    expected = json.loads(path.read_text())
    given = expected.get("options", {})
    mapping = {"mapping": read_mapping(path.parent / given["mapping"])} if "mapping" in given else {}
    options = ReadOptions(PaidOrders(given.get("paid", "skip")), **mapping)
    with (path.parent / expected["file"]).open("rb") as file:
        found = list(read_orders(file, path.parent.name, options))
    assert len(found) == expected["records_in"], found
    assert sum(isinstance(each, Entry) for each in found) == expected["placed"]
    for number, (each, wanted) in enumerate(zip(found, expected["records"], strict=True), start=1):
        assert wanted.get("record", number) == number
        assert each.line == wanted.get("line", each.line)
        if wanted["outcome"] == "place":
            check_order(each, wanted)
        else:
            check_set_aside(each, wanted)


def check_order(found, wanted):
    assert isinstance(found, Entry), found
    order = found.order
    quantities = {
        product_id_of(product[5:], "", (), {}) if product.startswith("name:") else product: units
        for product, units in wanted["quantities"].items()
    }
    assert dict(order.quantities()) == quantities
    assert f"{order.placed_at:%Y-%m-%dT%H:%M:%SZ}" == wanted["placed_at_utc"]
    assert (order.order_id, order.currency, order.total_minor) == (
        wanted["order_id"], wanted["currency"], wanted["total_minor"],
    )  # fmt: skip


def check_set_aside(found, wanted):
    assert isinstance(found, Reject), found
    assert isinstance(found, Skipped) == (wanted["outcome"] == "skip")
    assert wanted["reason_holds"] in found.reason
    assert found.record_id == wanted["order_id"]


@pytest.mark.parametrize("path", samples(OWN), ids=ids(samples(OWN)))
def test_a_sample_of_the_suite_gives_what_is_expected(path):
    check(path)


def test_there_are_samples_of_every_format():
    assert {path.parent.name for path in samples(OWN)} == set(EXPORTS)


def test_the_samples_beside_the_checkout_give_what_is_expected():
    if not samples(SHARED):
        pytest.skip("../shared/data/exports is missing: only the samples of tests/samples were read")
    for path in samples(SHARED):
        check(path)

"""Orders that shops exported, read by the commands without a database: counted, kept, placed once."""

import io
import json
import os
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from ordermq.cli.bulk import Pace
from ordermq.cli.progress import Input
from ordermq.cli.publish import app
from ordermq.cli.rejects import RejectsFile
from ordermq.cli.run import run
from ordermq.errors import UsageError
from ordermq.shop.cli.placing import Placer
from ordermq.shop.cli.rehearsing import Rehearsal
from ordermq.shop.cli.stock import command as stock
from ordermq.shop.intake import PaidOrders, ReadOptions, read_orders
from ordermq.shop.intake.generate import generate, json_line
from tests.support.exports import json_lines, shopify_file, shopify_order, woocommerce_order

PLACE = ReadOptions(PaidOrders.PLACE)
SAMPLES = Path(__file__).parents[1] / "samples"


def orders(*argv):
    """Run the command and return its summary."""
    done = CliRunner().invoke(app, ["orders", *map(str, argv), "--offline", "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout.splitlines()[-1])


def kept(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("format", ["shopify", "woocommerce"])
def test_a_sample_is_counted_and_what_is_not_placed_is_kept_with_its_reason(tmp_path, format):
    (path,) = SAMPLES.glob(f"{format}/traps.expected.json")
    expected = json.loads(path.read_text())
    paid = expected.get("options", {}).get("paid", "skip")
    file, rejects = path.parent / expected["file"], tmp_path / "rejects"
    found = orders(file, "--format", format, "--paid", paid, "--rejects", rejects)
    outcomes = [each["outcome"] for each in expected["records"]]
    assert (found["in"], found["accepted"]) == (expected["records_in"], expected["placed"])
    assert (found["skipped"], found["rejected"]) == (outcomes.count("skip"), outcomes.count("reject"))
    assert found["in"] == sum(
        found[name] for name in ("accepted", "duplicate", "cancelled", "skipped", "rejected")
    )
    set_aside = [each for each in expected["records"] if each["outcome"] != "place"]
    for each, wanted in zip(kept(rejects), set_aside, strict=True):
        assert each["order_id"] == wanted["order_id"]
        assert wanted["reason_holds"] in each["reason"]
    assert sum(found["reasons"].values()) == len(set_aside)


def test_paid_orders_are_skipped_by_default_and_counted(tmp_path):
    (tmp_path / "in.csv").write_bytes(shopify_file(shopify_order("#1", status="paid"), shopify_order("#2")))
    argv = (tmp_path / "in.csv", "--format", "shopify", "--rejects", tmp_path / "rejects")
    assert orders(*argv)["reasons"] == {"skipped (paid)": 1}
    assert orders(*argv, "--paid", "place")["accepted"] == 2
    said = CliRunner().invoke(app, ["orders", *map(str, argv), "--offline"]).stdout
    assert "in 2 = accepted 1 + duplicate 0 + skipped 1 + rejected 0 (dry run" in said


def test_skipped_orders_are_no_error_even_if_all_are_and_even_with_strict(tmp_path):
    (tmp_path / "in.csv").write_bytes(shopify_file(shopify_order("#1", status="voided")))
    found = orders(tmp_path / "in.csv", "--format", "shopify", "--strict", "--rejects", tmp_path / "rejects")
    assert (found["in"], found["skipped"]) == (1, 1)


def test_reasons_are_grouped_by_their_cause(tmp_path):
    lines = b"".join(b"#%d,cut\n" % n for n in range(30))
    (tmp_path / "in.csv").write_bytes(shopify_file(shopify_order("#a")) + lines)
    found = orders(tmp_path / "in.csv", "--format", "shopify", "--rejects", tmp_path / "rejects")
    assert found["reasons"] == {"a row of the order cannot be read": 30}


def test_a_mapping_is_read_and_one_that_is_wrong_is_an_error(tmp_path, capsys):
    mapped = SAMPLES / "shopify" / "mapped.csv"
    argv = (mapped, "--format", "shopify", "--rejects", tmp_path / "rejects", "--mapping")
    assert orders(*argv, SAMPLES / "shopify" / "mapping.toml")["accepted"] == 1
    (tmp_path / "wrong.toml").write_text('colour = "red"')
    argv = ["orders", *map(str, argv), str(tmp_path / "wrong.toml"), "--offline"]
    assert run(app, "ordermq-publish", argv) == UsageError.exit_code
    assert "unknown key 'colour'" in capsys.readouterr().err


def test_stock_for_an_export_names_the_products_that_its_orders_name(tmp_path):
    (tmp_path / "in.csv").write_bytes(
        shopify_file(
            shopify_order("#1", (3, "Tea Pot", "5.00"), subtotal="15.00"),
            shopify_order("#2", status="voided"),
        )
    )
    done = CliRunner().invoke(
        stock,
        ["from-orders", str(tmp_path / "in.csv"), "--format", "shopify", "--cover", "1"],
        catch_exceptions=False,
    )
    assert "name:tea-pot-" in done.output
    assert ",3\n" in done.output
    assert "1 records are not to be placed" in done.output


KINDS = {
    "new": shopify_order("#{n}", id="{n}"),
    "same": shopify_order("#0", id="0"),
    "paid": shopify_order("#{n}", id="{n}", status="paid"),
    "cancelled": shopify_order("#{n}", id="{n}", cancelled="2026-05-05 10:00:00 +0200"),
    "wrong": shopify_order("#{n}", id="{n}", total="11.00"),
}


def of_kind(kind, number):
    return [{name: cell.format(n=number) for name, cell in row.items()} for row in KINDS[kind]]


def place(data, place_orders, folder, format="shopify", options=PLACE):
    with (
        Input(os.devnull) as source,
        closing(RejectsFile(Path(folder) / "rejects", source, id_name="order_id")) as rejects,
    ):
        placer = Placer(place_orders, rejects=rejects, pace=Pace(0))
        placer.place(read_orders(io.BytesIO(data), format, options), lambda records: None)
    return placer.counts, rejects


@given(st.lists(st.sampled_from(list(KINDS)), max_size=12), st.sampled_from(PaidOrders))
def test_every_record_of_an_export_is_counted_once(kinds, paid):
    """IMP1."""
    data = shopify_file(*(of_kind(kind, number) for number, kind in enumerate(kinds, 1)))
    with TemporaryDirectory() as folder:
        counts, rejects = place(data, Rehearsal().place_unasked, folder, options=ReadOptions(paid))
    assert counts.read == len(kinds)
    skips_paid = paid is PaidOrders.SKIP
    assert counts.skipped == kinds.count("cancelled") + kinds.count("paid") * skips_paid
    assert counts.rejected == kinds.count("wrong")
    assert rejects.count == counts.skipped + counts.rejected
    assert counts.duplicate == max(0, kinds.count("same") - 1)


def named(id, day, total="10.00"):
    return shopify_order(
        "#1", (1, "Mug", total, "MUG"), subtotal=total, id=str(id), created=f"2026-05-{day:02} 10:00:00 +0000"
    )


@pytest.mark.parametrize("batch", [1, 2, 200])
def test_no_order_is_placed_under_two_ids_whatever_files_come_in_which_order(tmp_path, monkeypatch, batch):
    """IMP3."""
    monkeypatch.setattr("ordermq.shop.cli.placing.BATCH", batch)
    oldest, middle, newest = named(7, 1, "1.00"), named(8, 2, "2.00"), named(9, 3, "3.00")
    files = {
        "all": (oldest, middle, newest), "the two newest": (newest, middle),
        "the newest": (newest,), "the two others": (newest, oldest),
    }  # fmt: skip
    for first in files:
        for second in files:
            for third in files:
                database = Rehearsal()
                placed = {}

                def remember(orders, database=database, placed=placed):
                    answers = database.place_unasked(orders)
                    for order, answer in zip(orders, answers, strict=True):
                        if getattr(answer, "is_duplicate", None) is False:
                            placed.setdefault(order.total_minor, []).append(order.order_id)
                    return answers

                for name in (first, second, third):
                    counts, _ = place(shopify_file(*files[name]), remember, tmp_path)
                    assert counts.read == len(files[name])
                assert all(len(ids) == 1 for ids in placed.values()), (first, second, third, placed)


def test_orders_with_one_name_are_all_placed_from_one_file_and_are_duplicates_the_next_time(tmp_path):
    database = Rehearsal()
    data = shopify_file(named(8, 2), named(7, 1), named(9, 3))
    first, _ = place(data, database.place_unasked, tmp_path)
    again, _ = place(data, database.place_unasked, tmp_path)
    assert (first.accepted, again.duplicate) == (3, 3)


def test_json_lines_are_read_as_they_come(tmp_path):
    counts, _ = place(
        json_lines(woocommerce_order(1), woocommerce_order(1), woocommerce_order(2)),
        Rehearsal().place_unasked, tmp_path, "woocommerce",
    )  # fmt: skip
    assert (counts.accepted, counts.duplicate) == (2, 1)


def test_the_orders_before_the_cut_of_an_array_are_placed_and_the_cut_is_an_error(tmp_path, capsys):
    data = json.dumps([woocommerce_order(n) for n in range(1, 8)]).encode()
    (tmp_path / "cut.json").write_bytes(data[: data.index(b"wc_order_6")])
    argv = ["orders", str(tmp_path / "cut.json"), "--format", "woocommerce", "--offline", "--json"]
    assert run(app, "ordermq-publish", [*argv, "--rejects", str(tmp_path / "rejects")]) == 65
    said = capsys.readouterr()
    summary = json.loads(said.out)
    assert (summary["in"], summary["accepted"], summary["rejected"]) == (6, 5, 1)
    assert "it was cut; get it again" in said.err


def test_reasons_of_json_lines_are_grouped_by_their_cause_too(tmp_path):
    kinds = (b'{"x": "%s"}', b'{"a%d": 1, "a%d": 2}', b'{"a": 1e99%d}', b'{"a" %d}', b'{"%d": "\xff"}')
    lines = [
        kind.replace(b"%d", b"%d" % n).replace(b"%s", b"x" * (2**18 + n)) for n in (1, 22) for kind in kinds
    ]
    (tmp_path / "in.jsonl").write_bytes(json_line(next(generate(1, 9))) + b"\n".join(lines))
    found = orders(tmp_path / "in.jsonl", "--rejects", tmp_path / "rejects")
    assert set(found["reasons"].values()) == {2}
    assert sum(found["reasons"].values()) == found["rejected"] == len(lines)

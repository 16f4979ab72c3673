"""The parts of bulk commands: rejects, pace, publishings, tables."""

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

from ordermq.amqp import PublishOutcome, PublishOutcomes
from ordermq.cli.bulk import Pace, batches, taking
from ordermq.cli.output import write_table
from ordermq.cli.progress import Input
from ordermq.cli.publish import app
from ordermq.cli.records import Reject
from ordermq.cli.rejects import RejectsFile
from ordermq.cli.sending import Address, FromLine, Sender, read_publishings, read_whole
from ordermq.clock import monotonic_s
from ordermq.errors import BadInput, ConnectionLost, UsageError
from ordermq.message import MAX_BODY_BYTES
from ordermq.shop.cli.placing import Placer
from ordermq.shop.cli.rehearsing import Rehearsal
from ordermq.shop.intake import read_orders
from ordermq.shop.intake.generate import generate, json_line

ADDRESS = Address("orders", "inventory", type="ReserveStock")


@pytest.fixture
def source(tmp_path):
    (tmp_path / "in").write_bytes(b"{}\n")
    with Input(str(tmp_path / "in")) as source:
        yield source


@pytest.fixture
def rejects(source, tmp_path):
    return RejectsFile(tmp_path / "rejects.jsonl", source, id_name="order_id")


def nothing(records):
    pass


def test_no_reject_no_file(rejects):
    rejects.close()
    assert os.listdir(rejects.path.parent) == ["in"]
    assert rejects.summary() == []


def test_rejects_are_json_lines_only_the_owner_can_read(rejects):
    rejects.add(Reject(7, "price: bad", "{...", "A-1"))
    rejects.close()
    assert json.loads(rejects.path.read_text()) == {
        "line": 7, "reason": "price: bad", "order_id": "A-1", "record": "{...",
    }  # fmt: skip
    assert rejects.path.stat().st_mode & 0o077 == 0


def test_reasons_are_counted_and_their_number_is_bounded(rejects):
    for number in range(100):
        rejects.add(Reject(number, f"reason {number}: x", ""))
    rejects.close()
    assert rejects.count == sum(rejects.reasons.values()) == 100
    assert len(rejects.reasons) == 21
    assert rejects.reasons["others"] == 80


def test_the_file_that_is_read_cannot_take_the_rejects(source, tmp_path):
    with pytest.raises(UsageError, match="is the file to be read"):
        RejectsFile(tmp_path / "in", source)


def test_rejects_that_cannot_be_written_are_an_error_that_names_the_option(source):
    with pytest.raises(UsageError, match="--rejects"):
        RejectsFile(Path("/nonexistent/rejects"), source)


def test_batches_are_no_larger_than_allowed_and_end_with_the_items():
    assert list(batches(taking(range(5)), most=2, pace=Pace(0))) == [[0, 1], [2, 3], [4]]
    assert list(batches(taking(range(3)), most=9, pace=Pace(1000))) == [[0, 1, 2]]


LINES = [*(json_line(each) for each in generate(3, 1)), b"{\n", b"\xff\n"]


@given(st.lists(st.sampled_from(LINES), max_size=20))
def test_counts_add_up_whatever_is_read(lines):
    """IMP1."""
    with (
        TemporaryDirectory() as folder,
        Input(os.devnull) as source,
        closing(RejectsFile(Path(folder) / "rejects", source)) as rejects,
    ):
        placer = Placer(Rehearsal().place_unasked, rejects=rejects, pace=Pace(0))
        data = b"".join([json_line(next(generate(1, 9))), *lines])  # so that it is native JSON at all
        placer.place(read_orders(io.BytesIO(data), "native"), nothing)
    counts = placer.counts
    assert counts.read == 1 + len(lines) == counts.line
    assert counts.read == counts.accepted + counts.duplicate + counts.rejected
    assert counts.rejected == rejects.count == sum(line in LINES[3:] for line in lines)
    assert counts.accepted == 1 + len({line for line in lines if line in LINES[:3]})


def test_a_pace_is_kept_in_small_steps():
    assert Pace(0).batch(200) == 200
    assert Pace(50).batch(200) == 10
    assert Pace(1).batch(200) == 1


def test_a_pace_holds_back_what_comes_too_fast():
    pace = Pace(100)
    began_s = monotonic_s()
    pace.wait(20)
    assert monotonic_s() - began_s > 0.15


def test_the_same_line_is_always_the_same_message():
    first, second, other = read_publishings(io.BytesIO(b'{"a": 1}\n  {"a": 1}\n{"a": 2}\n'), ADDRESS)
    assert first.publishing.properties.message_id == second.publishing.properties.message_id
    assert first.publishing.properties.message_id != other.publishing.properties.message_id
    assert (first.publishing.exchange, first.publishing.routing_key) == ("orders", "inventory")
    assert first.publishing.properties.type == "ReserveStock"


def test_a_message_takes_its_id_from_the_field_it_is_told():
    address = Address("orders", "gifts", message_id_field="id")
    lines = b'{"id": "x-1"}\n{"id": 7}\n{"id": null}\n{"id": ""}\n[1]\n'
    found = list(read_publishings(io.BytesIO(lines), address))
    assert [each.publishing.properties.message_id for each in found if isinstance(each, FromLine)] == [
        "x-1",
        "7",
    ]
    assert [each.line for each in found if isinstance(each, Reject)] == [3, 4, 5]


def test_what_is_no_json_is_refused_by_line_and_sent_only_as_a_whole():
    found = list(read_publishings(io.BytesIO(b'{"a": 1}\nhello\n'), ADDRESS))
    assert isinstance(found[1], Reject)
    [whole] = read_whole(io.BytesIO(b"\xff\x00\n"), ADDRESS)
    assert whole.publishing.body == b"\xff\x00\n"
    with pytest.raises(BadInput, match="over the"):
        list(read_whole(io.BytesIO(b"x" * (MAX_BODY_BYTES + 1)), ADDRESS))


def fates(*given_fates):
    result = PublishOutcomes()
    result.extend(given_fates)
    result.reasons = {n: "why" for n, fate in enumerate(given_fates) if fate is not PublishOutcome.CONFIRMED}
    return result


def test_fates_and_rejects_add_up_and_what_was_not_confirmed_is_kept(rejects):
    sender = Sender(
        lambda _: fates(PublishOutcome.CONFIRMED, PublishOutcome.RETURNED, PublishOutcome.NACKED),
        rejects=rejects,
        pace=Pace(0),
    )
    sender.send(read_publishings(io.BytesIO(b"1\n2\nno\n3\n"), ADDRESS), nothing)
    rejects.close()
    assert sender.read == 4 == sender.rejected + sum(sender.outcomes.values())
    kept = [json.loads(line) for line in rejects.path.read_text().splitlines()]
    assert [(each["line"], each["reason"]) for each in kept if each["line"] != 3] == [
        (2, "returned: why"),
        (4, "nacked: why"),
    ]


def test_a_connection_that_is_gone_ends_the_sending(rejects):
    sender = Sender(lambda batch: fates(*[PublishOutcome.UNSENT] * len(batch)), rejects=rejects, pace=Pace(0))
    with closing(rejects), pytest.raises(ConnectionLost, match="publishing stopped: why"):
        sender.send(read_publishings(io.BytesIO(b"1\n2\n"), ADDRESS), nothing)


def test_strict_refuses_what_lenient_accounts_for(tmp_path):
    orders = b"".join(json_line(each) for each in generate(2, 1)) + b"{\n"
    argv = ["orders", "-", "--offline", "--rejects", str(tmp_path / "rejects")]
    lenient = CliRunner().invoke(app, [*argv, "--json"], input=orders)
    strict = CliRunner().invoke(app, [*argv, "--strict"], input=orders)
    assert lenient.exit_code == 0
    # The summary is the last line: the runner of click 8.1 mixes both streams.
    assert json.loads(lenient.stdout.splitlines()[-1])["rejected"] == 1
    assert isinstance(strict.exception, BadInput)


def test_a_table_puts_numbers_to_the_right_and_escapes_what_it_shows(capsys):
    write_table(("what", "count", "note"), [("a", 5, "x"), ("bb\x1b", 1000, None)])
    assert capsys.readouterr().out.splitlines() == [
        "what    count  note",
        "a           5  x",
        "bb\\x1b   1000",
    ]

"""A file is checked whole before its first record is used, and so is the place for its rejects."""

import gzip
import io
import json
import os
import stat
import sys

import click
import pytest

from ordermq.cli.output import write, write_json
from ordermq.cli.progress import Input
from ordermq.cli.publish import app
from ordermq.cli.records import Reject, read_lines
from ordermq.cli.rejects import RejectsFile
from ordermq.cli.run import run
from ordermq.errors import BadInput, UsageError
from ordermq.shop.cli.stock import _rows
from ordermq.shop.intake.generate import generate, json_line

HEADER = b"order_id,customer_id,currency,product_id,quantity,unit_price,card_token\n"
ORDERS = b"".join(json_line(each) for each in generate(50, 3))
PACKED = gzip.compress(ORDERS, mtime=0)


def flipped(data, position):
    changed = bytearray(data)
    changed[position] ^= 0x10
    return bytes(changed)


DAMAGED = {
    "cut in its data": PACKED[: len(PACKED) // 2],
    "cut in its checksum": PACKED[:-5],
    "cut after its header": PACKED[:10],
    "cut in its header": PACKED[:5],
    "its second member cut": PACKED + PACKED[:-9],
    "a wrong checksum": flipped(PACKED, -6),
    "a wrong length": flipped(PACKED, -2),
    "a flipped bit": flipped(PACKED, len(PACKED) // 2),
    "something behind it": PACKED + b"x" * 20,
}


def publish(tmp_path, data, *argv, command=("orders",)):
    path = tmp_path / "file"
    path.write_bytes(data)
    unplaced = "--offline" if command == ("orders",) else "--dry-run"
    rejects = str(tmp_path / "rejects")
    return run(app, "ordermq-publish", [*command, str(path), unplaced, "--rejects", rejects, *argv])


COMMANDS = [("orders",), ("messages", "--routing-key", "inventory")]


@pytest.mark.parametrize("command", COMMANDS, ids=["orders", "messages"])
@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_gzip_file_is_refused_before_its_first_record_is_used(tmp_path, capsys, command, damage):
    assert publish(tmp_path, DAMAGED[damage], command=command) == 65
    said = capsys.readouterr()
    assert said.out == ""
    assert "gzip data" in said.err
    assert os.listdir(tmp_path) == ["file"]


def test_a_gzip_file_of_which_nothing_is_left_is_refused(tmp_path, capsys):
    (tmp_path / "orders.jsonl.gz").touch()
    argv = ["orders", str(tmp_path / "orders.jsonl.gz"), "--offline", "--rejects", str(tmp_path / "rejects")]
    assert run(app, "ordermq-publish", argv) == 65
    assert "orders.jsonl.gz is empty: the file was cut" in capsys.readouterr().err


def test_a_csv_file_cut_in_an_order_is_refused(tmp_path, capsys):
    rows = b"".join(b"A-%d,C-1,EUR,P-%d,1,1.00,tok_1\n" % (n // 3, n) for n in range(3000))
    assert publish(tmp_path, gzip.compress(HEADER + rows)[:-200]) == 65
    assert "ends too early" in capsys.readouterr().err


@pytest.mark.parametrize("data", [ORDERS, PACKED, HEADER + b"A-1,C-1,EUR,P-1,1,1.00,tok_1\n"])
def test_a_whole_file_is_read_from_its_beginning_after_it_was_checked(tmp_path, capsys, data):
    assert publish(tmp_path, data, "--json", "--strict") == 0
    assert json.loads(capsys.readouterr().out)["accepted"] in (1, 50)


def test_a_pipe_is_said_not_to_be_checked_and_its_damage_is_an_error(tmp_path, capsys):
    reading, writing = os.pipe()
    os.write(writing, DAMAGED["cut in its data"])
    os.close(writing)
    argv = ["orders", f"/dev/fd/{reading}", "--offline", "--rejects", str(tmp_path / "rejects")]
    assert run(app, "ordermq-publish", argv) == 65
    said = capsys.readouterr().err
    assert "is a pipe, so it is not checked first" in said
    assert "ends too early" in said
    os.close(reading)


@pytest.mark.parametrize("command", COMMANDS, ids=["orders", "messages"])
@pytest.mark.parametrize("data", [b"", b"\n  \n", gzip.compress(b"", mtime=0), b"\xef\xbb\xbf"])
def test_a_file_without_a_record_is_said_to_be_empty_and_strictly_an_error(tmp_path, capsys, command, data):
    assert publish(tmp_path, data, command=command) == 0
    assert "file holds no records" in capsys.readouterr().err
    assert publish(tmp_path, data, "--strict", command=command) == 65
    assert "file holds no records" in capsys.readouterr().err


def test_a_header_alone_and_an_empty_message_are_no_records_either(tmp_path, capsys):
    assert publish(tmp_path, HEADER, "--strict") == 65
    assert publish(tmp_path, b"", "--strict", "--whole", command=COMMANDS[1]) == 65
    assert capsys.readouterr().err.count("file holds no records") == 2


def test_what_cannot_be_read_is_an_error_and_no_bug(tmp_path, capsys):
    folder = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(UsageError, match="cannot read"):
        Input(f"/dev/fd/{folder}")
    os.close(folder)
    assert run(app, "ordermq-publish", ["orders", str(tmp_path), "--offline"]) == 64
    assert "Traceback" not in capsys.readouterr().err


# --- the rejects file ---


@pytest.fixture
def source(tmp_path):
    (tmp_path / "in").write_bytes(ORDERS)
    with Input(str(tmp_path / "in")) as source:
        yield source


def test_rejects_replace_a_file_that_others_can_read_by_one_that_they_cannot(source, tmp_path):
    path = tmp_path / "rejects"
    path.write_text("old")
    path.chmod(0o644)
    rejects = RejectsFile(path, source)
    rejects.add(Reject(1, "x", "secret"))
    assert path.read_text() == "old"
    rejects.close()
    assert "secret" in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(os.listdir(tmp_path)) == ["in", "rejects"]


@pytest.mark.parametrize("target", ["there", "not there"])
def test_rejects_replace_a_link_and_leave_alone_what_it_leads_to(source, tmp_path, target):
    victim, path = tmp_path / "victim", tmp_path / "rejects"
    if target == "there":
        victim.write_text("kept")
    path.symlink_to(victim)
    rejects = RejectsFile(path, source)
    rejects.add(Reject(1, "x", "secret"))
    rejects.close()
    assert not path.is_symlink()
    assert "secret" in path.read_text()
    assert victim.exists() == (target == "there")
    assert target == "not there" or victim.read_text() == "kept"


@pytest.mark.parametrize(
    "place", ["/dev/full", "/dev/null", "/dev/stdout", "/nonexistent/x", "/proc/x", "folder"]
)
def test_rejects_that_cannot_be_written_are_refused_before_the_first_record(source, tmp_path, capsys, place):
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match="cannot write rejects"):
        RejectsFile(tmp_path / place, source)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="cannot write rejects"):
        RejectsFile(tmp_path / "pipe", source)


# --- stock files ---


def stock(data):
    return list(_rows(read_lines(io.BytesIO(data))))


@pytest.mark.parametrize(
    "data",
    [
        b"product_id,units\rP-1,1\r",
        b"product_id,units\nP-1,1\rP-2,2\n",
        b'product_id,units\n"P"-1,1\n',
        b'product_id,units\n"P-1,1\n',
        b"product_id,units\nP-1\n",
        b"product_id,units\nP-1,1,2\n",
        b"product_id,units\nP-1," + b"1" * 200_000 + b"\n",
        b"product_id,units\nP-1,\n",
        b"units,product_id\n",
        b"",
        b"\n",
        gzip.compress(b"product_id,units\nP-1,1\n", mtime=0)[:-3],
    ],
)
def test_a_stock_file_that_is_not_what_it_should_be_is_bad_input(data):
    with pytest.raises(BadInput):
        stock(data)


def test_a_stock_file_is_quoted_and_ended_as_spreadsheets_do():
    assert stock(b'\xef\xbb\xbf"product_id","units"\r\n"P-1","1"\r\nP-2, 2\r\n') == [("P-1", 1), ("P-2", 2)]


# --- what a terminal cannot show ---


@pytest.mark.parametrize(("encoding", "shown"), [("latin-1", "ä\\u2026"), ("ascii", "ä…"), ("utf-8", "ä…")])
def test_what_the_terminal_cannot_show_is_escaped(monkeypatch, encoding, shown):

    @click.command()
    def command():
        write("ä…")
        write_json({"a": "ä…\ud800"})

    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    assert run(command, "x", []) == 0
    # click writes UTF-8 where the encoding is ASCII: nobody has chosen that.
    first, second = raw.getvalue().decode("utf-8" if encoding == "ascii" else encoding).splitlines()
    assert first == shown
    assert json.loads(second) == {"a": "ä…\ud800"}

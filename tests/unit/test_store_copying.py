"""Rows for COPY."""

import importlib
from datetime import UTC, datetime

import pytest

from ordermq.orders.saga import Status
from ordermq.store import copying
from ordermq.store.copying import copy_text


def test_each_value_is_written_as_copy_reads_it():
    at = datetime(2026, 11, 25, 7, 30, tzinfo=UTC)

    text = copy_text([("a", 1, None, True, b"\x00\xff", at), (Status.PAID, -5, "", False, b"", at)])

    assert text == (
        "a\t1\t\\N\tTrue\t\\\\x00ff\t2026-11-25T07:30:00+00:00\n"
        "paid\t-5\t\tFalse\t\\\\x\t2026-11-25T07:30:00+00:00\n"
    )


def test_an_instant_is_one_whatever_clock_a_test_has_given_to_the_class(monkeypatch):
    class Wrong(datetime):
        pass

    at = datetime(2026, 11, 25, 7, 30, tzinfo=UTC)
    monkeypatch.setattr("datetime.datetime", Wrong)
    module = importlib.reload(copying)

    assert module.copy_text([(at, Wrong(2026, 1, 1, tzinfo=UTC))]) == (
        "2026-11-25T07:30:00+00:00\t2026-01-01T00:00:00+00:00\n"
    )


def test_nothing_in_a_text_ends_its_field_its_row_or_the_copy():
    assert copy_text([("tab\there", "line\nfeed\r", "\\N", "\\.")]) == (
        "tab\\there\tline\\nfeed\\r\t\\\\N\t\\\\.\n"
    )


def test_what_is_no_such_value_is_refused():
    with pytest.raises(TypeError, match="float"):
        copy_text([(1.5,)])

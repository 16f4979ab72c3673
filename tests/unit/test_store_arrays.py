"""Rows as arrays."""

import importlib
from datetime import UTC, datetime

import pytest

from ordermq.shop.saga import Status
from ordermq.store import arrays
from ordermq.store.arrays import array_of, arrays_of, insert_into


def test_each_value_is_written_as_postgresql_reads_it():
    at = datetime(2026, 11, 25, 7, 30, tzinfo=UTC)

    assert arrays_of([("a", 1, None, True, b"\x00\xff", at), (Status.PAID, -5, "", False, b"", at)]) == [
        '{"a","paid"}',
        "{1,-5}",
        '{NULL,""}',
        "{True,False}",
        '{"\\\\x00ff","\\\\x"}',
        '{"2026-11-25T07:30:00+00:00","2026-11-25T07:30:00+00:00"}',
    ]


def test_an_instant_is_one_whatever_clock_a_test_has_given_to_the_class(monkeypatch):
    class Wrong(datetime):
        pass

    at = datetime(2026, 11, 25, 7, 30, tzinfo=UTC)
    monkeypatch.setattr("datetime.datetime", Wrong)
    module = importlib.reload(arrays)

    assert module.array_of([at, Wrong(2026, 1, 1, tzinfo=UTC)]) == (
        '{"2026-11-25T07:30:00+00:00","2026-01-01T00:00:00+00:00"}'
    )


def test_nothing_in_a_text_ends_its_element_or_the_array():
    assert array_of(['say "x"', "back\\slash", "a,b", "{}", "NULL"]) == (
        '{"say \\"x\\"","back\\\\slash","a,b","{}","NULL"}'
    )


@pytest.mark.parametrize("text", ["", "plain", 'a","b', '"', "\\", "NULL", "{}", "a,b", " "])
@pytest.mark.parametrize("others", [[], ["plain"], [None], [Status.PAID, ""], ["\\"]])
def test_a_column_written_at_once_is_what_its_elements_are(text, others):
    column = [text, *others]

    assert array_of(column) == "{" + ",".join(array_of([each])[1:-1] for each in column) + "}"
    assert array_of([text, None]) == "{" + array_of([text])[1:-1] + ",NULL}"


def test_what_is_no_such_value_is_refused():
    with pytest.raises(TypeError, match="float"):
        array_of([1.5])


def test_a_statement_takes_rows_or_columns():
    assert insert_into("t", a="text", b="int") == (
        "INSERT INTO t (a, b) VALUES %s",
        "INSERT INTO t (a, b) SELECT * FROM unnest(%s::text[], %s::int[])",
    )

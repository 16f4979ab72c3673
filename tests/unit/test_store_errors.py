"""What each SQLSTATE means for a message, for every class that PostgreSQL 18 has."""

import pytest

from ordermq.errors import (
    Contention,
    DataRefused,
    DiskFull,
    ReadOnlyServer,
    SchemaOutdated,
    SessionLost,
    StoreError,
    StoreRefused,
    StoreUnavailable,
)
from ordermq.store._errors import CLASSES, kind_of

# Appendix A of the manual of PostgreSQL 18, and 72 of PostgreSQL 16.
PAUSES = "53000 53200 53300 53400 57000 57P01 57P02 57P03 57P04"
PAUSES += " 57P05 58000 58030 58P01 58P02 58P03 F0000 F0001 XX000 XX001 XX002"
COUNTS = """
    00000 01000 02000 03000 09000 0A000 0B000 0F000 0F001 0L000 0LP01 0P000 0Z000 0Z002 20000 21000 24000
    25000 25001 25002 25003 25004 25005 25007 25008 25P01 25P02 26000 27000 2B000 2BP01 2D000 2F000 2F002
    34000 38000 39000 39004 3B000 3B001 42000 42601 42701 42704 42804 42809 42P02 42P07 42P16 55000 55006
    55P02 55P04 HV000 HV00N P0000 P0002 P0003 P0004
"""
SLOW = "25P03 25P04 57014 40000 40001 40002 40003 40P01 55P03 72000"
DATA = "10608 22000 22001 22003 22012 22021 22P02 22P05 23000 23502 23503 23505 23514 23P01 44000 54000 P0001"


@pytest.mark.parametrize(
    ("codes", "kind"),
    [
        (PAUSES, StoreUnavailable),
        (COUNTS, StoreError),
        (SLOW, Contention),
        (DATA, DataRefused),
        ("08000 08001 08003 08004 08006 08007 08P01", SessionLost),
        ("28000 28P01 3D000 42501", StoreRefused),
        ("3F000 42703 42883 42P01", SchemaOutdated),
        ("25006", ReadOnlyServer),
        ("53100", DiskFull),
        ("U0001 ZZ999 99999", StoreError),
    ],
)
def test_a_code_says_whose_fault_it_is(codes, kind):
    assert {code: kind_of(code) for code in codes.split()} == dict.fromkeys(codes.split(), kind)


def test_every_class_of_postgresql_18_is_named():
    classes = """
        00 01 02 03 08 09 0A 0B 0F 0L 0P 0Z 10 20 21 22 23 24 25 26 27 28 2B 2D 2F 34 38 39 3B 3D 3F
        40 42 44 53 54 55 57 58 F0 HV P0 XX
    """
    assert set(classes.split()) <= CLASSES.keys()
    assert {len(code) for code in CLASSES} == {2, 5}

"""Any value becomes one safe line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ordermq.observe.text import LONGEST_VALUE, block, field, line


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ('a\r\n{"level": "INFO"}', 'a\\r\\n{"level": "INFO"}'),
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("abc\u202etxt.exe", "abc\\u202etxt.exe"),
        ("a\u2028b\u2029c\x85d\x9b2J", "a\\u2028b\\u2029c\\x85d\\x9b2J"),
        ("\ud800", "\\ud800"),
        ("grüße 你好 🙂", "grüße 你好 🙂"),
    ],
)
def test_control_and_bidi_characters_are_escaped_and_all_others_kept(text, written):
    assert line(text) == written


@given(st.text(alphabet=st.characters(), max_size=200))
def test_a_line_is_always_one_line_that_can_be_encoded(text):
    written = line(text)

    assert len(written.splitlines()) <= 1
    written.encode()


def test_a_block_keeps_its_line_feeds_and_nothing_else():
    assert block("a\nb\r\x1bc") == "a\nb\\r\\x1bc"


def test_a_long_text_is_cut_in_the_middle():
    written = line("head" + "x" * 1_000_000 + "tail")

    assert written.startswith("head")
    assert written.endswith("tail")
    assert "characters cut" in written
    assert len(written) < LONGEST_VALUE + 100


def test_a_credential_is_not_laid_bare_by_the_cut():
    texts = [
        "x" * before + " password=hunter2hunter2 " + "y" * (6000 - before) for before in range(0, 6000, 5)
    ]

    assert [text for text in texts if "unter" in line(text)] == []


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, None),
        (True, True),
        (3, 3),
        (0.5, 0.5),
        (float("nan"), "nan"),
        (2**64, "18446744073709551616"),
        pytest.param(10**5000, "<int that cannot be printed>", id="5000 digits"),
        (b"\x1b", "b'\\x1b'"),
        (["a\n"], "['a\\n']"),
        (Unprintable(), "<Unprintable that cannot be printed>"),
    ],
)
def test_a_field_is_a_small_number_or_a_safe_line(value, written):
    assert field(value) == written

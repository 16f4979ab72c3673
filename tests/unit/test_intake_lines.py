"""Lines of a file: what is readable comes out whole, what is not costs itself only."""

import gzip
import io
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ordermq.cli.records import MAX_LINE_BYTES, Line, Reject, read_lines
from ordermq.errors import BadInput


def lines(data: bytes) -> list[Line | Reject]:
    return list(read_lines(io.BytesIO(data)))


def test_lines_keep_their_numbers_when_blank_ones_are_dropped() -> None:
    assert lines(b"a\n\n  \nb\r\nc") == [Line(1, "a"), Line(4, "b"), Line(5, "c")]


def test_a_gzip_file_is_known_by_its_content_and_may_have_several_members() -> None:
    data = gzip.compress(b"a\nb") + gzip.compress(b"c\nd\n")
    assert lines(data) == [Line(1, "a"), Line(2, "bc"), Line(3, "d")]


def test_a_byte_order_mark_is_dropped_plain_and_packed() -> None:
    assert lines(b"\xef\xbb\xbfa\n") == [Line(1, "a")]
    assert lines(gzip.compress(b"\xef\xbb\xbfa\n")) == [Line(1, "a")]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"\xff\xfe\x80", "not UTF-8: at byte 0"),
        (b"ab\x00c", "contains a NUL: at byte 2"),
        (b"x" * (MAX_LINE_BYTES + 1), f"longer than {MAX_LINE_BYTES} bytes"),
    ],
)
def test_a_bad_line_is_refused_and_its_neighbours_are_not(bad: bytes, reason: str) -> None:
    first, refused, last = lines(b"a\n" + bad + b"\nb\n")
    assert (first, last) == (Line(1, "a"), Line(3, "b"))
    assert isinstance(refused, Reject)
    assert (refused.line, refused.reason) == (2, reason)


def test_a_line_of_exactly_the_limit_is_taken() -> None:
    assert lines(b"x" * MAX_LINE_BYTES) == [Line(1, "x" * MAX_LINE_BYTES)]


def test_a_file_in_utf_16_is_refused_as_a_whole() -> None:
    with pytest.raises(BadInput, match="UTF-16"):
        lines("order".encode("utf-16"))


def test_a_gzip_file_cut_short_gives_what_came_before_and_says_so() -> None:
    whole = b"".join(b"line %d of a file that does not repeat itself: %d\n" % (n, n * n) for n in range(9000))
    before = []
    with pytest.raises(BadInput, match="ends too early"):
        before.extend(read_lines(io.BytesIO(gzip.compress(whole)[:-9000])))
    assert len(before) > 1000
    assert all(isinstance(each, Line) and each.text.startswith(f"line {each.number - 1} ") for each in before)


def test_a_gzip_file_with_a_flipped_bit_is_reported_damaged() -> None:
    packed = bytearray(gzip.compress(b"a\nb\n"))
    packed[-8] ^= 1  # its checksum
    with pytest.raises(BadInput, match="damaged"):
        lines(bytes(packed))


def test_memory_does_not_grow_with_a_line_of_any_length() -> None:
    packed = gzip.compress(b"x" * (64 * MAX_LINE_BYTES) + b"\nb\n")
    tracemalloc.start()
    try:
        refused, after = lines(packed)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(refused, Reject)
    assert after == Line(2, "b")
    assert peak_bytes < 8 * MAX_LINE_BYTES


class Trickle(io.BytesIO):
    """Gives few bytes a read, as a pipe does."""

    def read1(self, size: int | None = -1, /) -> bytes:
        return super().read1(min(7, size or 7))


@given(st.binary(max_size=400))
def test_any_bytes_give_lines_in_rising_order_however_they_arrive(data: bytes) -> None:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff", b"\x1f\x8b"):
        return
    found = lines(data)
    numbers = [each.number if isinstance(each, Line) else each.line for each in found]
    assert numbers == sorted(set(numbers))
    assert list(read_lines(Trickle(data))) == found


@given(st.lists(st.text(st.characters(blacklist_characters="\r\n\x00", codec="utf-8"), max_size=40)))
def test_what_was_written_is_what_is_read(texts: list[str]) -> None:
    data = "".join(text + "\n" for text in texts).encode()
    expected = [Line(n, text) for n, text in enumerate(texts, 1) if text and not text.isspace()]
    if texts and texts[0].startswith("\ufeff"):
        return
    assert lines(gzip.compress(data)) == expected
    assert lines(data) == expected or data[:2] == b"\x1f\x8b"

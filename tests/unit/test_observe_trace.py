"""W3C traceparent."""

import pytest

from ordermq.observe import trace

KNOWN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def counting(size_bytes: int) -> bytes:
    return bytes(range(1, size_bytes + 1))


def test_a_new_trace_is_made_of_the_random_bytes_given():
    assert trace.new(counting) == "00-0102030405060708090a0b0c0d0e0f10-0102030405060708-01"


def test_new_traces_differ():
    assert len({trace.new() for _ in range(100)}) == 100


def test_a_traceparent_is_read_and_written_as_it_was():
    parsed = trace.parse(KNOWN)

    assert parsed == trace.Trace("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", 1)
    assert str(parsed) == KNOWN
    assert trace.is_valid(KNOWN)


def test_a_child_keeps_trace_and_flags_and_has_its_own_span():
    assert (
        trace.child(KNOWN[:-2] + "00", counting) == "00-4bf92f3577b34da6a3ce929d0e0e4736-0102030405060708-00"
    )


def test_a_later_version_is_read_as_ours():
    assert str(trace.parse("cc" + KNOWN[2:] + "-more")) == KNOWN
    assert trace.is_valid("cc" + KNOWN[2:] + "-more")


@pytest.mark.parametrize(
    "text",
    [
        "",
        KNOWN.upper(),
        KNOWN + "-more",
        KNOWN + "\n",
        "ff" + KNOWN[2:],
        KNOWN.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32),
        KNOWN.replace("00f067aa0ba902b7", "0" * 16),
        KNOWN[1:],
        KNOWN.replace("-01", "-1"),
        KNOWN.replace("4", "٤"),
    ],
)
def test_what_is_not_a_traceparent_is_none_and_starts_a_new_trace(text):
    assert trace.parse(text) is None
    assert not trace.is_valid(text)
    assert trace.parse(trace.child(text)) is not None


def test_an_identifier_is_never_all_zeros():
    assert trace.parse(trace.new(bytes)) is not None

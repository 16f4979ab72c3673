"""Events as readers take them, each once and none skipped; and how a stream is compared with its table."""

from collections import deque
from datetime import UTC, datetime
from random import Random
from types import SimpleNamespace

import msgspec
import pytest

from ordermq.config.settings import BrokerSettings
from ordermq.errors import BadInput, EventsMissed
from ordermq.events.checking import ExpectedEvent, compare_stream
from ordermq.events.reader import MOST_AHEAD, EventReader
from ordermq.events.stream import ReadEvent, place
from ordermq.message.cloudevents import CloudEvent, RecordEvent
from ordermq.module import RecordSource
from ordermq.outward import OutwardRecords
from ordermq.store.positions import PositionedRecord

AT = datetime(2026, 11, 1, 10, 42, tzinfo=UTC)
SOURCE = "/orders/t"


def event(position, previous=None):
    return CloudEvent(
        id=f"A:{position}", source=SOURCE, type="t", subject="A", time=AT, data=b"{}",
        position=position, previous=previous,
    )  # fmt: skip


def chain(*positions, after=None):
    """Return events of which each names the one before it."""
    return [event(each, before) for each, before in zip(positions, (after, *positions), strict=False)]


def reading(events, after=None, jumps=(), begin=0):
    """Return the positions that a reader gives; at the offsets ``jumps`` the stream has jumped."""
    reader = EventReader(BrokerSettings(), "orders.events.log", after=after)
    left = deque(ReadEvent(each, offset) for offset, each in enumerate(events, begin))
    log = SimpleNamespace(has_jumped=False)

    def read(timeout_s):
        found = left.popleft() if left else None
        log.has_jumped = found is not None and found.offset in jumps
        return found

    log.read = read
    reader._log.close()
    reader._log = log
    given = []
    while (found := reader.read(0)) is not None:
        given.append(found.event.position)
    return given


def test_a_double_is_given_once():
    first = chain(0, 1, 3)
    assert reading([*first, *first[1:], *chain(4, after=3), first[0]]) == [0, 1, 3, 4]


def test_events_up_to_the_position_that_was_stored_are_left_out():
    assert reading(chain(0, 1, 3, 4), after=1) == [3, 4]


def test_what_is_ahead_of_an_event_that_was_refused_waits_until_it_comes_again_in_its_order():
    events = chain(0, 1, 2, 3, 4)
    assert reading([events[0], *events[2:], *events[1:]]) == [0, 1, 2, 3, 4]


def test_an_event_that_retention_has_removed_is_missed_aloud():
    with pytest.raises(EventsMissed, match="after position 1 up to 7 are not in the stream"):
        reading(chain(8, 9, after=7), after=1, jumps={0})
    with pytest.raises(EventsMissed):
        reading([*chain(0, 1), *chain(8, after=7)], jumps={2})
    assert reading(chain(8, 9, after=1), after=1, jumps={0}) == [8, 9]


def test_a_gap_that_does_not_close_is_missed_aloud():
    later = chain(*range(10, 10 + MOST_AHEAD + 1), after=9)
    with pytest.raises(EventsMissed):
        reading([*chain(0, 1), *later])


def test_who_begins_anywhere_takes_the_first_event_as_it_is():
    assert reading(chain(8, 9, after=7), begin=3) == [8, 9]


@pytest.mark.parametrize("seed", range(50))
def test_whatever_a_broker_refuses_each_event_is_given_once_and_in_order(seed):
    random, positions = Random(seed), sorted(Random(seed).sample(range(200), 60))
    events, sent, at = chain(*positions), [], 0
    while at < len(events):  # what EventPublishing does when some of a batch is not confirmed
        batch = events[at : at + random.randrange(1, 20)]
        taken = [random.random() < 0.8 for _ in batch]
        sent += [each for each, is_taken in zip(batch, taken, strict=True) if is_taken]
        confirmed = [is_taken and random.random() < 0.9 for is_taken in taken]
        at += confirmed.index(False) if False in confirmed else len(batch)
    assert reading(sent) == positions


@pytest.mark.parametrize("text", ["first", "last", "next", "17"])
def test_a_place_is_a_word_or_an_offset(text):
    assert str(place(text)) == text


def test_a_place_is_an_instant_with_its_time_zone():
    assert place("2026-11-01T19:42:00+09:00") == AT
    for text in ("2026-11-01T10:42:00", "yesterday", "-1", ""):
        with pytest.raises(BadInput):
            place(text)


# --- the check ---


def expected(*positions):
    return [ExpectedEvent(each, SOURCE, f"A:{each}") for each in positions]


def stream(*positions, begin=0):
    return [ReadEvent(event(each), offset) for offset, each in enumerate(positions, begin)]


def test_a_stream_that_holds_everything_is_ok_and_its_doubles_are_counted():
    report = compare_stream(stream(0, 1, 3, 1, 3, 4), expected(0, 1, 3, 4))
    assert report.is_ok
    assert (report.read, report.doubles, report.first, report.last) == (6, 2, 0, 4)


def test_an_event_that_comes_late_is_neither_missing_nor_a_double():
    report = compare_stream(stream(0, 2, 3, 1, 2, 3), expected(0, 1, 2, 3))
    assert (report.is_ok, report.doubles) == (True, 2)


def test_missing_events_are_named_also_at_either_end():
    report = compare_stream(stream(1, 3), expected(0, 1, 2, 3, 4))
    assert [each.position for each in report.missing] == [0, 2, 4]
    assert not report.is_ok
    assert [each.position for each in compare_stream([], expected(5)).missing] == [5]


def test_a_stream_that_was_published_again_from_the_beginning_has_doubles_and_nothing_wrong(monkeypatch):
    monkeypatch.setattr("ordermq.events.checking._KEPT", 10)
    every = range(0, 90, 3)
    report = compare_stream(stream(*every, *every), expected(*every))
    assert (report.wrong, report.missing, report.doubles) == ([], [], 30)
    report = compare_stream(
        stream(*every[20:], *every, begin=700), expected(*every)
    )  # what retention left, first
    assert (report.wrong, report.missing) == ([], [])
    report = compare_stream(stream(*every, 1), expected(*every))
    assert report.wrong == ["offset 30: the database has no event at position 1"]


def test_what_retention_removed_from_the_beginning_is_not_missing():
    assert compare_stream(stream(3, 4, begin=700), expected(0, 1, 3, 4)).is_ok


def test_an_event_that_is_not_that_of_the_table_is_wrong():
    strange = ReadEvent(msgspec.structs.replace(event(1), id="B:7"), 1)
    report = compare_stream([*stream(0), strange, *stream(2, 9)], expected(0, 1, 2))
    assert report.wrong_count == 2
    assert "position 1 is /orders/t B:7 in the stream, and /orders/t A:1 in the database" in report.wrong[0]
    assert "no event at position 9" in report.wrong[1]


# --- records ---


def test_a_record_that_is_no_event_is_named_and_one_without_a_row_is_left_out():
    def readable(content):
        return RecordEvent("wrapped", AT, content) if content else 1 / 0

    records = OutwardRecords([RecordSource("t", "", readable), RecordSource("inside", "")], "/orders")
    assert records.names == ["t"]
    rows = [PositionedRecord(n, "t", "A", n, content) for n, content in ((3, b"{}"), (4, None), (6, b"{}"))]
    rows += [PositionedRecord(7, "t", "A", 7, b""), PositionedRecord(8, "t", "A", 8, b"{}")]
    found = records.events(rows, 2)
    events = [(each.event.position, each.event.previous) for each in found if each.event is not None]
    assert events == [(3, 2), (6, 3), (8, 7)]
    assert [(each.position, each.is_gone) for each in found if each.event is None] == [(4, True), (7, False)]
    assert found[3].refused() == (7, "t", "A", 7, "ZeroDivisionError: division by zero")


def test_an_event_whose_time_has_no_zone_is_not_told_in_that_of_the_relay():
    source = RecordSource("t", "", lambda content: RecordEvent("wrapped", AT.replace(tzinfo=None), content))
    (found,) = OutwardRecords([source], "/orders").events([PositionedRecord(7, "t", "A", 7, b"{}")], None)
    assert found.event is None
    assert "10:42:00 has no time zone" in found.reason

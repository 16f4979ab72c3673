"""Events of orders in their stream: published by position, none missing, doubles only with the same id."""

import threading

import pytest

from ordermq.errors import BrokerError, EventsMissed, RecordUnreadable
from ordermq.events.publishing import BATCH
from ordermq.message.envelope import Properties, Publishing
from ordermq.module import RecordSource
from ordermq.outward import OutwardRecords
from ordermq.shop.events import RECORDS
from ordermq.shop.intake.generate import generate
from ordermq.store import actions
from ordermq.store.feeds import EVENTS, claim_feed, enrol_feed, read_feed, refused_positions, rewind_feed
from ordermq.store.positions import count_positions
from ordermq.testing import wait_until
from tests.support.outward import STREAM
from tests.support.rabbit import Rabbit
from tests.support.shop import an_order


@pytest.fixture
def rabbit(vhost):
    rabbit = Rabbit(vhost.broker, vhost.settings)
    yield rabbit
    rabbit.close()


def test_the_stream_holds_each_event_once_in_the_order_of_positions_as_its_table_does(outward, rabbit):
    rabbit.declare_bound("theirs", "orders.events", "order.*", {"x-queue-type": "quorum"})
    outward.place(*generate(BATCH + 40, 1))
    with outward.session.transaction() as tx:
        actions.record(tx, "a", "b", ["c"], "stays inside")
    outward.place(*generate(3, 2))
    outward.publish()
    assert outward.log() == outward.table()
    assert rabbit.depth("theirs") == len(outward.table())
    with outward.session.transaction() as tx:
        assert outward.feed() == (count_positions(tx), outward.table()[-1][0], 0)
    assert not outward.publishing.publish_once()
    with outward.reader() as reader:
        chain = [reader.read(5.0).event for _ in outward.table()]
    assert [each.previous for each in chain] == [None, *(each.position for each in chain[:-1])]


def test_an_event_that_is_refused_holds_up_those_after_it_and_is_never_skipped(outward, rabbit):
    """EVP1, EVP3, FED2: somebody else's queue refuses, so the stream has what was not confirmed twice."""
    full = {"x-max-length": 3, "x-overflow": "reject-publish"}
    rabbit.declare_bound("theirs", "orders.events", "#", full)
    outward.place(*generate(20, 1))
    for _ in range(3):
        with pytest.raises(BrokerError, match="nacked"):
            outward.publishing.publish_once()
    behind = outward.feed().next_position
    assert 3 <= behind < 20
    rabbit.delete_queue("theirs")
    outward.publish()
    found = outward.log(idle_s=0.7)
    assert len(found) > len(set(found)) == 20
    assert sorted(set(found)) == outward.table()
    with outward.reader() as reader:
        given = [reader.read(5.0) for _ in range(20)]
        assert reader.read(0.5) is None
    assert [each.event.position for each in given] == list(range(20))
    # From any of them a reader goes on, and is given what follows and nothing twice.
    for event, offset in given[::5]:
        with outward.reader(start=offset, after=event.position) as reader:
            assert reader.read(5.0).event.position == event.position + 1


def test_what_has_no_row_is_passed_and_kept_as_refused_and_what_no_module_reads_waits(outward):
    """FED2: a reader misses nothing that it could wait for, and events before the one at fault come."""
    outward.place(*(an_order(f"A-{number}") for number in range(5)))
    broken = [b'"A-3"']

    def event_of(content):
        assert not any(each in content for each in broken), "a bug of the module"
        return RECORDS.load_event()(content)

    source = RecordSource(
        RECORDS.name, RECORDS.select, event_of, outward=f"{RECORDS.outward} WHERE e.order_id <> 'A-1'"
    )
    outward.publishing._records = OutwardRecords([source], "/orders")
    for _ in range(2):
        with pytest.raises(RecordUnreadable, match="A-3 1, at position 3, is no event: AssertionError"):
            outward.publishing.publish_once()
        assert outward.feed() == (3, 2, 1)
    broken.clear()
    outward.publish()
    assert [id_ for _, id_, _ in outward.log(4)] == ["A-0:1", "A-2:1", "A-3:1", "A-4:1"]
    with outward.reader() as reader:
        assert [reader.read(5.0).event.previous for _ in range(4)] == [None, 0, 2, 3]
    with outward.session.transaction() as tx:
        assert refused_positions(tx, EVENTS, 0, 9) == {1}
        assert read_feed(tx, EVENTS) == (5, 4, 1)


def test_without_exchange_or_binding_events_wait_for_them(outward, rabbit, vhost):
    outward.place(an_order("A-1"))
    channel = rabbit._open().open_channel()
    channel.call("exchange_delete", 5.0, exchange="orders.events")
    with pytest.raises(BrokerError, match=r"orders\.events"):
        outward.publishing.publish_once()
    channel.call("exchange_declare", 5.0, exchange="orders.events", exchange_type="topic", durable=True)
    with pytest.raises(BrokerError, match="returned"):
        outward.publishing.publish_once()
    assert outward.feed() == (0, None, 0)
    outward.declare()
    outward.publish()
    assert outward.log() == outward.table()


def test_of_several_relays_one_publishes_at_a_time(outward):
    """FED1: what one holds the other leaves alone, also if it takes itself for the active one."""
    outward.place(*generate(3, 1))
    other = outward.another()
    with outward.session.transaction() as tx:
        enrol_feed(tx, EVENTS)
    with outward.session.transaction() as tx:
        assert claim_feed(tx, EVENTS, "another").place == (0, None, 0)
        assert not other.publish_once()
    assert outward.feed() == (0, None, 0)
    while other.publish_once():
        pass
    other._close()
    assert outward.log() == outward.table()


def test_a_reader_takes_any_place_skips_what_is_foreign_and_survives_its_connections(outward, rabbit, caplog):
    """STR1, STR2: also while it has no connection, and in a stream that was made anew."""
    outward.place(*generate(10, 1))
    outward.publish()
    foreign = Publishing("orders.events", "order.placed", Properties(message_id="x"), b"{}")
    rabbit.publish(foreign, foreign)
    outward.place(*generate(10, 2))
    outward.publish()
    positions = [position for position, *_ in outward.table()]
    with outward.reader(prefetch=4) as reader, outward.reader(start="next") as newest:
        given = [reader.read(5.0).event.position for _ in range(5)]
        assert newest.read(0.2) is None
        rabbit.close_connections()
        given += [reader.read(10.0).event.position for _ in range(15)]
        outward.place(an_order("late"))
        outward.publish()
        given.append(reader.read(10.0).event.position)
        ids = iter(lambda: newest.read(10.0).event.id, "late:1")
        assert len(list(ids)) <= 20
        threading.Timer(0.3, reader.stop).start()
        assert list(reader) == []
    assert given == [*positions, 20]
    assert 1 <= caplog.text.count("it is skipped") <= 2  # once for each reader that saw it
    with outward.reader(start=12, after=19) as reader, pytest.raises(EventsMissed) as missed:
        rabbit.delete_queue(STREAM)
        outward.declare()
        outward.place(*generate(2, 3))
        outward.publish()
        reader.read(10.0)
    assert "after position 19 up to 20" in str(missed.value)
    # Where all events were published again, a reader goes on in the new stream.
    with outward.session.transaction() as tx:
        rewind_feed(tx, EVENTS, 0)
    outward.publish()
    with outward.reader(start=12, after=19) as reader:
        assert [reader.read(10.0).event.position for _ in range(3)] == [20, 21, 22]


def look_at_events(pipeline):
    """Read the stream by the commands."""
    every = pipeline.lines("ordermq", "events", "tail")
    assert len(every) == pipeline.value("SELECT count(*) FROM shop.order_events")
    assert [each["sequence"] for each in every] == sorted(each["sequence"] for each in every)
    paid = pipeline.lines("ordermq", "events", "tail", "--type", "payment_captured", "--order", "A-3")
    assert [each["data"]["order_id"] for each in paid] == ["A-3"]
    assert paid[0]["type"] == "payment_captured"
    after = pipeline.lines("ordermq", "events", "tail", "--from", str(every[20]["streamoffset"]))
    assert after == every[20:]
    assert str(int(every[-1]["sequence"])) in pipeline.ok("ordermq", "events", "tail", "--from", "last")
    assert pipeline.run("ordermq", "events", "tail", "--from", "yesterday").returncode == 64
    said = pipeline.json("ordermq", "events", "rewind", "--to", "3", "--reason", "test", "--dry-run")
    assert said["outcome"] == "would be rewound"
    assert (
        pipeline.json("ordermq", "events", "rewind", "--to", "3", "--reason", "test")["outcome"] == "rewound"
    )
    doubled = len(every) - 3
    wait_until(
        lambda: pipeline.json("ordermq", "events", "check")["doubles"] >= doubled,
        20,
        what="all of them again",
    )
    assert pipeline.lines("ordermq", "events", "tail") == every

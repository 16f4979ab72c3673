"""The stream of events on a test's own vhost and database, and what a relay publishes there."""

from contextlib import closing
from dataclasses import replace

from ordermq.amqp import apply
from ordermq.events.publishing import EventPublishing
from ordermq.events.reader import EventReader
from ordermq.events.stream import EventLog
from ordermq.outward import OutwardRecords
from ordermq.shop.events import RECORDS
from ordermq.shop.place import place_orders
from ordermq.store import Session
from ordermq.store.feeds import EVENTS, FeedPlace, read_feed
from ordermq.store.numbering import Sequencer
from ordermq.topology import EventStream, build
from tests.support.connection import manager_of

STREAM = "orders.events.log"
PUBLISHED = """
    SELECT p.position, e.order_id || ':' || e.version, e.body
      FROM (SELECT first_position + each.place - 1 AS position, subject, number
              FROM ordermq.positions,
                   unnest(subjects, numbers) WITH ORDINALITY AS each (subject, number, place)
             WHERE source = 'shop.order_events') AS p
      JOIN shop.order_events AS e ON e.order_id = p.subject AND e.version = p.number
     ORDER BY p.position
"""


class Outward:
    """What a relay publishes, turn by turn in the test's own thread."""

    def __init__(self, broker, database):
        self.broker = replace(broker, reconnect_base_s=0.1, unreachable_cap_s=0.5, reconnect_cap_s=0.5)
        self.database = database
        self.session = Session(database, name="test")
        self.sequencer = Sequencer(every_s=0)
        self.publishing = self.another()

    def another(self):
        return EventPublishing(
            self.broker, Session(self.database, name="events"), OutwardRecords([RECORDS], "/orders"),
            exchange="orders.events", timeout_s=5.0,
        )  # fmt: skip

    def declare(self):
        with closing(manager_of(self.broker)) as manager:
            apply(manager, build("orders", [], events=EventStream()))

    def place(self, *orders):
        with self.session.transaction() as tx:
            place_orders(orders, tx)
        while self.sequencer(self.session, is_active=True):
            pass

    def publish(self):
        while self.publishing.publish_once():
            pass

    def feed(self):
        with self.session.transaction() as tx:
            return read_feed(tx, EVENTS) or FeedPlace()

    def table(self):
        with self.session.transaction() as tx:
            return [(position, key, bytes(body)) for position, key, body in tx.fetch_all(PUBLISHED)]

    def log(self, count=None, idle_s=0.15):
        """Return every message of the stream as (position, id, data), doubles too.

        ``count`` of them are waited for, as many as there are events; more are there after ``idle_s``.
        """
        if count is None:
            count = len(self.table())
        log = EventLog(self.broker, STREAM, start="first", prefetch=500, name="test")
        found = []
        with closing(log):
            while (each := log.read(5.0 if len(found) < count else idle_s)) is not None:
                found.append((each.event.position, each.event.id, each.event.data))
        return found

    def reader(self, **how):
        return EventReader(self.broker, STREAM, **how)

    def close(self):
        self.publishing._close()
        self.session.close()

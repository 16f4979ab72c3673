"""A consumer, a relay and a publisher inside the test process, on the private stack."""

from dataclasses import replace

from ordermq.amqp import Publisher, apply
from ordermq.cli.program import registry_of
from ordermq.clock import utc_now
from ordermq.config.settings import RetrySettings, Settings, TopologySettings
from ordermq.consumer.runtime import Consumer
from ordermq.message import Command, Envelope, Properties, Publishing, encode
from ordermq.message.headers import to_properties
from ordermq.message.signing import signer_of
from ordermq.observe import trace
from ordermq.observe.health import Health
from ordermq.relay import Relay
from ordermq.store import Session
from ordermq.testing import wait_until
from ordermq.topology import build
from tests.support import probe
from tests.support.connection import manager_of
from tests.support.probe import Probe
from tests.support.rabbit import Rabbit

PREFIX = "probe"
PROBE = registry_of([probe.module])


class Rig:
    """Everything one test of the runtime needs; ``close`` ends all it started."""

    def __init__(self, stack, broker, database):
        self.stack = stack
        self.rabbit = Rabbit(stack.broker, broker)
        self.settings = Settings(
            broker=replace(broker, reconnect_base_s=0.1, unreachable_cap_s=1.0, reconnect_cap_s=1.0),
            database=database,
            topology=TopologySettings(prefix=PREFIX),
            retry=RetrySettings(attempts=3, base_s=0.05, cap_s=0.2, postpone_s=0.05),
        )
        self.session = Session(database, name="test")
        self.publisher = Publisher(self.settings.broker, name="test")
        self.publisher.start()
        self._services = []

    def consumer(self, queue, *, registry=PROBE, config=None, owner="test", **consumer):
        settings = replace(self.settings, consumer=replace(self.settings.consumer, **consumer))
        started = Consumer(queue, registry, settings, config=config, owner=owner, health=Health())
        self._services.append(started)
        started.start()
        return started

    def relay(self, meter=None, **changes):
        publisher = Publisher(self.settings.broker, name="test relay")
        publisher.start()
        started = Relay(
            publisher, self.settings.database, replace(self.settings.relay, **changes),
            exchange=PREFIX, health=Health(), signer=signer_of(self.settings.message), meter=meter,
        )  # fmt: skip
        self._services += [publisher, started]
        started.start()
        return started

    def use(self, queue_type):
        """Have queues of this type; they are quorum queues at first."""
        if queue_type != "quorum":
            for queue in PROBE.queues:
                self.rabbit.delete_queue(f"{PREFIX}.{queue}")
            declare(self.settings, queue_type)

    def publish(self, queue, *payloads, **envelope):
        """Publish probes as their first hop; message ids are the order ids."""
        outcomes = self.publisher.publish_many([
            Publishing(PREFIX, queue, to_properties(self.envelope(each, **envelope)), encode(each))
            for each in payloads
        ])  # fmt: skip
        assert {outcome.value for outcome in outcomes} <= {"confirmed"}, outcomes

    def envelope(self, payload, **changes):
        from_payload = {"message_id": payload.order_id, "correlation_id": payload.order_id}
        fixed = {"type": "Probe", "version": 1, "traceparent": trace.new(), "occurred_at": utc_now()}
        return Envelope(**(fixed | from_payload | changes))

    def as_published(self, payload):
        """Return the properties and the body of a probe's first hop."""
        return to_properties(self.envelope(payload)), encode(payload)

    def publish_raw(self, queue, *messages):
        """Publish (properties or None, body) as a foreign client might."""
        self.rabbit.publish(
            *(Publishing(PREFIX, queue, properties or Properties(), body) for properties, body in messages)
        )

    def send(self, queue, *payloads):
        """Write probes to the outbox in one transaction."""
        with self.session.transaction() as tx:
            tx.send([Command(queue, each.order_id, each.order_id, each) for each in payloads])

    def rows(self, sql, *params):
        with self.session.transaction() as tx:
            return tx.fetch_all(sql, params)

    def value(self, sql, *params):
        return self.rows(sql, *params)[0][0]

    def effects(self, queue):
        return sorted(row[0] for row in self.rows("SELECT order_id FROM effects WHERE queue = %s", queue))

    def wait_for_effects(self, queue, count, timeout_s=20.0):
        wait_until(lambda: len(self.effects(queue)) >= count, timeout_s, what=f"{count} effects on {queue}")
        return self.effects(queue)

    def close(self):
        for service in reversed(self._services):
            service.stop()
        for service in reversed(self._services):
            assert service.join(20), f"{service} did not stop"
        self.publisher.stop()
        self.publisher.join(10)
        self.session.close()
        self.rabbit.close()


def probes(count, do="ok", start=0, **fields):
    return [Probe(order_id=f"o{n:05}", do=do, **fields) for n in range(start, start + count)]


def declare(settings, queue_type="quorum", queues=PROBE.queues):
    """Declare the probe's topology, or that of some queues, on the broker."""
    manager = manager_of(settings.broker)
    try:
        apply(manager, build(PREFIX, queues, queue_type=queue_type))
    finally:
        manager.close(2.0)

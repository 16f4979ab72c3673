"""Everything a foreign client may throw at a queue, against a real consumer process."""

from collections import Counter
from pathlib import Path

import pika
import pytest

from ordermq.testing import wait_until
from tests.support.poison import HUGE_BYTES, POISON, message_of, send_if_the_broker_takes_it
from tests.support.shop import an_order

GROWS_BY_MB = 400  # measured: 160, from 44; nearly all of it is the one huge body


@pytest.fixture
def foreign(vhost):
    """A channel of a client that knows nothing of us."""
    broker = vhost.broker
    credentials = pika.PlainCredentials(broker.username, broker.password)
    parameters = pika.ConnectionParameters("127.0.0.1", broker.port, vhost.name, credentials)
    with pika.BlockingConnection(parameters) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        yield channel


def test_every_poison_ends_as_one_dead_letter_and_costs_neighbours_and_memory_nothing(pipeline, foreign):
    pipeline.stock(p_1=100)
    pipeline.begin("relay", "inventory")
    pipeline.wait_ready()
    consumer = pipeline.process("inventory")
    before_mb = peak_mb(consumer)
    messages = [message_of(number, *poison) for number, poison in enumerate(POISON.values())]
    huge = b'{"order_id":"' + b"x" * HUGE_BYTES + b'"}'

    pipeline.place([an_order(f"o-{n}") for n in range(20)])
    for properties, body in [*messages, *messages]:  # twice, as after a restart of the broker
        foreign.basic_publish("orders", "inventory", body, properties)
    messages += send_if_the_broker_takes_it(foreign, huge)
    pipeline.place([an_order(f"o-{n}") for n in range(20, 40)])

    pipeline.wait_for(40, "reserved")
    wait_until(lambda: dead_letters(pipeline) >= len(messages), 20, what="a dead letter of every poison")
    grown_mb = peak_mb(consumer) - before_mb
    assert consumer.exit_code is None
    assert pipeline.stop("inventory") == {"inventory": 0}
    assert pipeline.depth("inventory") == 0
    kept = Counter(bytes(body) for (body,) in pipeline.rows("SELECT body FROM ordermq.dead_letters"))
    assert kept == Counter(body for _, body in messages)
    assert pipeline.count("reserved") == 40
    assert pipeline.value("SELECT count(*) FROM ordermq.starts") == 0
    assert grown_mb < GROWS_BY_MB


def dead_letters(pipeline):
    return pipeline.value("SELECT count(*) FROM ordermq.dead_letters")


def peak_mb(process):
    """The most memory the process has ever held."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    [peak_kb] = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    return peak_kb / 1024

"""What is configured wrong at the first start ends a process with 78 and with what to do about it."""

import json

import pytest

from ordermq.shop.intake.generate import generate

CONSUMER = ("ordermq-consumer", "--queue", "inventory")
PAYMENT = ("ordermq-consumer", "--queue", "payment")
POINTS = ("ordermq-consumer", "--queue", "points")
RELAY = ("ordermq-relay",)


@pytest.fixture
def stranger(vhost):
    """A user of the vhost who may do nothing in it."""
    name = f"stranger-{vhost.name}"
    vhost.broker.add_user(name, "the stranger's password")
    vhost.broker.set_permissions(name, vhost.name, configure="", write="", read="")
    yield {"ORDERMQ_BROKER_USERNAME": name, "ORDERMQ_BROKER_PASSWORD": "the stranger's password"}
    vhost.broker.delete_user(name)


def refused(pipeline, argv, **env):
    """Run until it ends by itself with 78; return its last words."""
    found = pipeline.run(*argv, **env)
    assert found.returncode == 78, found.stderr
    last = json.loads(found.stderr.splitlines()[-1])
    assert last["log.level"] == "critical"
    return last["message"]


@pytest.mark.parametrize(
    ("argv", "env", "said"),
    [
        (CONSUMER, {"ORDERMQ_BROKER_PASSWORD": "certainly wrong"}, "check broker.username, its password"),
        (RELAY, {"ORDERMQ_BROKER_VHOST": "nowhere"}, "vhost nowhere not found"),
        (RELAY, {"ORDERMQ_BROKER_TLS": "true"}, "check broker.tls"),
        (CONSUMER, {"ORDERMQ_DATABASE_PASSWORD": "certainly wrong"}, "check database.username, its password"),
        (RELAY, {"ORDERMQ_DATABASE_NAME": "nowhere"}, '"nowhere" does not exist'),
        (RELAY, {"ORDERMQ_DATABASE_NAME": "postgres"}, "run: ordermq db migrate"),
        (PAYMENT, {"ORDERMQ_SHOP_PAYMENT_GATEWAY": "gone.pay:Gateway"}, "shop.payment_gateway = 'gone.pay"),
        (POINTS, {"ORDERMQ_SHOP_POINTS_GATEWAY": "ordermq.clock:Deadline"}, "is not a subclass of"),
    ],
)
def test_a_wrong_setting_ends_the_process_and_is_named(pipeline, argv, env, said):
    message = refused(pipeline, argv, **env)
    assert said in message
    assert "certainly wrong" not in message


def test_a_consumer_that_may_not_read_its_queue_ends(pipeline, stranger):
    assert "permissions" in refused(pipeline, CONSUMER, **stranger)


def test_a_relay_that_may_not_write_to_the_exchange_ends_at_its_first_row(pipeline, stranger):
    pipeline.place(list(generate(1, 3)))
    message = refused(pipeline, RELAY, **stranger)
    assert "access to exchange 'orders'" in message
    assert "permissions" in message
    assert pipeline.value("SELECT count(*) FROM ordermq.outbox") == 1


def test_a_relay_without_an_exchange_ends_at_its_first_row(pipeline, vhost):
    vhost.broker.api("DELETE", f"exchanges/{vhost.name}/orders")
    pipeline.place(list(generate(1, 3)))
    assert "'ordermq topology apply' creates it" in refused(pipeline, RELAY)
    assert pipeline.value("SELECT count(*) FROM ordermq.outbox") == 1


def test_messages_to_a_missing_exchange_end_the_tool_with_the_command_that_makes_it(pipeline, vhost):
    vhost.broker.api("DELETE", f"exchanges/{vhost.name}/orders")
    done = pipeline.run(
        "ordermq-publish", "messages", "-", "--routing-key", "points", stdin=b'{"order_id": "A-1"}\n'
    )
    assert done.returncode == 78
    assert "'ordermq topology apply' creates it" in done.stderr

"""Registry: which handler takes which message."""

import pytest

from ordermq.cli.program import registry_of
from ordermq.errors import ConfigError, UnknownMessageType, UnsupportedVersion
from ordermq.message.envelope import Envelope
from ordermq.message.payload import Payload
from ordermq.module import Module
from ordermq.shop import module as shop
from ordermq.task import DONE, handler


class Reserve(Payload):
    VERSION = 2
    order_id: str


class Release(Payload):
    order_id: str


def envelope(message_type, version=1):
    return Envelope(
        message_id="m",
        type=message_type,
        version=version,
        correlation_id="",
        traceparent="",
        occurred_at=None,
    )


@handler(queue="stock", message=Reserve, key="order_id")
def reserve(message, tx):
    return DONE


def registry(*handlers):
    return registry_of([Module("stock", handlers=handlers)])


def test_a_message_finds_the_handler_of_its_queue_type_and_version():
    found = registry(reserve)

    assert found.queues == ("stock",)
    assert found.untyped("stock") == "Reserve"
    assert found.find("stock", envelope("Reserve", 2)).type == "Reserve"
    with pytest.raises(UnsupportedVersion, match="newer than 2"):
        found.find("stock", envelope("Reserve", 3))
    with pytest.raises(UnknownMessageType, match="takes Reserve, not Other"):
        found.find("stock", envelope("Other"))
    with pytest.raises(ConfigError, match="queues with handlers: stock"):
        found.of_queue("stok")


def test_a_queue_with_two_types_has_no_untyped():
    release = handler(queue="stock", message=Release)(lambda message, tx: DONE)
    assert registry(reserve, release).untyped("stock") is None


def test_of_two_types_the_one_that_says_so_takes_messages_without_a_type():
    release = handler(queue="stock", message=Release, untyped=True)(lambda message, tx: DONE)
    assert registry(reserve, release).untyped("stock") == "Release"
    with pytest.raises(ConfigError, match="two handlers for messages without a type"):
        registry(handler(queue="stock", message=Reserve, untyped=True)(lambda message, tx: DONE), release)


def test_the_shops_queues_of_a_single_step_take_messages_without_a_type():
    found = registry_of([shop])
    assert found.untyped("points") == "AwardPoints"
    assert found.untyped("shipping") == "CreateShipment"


def test_two_handlers_for_one_message_are_refused_and_both_are_named():
    @handler(queue="stock", message=Reserve)
    def reserve_again(message, tx):
        return DONE

    with pytest.raises(ConfigError, match=r"two handlers for Reserve: .*\.reserve and .*\.reserve_again"):
        registry(reserve, reserve_again)


def test_a_key_the_message_lacks_is_refused_where_it_is_written():
    with pytest.raises(ConfigError, match="no field 'id'"):
        handler(queue="stock", message=Reserve, key="id")


def test_the_queue_of_what_the_broker_dead_letters_takes_no_handler():
    @handler(queue="dead", message=Release)
    def keep(message, tx):
        return DONE

    with pytest.raises(ConfigError, match="queue name 'dead' is taken"):
        registry(keep)


@pytest.mark.parametrize(
    ("function", "options", "said"),
    [
        (lambda message: DONE, {}, r"called as .*\(message, tx\), and cannot be: too many positional"),
        (lambda messages, tx, delivery: [], {"batch": 5}, "missing a required argument: 'delivery'"),
        (lambda message, tx: DONE, {"inbox": False}, r"\(message\), and cannot be: missing .*'tx'"),
        (lambda message, tx, delivery, retries: DONE, {}, r"tx, delivery=delivery\).* 'retries'"),
    ],
)
def test_a_function_that_no_consumer_could_call_is_refused_where_it_is_decorated(function, options, said):
    with pytest.raises(ConfigError, match=said):
        handler(queue="stock", message=Release, **options)(function)


def test_a_function_that_is_async_is_refused():
    async def release(message, tx):
        return DONE

    with pytest.raises(ConfigError, match="release is async; a handler blocks"):
        handler(queue="stock", message=Release)(release)


def test_what_is_no_payload_is_refused_as_a_message():
    with pytest.raises(
        ConfigError, match=r"message=<class 'dict'> is not a class of messages; derive one from"
    ):
        handler(queue="stock", message=dict)(lambda message, tx: DONE)

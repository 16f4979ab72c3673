"""Registry: which handler takes which message."""

import sys
import types

import pytest

from ordermq.errors import ConfigError, UnknownMessageType, UnsupportedVersion
from ordermq.message.envelope import Envelope
from ordermq.message.payload import Payload
from ordermq.task import DONE, handler, load


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


@pytest.fixture
def module():
    name = "shop_of_this_test"
    module = types.ModuleType(name)
    sys.modules[name] = module
    yield module
    del sys.modules[name]


def test_a_module_named_in_the_configuration_offers_its_handlers(module):
    @handler(queue="stock", message=Reserve, key="order_id")
    def reserve(message, tx):
        return DONE

    module.reserve = reserve
    registry = load(["shop_of_this_test"])

    assert registry.queues == ("stock",)
    assert registry.only_type("stock") == "Reserve"
    assert registry.find("stock", envelope("Reserve", 2)).call is reserve
    with pytest.raises(UnsupportedVersion, match="newer than 2"):
        registry.find("stock", envelope("Reserve", 3))
    with pytest.raises(UnknownMessageType, match="takes Reserve, not Other"):
        registry.find("stock", envelope("Other"))
    with pytest.raises(ConfigError, match="queues with handlers: stock"):
        registry.of_queue("stok")


def test_a_queue_with_two_types_has_no_only_type(module):
    module.a = handler(queue="stock", message=Reserve)(lambda message, tx: DONE)
    module.b = handler(queue="stock", message=Release)(lambda message, tx: DONE)
    assert load(["shop_of_this_test"]).only_type("stock") is None


def test_what_follows_from_unreadable_messages_is_named_by_a_module_or_its_package_each_once():
    names = ("package_of_this_test", "package_of_this_test.gifts", "package_of_this_test.cards")
    package, *modules = (types.ModuleType(name) for name in names)
    package.ON_UNREADABLE = print
    for module, payload in zip(modules, (Reserve, Release), strict=True):
        module.handle = handler(queue="stock", message=payload)(lambda message, tx: DONE)
    sys.modules |= dict(zip(names, (package, *modules), strict=True))
    try:
        assert load(names[1:]).on_unreadable == (print,)
        modules[0].ON_UNREADABLE = repr
        assert load(names[1:]).on_unreadable == (repr, print)
        modules[0].ON_UNREADABLE = "loudly"
        with pytest.raises(ConfigError, match="is no function"):
            load(names[1:])
    finally:
        for name in names:
            del sys.modules[name]


def test_two_handlers_for_one_message_are_refused(module):
    module.a = handler(queue="stock", message=Reserve)(lambda message, tx: DONE)
    module.b = handler(queue="stock", message=Reserve)(lambda message, tx: DONE)
    with pytest.raises(ConfigError, match="two handlers for Reserve"):
        load(["shop_of_this_test"])


@pytest.mark.parametrize("name", ["no_such_module_here", "json"])
def test_a_module_that_is_missing_or_empty_is_named(name):
    with pytest.raises(ConfigError, match=name):
        load([name])


def test_a_module_that_is_not_python_is_named(tmp_path, monkeypatch):
    (tmp_path / "broken_shop.py").write_text("def handle(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="broken_shop"):
        load(["broken_shop"])


def test_a_key_the_message_lacks_is_refused_where_it_is_written():
    with pytest.raises(ConfigError, match="no field 'id'"):
        handler(queue="stock", message=Reserve, key="id")


def test_the_queue_of_what_the_broker_dead_letters_takes_no_handler(module):
    @handler(queue="dead", message=Release)
    def bury(message, tx):
        return DONE

    module.bury = bury
    with pytest.raises(ConfigError, match="queue name 'dead' is taken"):
        load([module.__name__])

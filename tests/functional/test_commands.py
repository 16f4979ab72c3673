"""Commands that a handler makes for its own queue, and the message_id they get where they are sent."""

from typing import Generic, TypeVar

import pytest

from ordermq.errors import ConfigError, UsageError
from ordermq.message import Command, Payload
from ordermq.store import Session
from ordermq.task import DONE, ExternalHandler, external, handler
from ordermq.testing import run_handler
from tests.support.probe import Probe, handle_bare, handle_single


@pytest.fixture
def session(database_settings):
    session = Session(database_settings, name="test")
    yield session
    session.close()


class WrapGift(Payload):
    order_id: str
    ribbon: str = "red"


class News(Payload):
    text: str


@handler(queue="gifts", message=WrapGift, key="order_id")
def wrap_gift(message, tx):
    return DONE


@handler(queue="news", message=News)
def tell(message, tx):
    return DONE


class Methods:
    def prepare(self, claims, tx):
        return [DONE] * len(claims)

    def call(self, request): ...

    def complete(self, finished, tx): ...


class Caller(Methods, ExternalHandler):
    """Leaves open what it handles."""


def sending(*commands):
    """Return a handler that sends ``commands``."""

    @handler(queue="first", message=Probe, key="order_id")
    def send(message, tx):
        for command in commands:
            tx.send(command)
        return DONE

    return send


def ids(session, traces, *commands):
    """Return the message ids of ``commands`` sent in one transaction, in order."""
    with session.transaction(traces=traces, dry_run=True) as tx:
        tx.send(commands)
        return [row[0] for row in tx.fetch_all("SELECT message_id FROM ordermq.outbox ORDER BY outbox_id")]


GIFT = wrap_gift.command(WrapGift(order_id="A-1"))
CAUSE = {"A-1": "00-" + "1" * 32 + "-" + "2" * 16 + "-01"}
OTHER_CAUSE = {"A-1": "00-" + "1" * 32 + "-" + "3" * 16 + "-01"}


def test_a_command_knows_the_queue_the_type_and_the_key_of_its_handler(session):
    (sent,) = run_handler(sending(GIFT), Probe(order_id="A-1"), session=session).sent
    assert (sent.queue, sent.type, sent.body) == ("gifts", "WrapGift", {"order_id": "A-1", "ribbon": "red"})
    assert GIFT.correlation_id == "A-1"
    assert tell.command(News(text="x")).correlation_id == ""
    assert tell.command(News(text="x"), correlation_id="A-1", delay_s=3.0) == Command(
        "news", "", "A-1", News(text="x"), 3.0
    )
    assert wrap_gift.command(WrapGift(order_id="A-1"), message_id="mine").message_id == "mine"


def test_an_external_handler_makes_commands_once_it_is_decorated():
    with pytest.raises(ConfigError, match="not decorated"):
        Caller.command(WrapGift(order_id="A-1"))
    marked = external(queue="calls", message=WrapGift, key="order_id")(Caller)
    assert marked.command(WrapGift(order_id="A-1")).queue == "calls"


def test_a_command_of_another_payload_is_refused_where_it_is_written():
    with pytest.raises(UsageError, match="takes WrapGift here, not News"):
        wrap_gift.command(News(text="x"))


def test_the_same_command_of_the_same_cause_is_the_same_message(session):
    assert ids(session, CAUSE, GIFT) == ids(session, CAUSE, GIFT)


@pytest.mark.parametrize(
    ("cause", "other"),
    [
        (OTHER_CAUSE, GIFT),
        (CAUSE, wrap_gift.command(WrapGift(order_id="A-1", ribbon="blue"))),
        (CAUSE, Command("elsewhere", "", "A-1", WrapGift(order_id="A-1"))),
    ],
)
def test_another_cause_payload_or_queue_makes_another_message(session, cause, other):
    assert ids(session, CAUSE, GIFT) != ids(session, cause, other)


def test_equal_commands_of_one_transaction_are_as_many_messages_and_the_same_ones_again(session):
    first = ids(session, CAUSE, GIFT, GIFT)
    assert len(set(first)) == 2
    assert ids(session, CAUSE, GIFT, GIFT) == first


def test_without_a_cause_each_command_is_a_new_message(session):
    assert ids(session, {}, GIFT) != ids(session, {}, GIFT)


def test_a_function_with_handler_is_still_called_as_before():
    assert wrap_gift(WrapGift(order_id="A-1"), None) is DONE
    assert wrap_gift.__name__ == "wrap_gift"
    assert handle_single.command(Probe(order_id="a")).queue == "single"
    assert handle_bare.command(Probe(order_id="a")).queue == "bare"


P = TypeVar("P", bound=Payload)


class OfGifts(Methods, ExternalHandler[WrapGift, str, str]):
    """Names its payload."""


class Open(Methods, ExternalHandler[P, str, str], Generic[P]):
    """Leaves its payload to its subclasses."""


class Closed(Open[WrapGift]):
    """Names it at second hand."""


@pytest.mark.parametrize("wrong", [OfGifts, Closed, type("Derived", (OfGifts,), {})])
def test_an_external_class_of_another_payload_is_refused(wrong):
    external(queue="calls", message=WrapGift)(wrong)
    with pytest.raises(ConfigError, match="handles WrapGift, not News"):
        external(queue="calls", message=News)(wrong)


def test_an_external_class_that_lacks_a_method_is_refused():
    with pytest.raises(ConfigError, match="does not define call, complete, prepare"):
        external(queue="calls", message=News)(type("Empty", (ExternalHandler,), {}))


def test_what_is_no_external_handler_is_refused():
    with pytest.raises(ConfigError, match="not a subclass of ExternalHandler"):
        external(queue="calls", message=News)(object)

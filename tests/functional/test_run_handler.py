"""run_handler(): a handler on a real transaction, as docs/testing.md shows it."""

import re
from pathlib import Path

import pytest

from ordermq.errors import OutcomeUnknown, UsageError
from ordermq.message import Command
from ordermq.store import Session
from ordermq.task import DONE, Retry, handler
from ordermq.testing import run_handler
from tests.support import probe
from tests.support.probe import CallOut, Probe, handle_batch, handle_single

EXAMPLE = Path(__file__).parents[2] / "docs" / "testing.md"
EFFECTS = "SELECT order_id FROM effects ORDER BY order_id"


@pytest.fixture
def session(database_settings):
    session = Session(database_settings, name="test")
    with session.transaction() as tx:
        tx.execute(probe.SCHEMA)
    yield session
    session.close()


def effects(session):
    with session.transaction() as tx:
        return [row[0] for row in tx.fetch_all(EFFECTS)]


@handler(queue="first", message=Probe, key="order_id")
def hand_on(message, tx):
    tx.send([Command("next", f"{message.order_id}:1:next", message.order_id, message)])


def test_a_plain_handler_is_rolled_back_after_it_was_looked_at(session):
    seen = []
    ran = run_handler(
        handle_batch, Probe(order_id="a"), Probe(order_id="b"), session=session,
        check=lambda tx: seen.extend(tx.fetch_all(EFFECTS)),
    )  # fmt: skip
    assert ran.outcomes == [DONE, DONE]
    assert seen == [("a",), ("b",)]
    assert effects(session) == []


def test_committed_is_only_what_a_consumer_would_commit(session):
    run_handler(handle_single, Probe(order_id="a"), session=session, commit=True)
    ran = run_handler(handle_single, Probe(order_id="b", do="retry"), session=session, commit=True)
    assert isinstance(ran.outcomes[0], Retry)
    assert effects(session) == ["a"]


def test_what_it_sends_is_returned(session):
    with session.transaction() as tx:
        tx.send([Command("other", "earlier", "z", Probe(order_id="z"))])
    (sent,) = run_handler(hand_on, Probe(order_id="a"), session=session).sent
    assert (sent.queue, sent.type, sent.message_id, sent.body["order_id"]) == (
        "next",
        "Probe",
        "a:1:next",
        "a",
    )


@pytest.mark.parametrize(("commit", "kept"), [(False, []), (True, ["a"])])
def test_an_external_handler_is_prepared_called_and_completed(session, commit, kept):
    messages = Probe(order_id="a"), Probe(order_id="b", do="raise")
    ran = run_handler(CallOut(), *messages, session=session, commit=commit, resumed=True)
    assert [type(each) for each in ran.outcomes] == [type(DONE), Retry]
    assert ran.results[0] == "called"
    assert isinstance(ran.results[1], OutcomeUnknown)
    assert isinstance(ran.results[1].__cause__, RuntimeError)
    assert effects(session) == kept


def test_what_is_no_handler_is_refused(session):
    for wrong in (CallOut, print):
        with pytest.raises(UsageError):
            run_handler(wrong, session=session)


def test_the_example_of_the_documentation_runs(pytester_like, database_settings):
    pytester_like(re.search(r"```python\n(# test_gifts\.py.*?)```", EXAMPLE.read_text(), re.DOTALL)[1])


@pytest.fixture
def pytester_like(database_settings):
    """Run the example's tests with the fixture they ask for."""

    def run(source):
        names = {}
        exec(compile(source, str(EXAMPLE), "exec"), names)  # noqa: S102 # our own documentation
        tests = [value for name, value in names.items() if name.startswith("test_")]
        assert tests
        for test in tests:
            test(database_settings)

    return run

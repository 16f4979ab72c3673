"""What tests of the running parts share."""

import secrets
import shutil
from pathlib import Path

import pika
import pytest

from ordermq.shop.sandbox.private import PrivateSandbox
from ordermq.testing.plugin import Database
from tests.support import probe
from tests.support.administrator import Administrator
from tests.support.commands import ForkedProcess
from tests.support.outward import Outward
from tests.support.pipeline import Pipeline
from tests.support.runtime import Rig, declare
from tests.support.wheel import build_wheel


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item):
    """Bring the servers back before the fixtures of the test end, and other tests follow."""
    bring_servers_back(item)


def bring_servers_back(item):
    """Start or thaw what the test killed, stopped or froze."""
    stack = item.funcargs.get("ordermq_stack")
    for part in stack.parts.values() if stack is not None else ():
        pid = part.process.pid
        if pid is None:
            part.start()
        elif is_stopped(pid):
            part.thaw()


def is_stopped(pid):
    """Whether the process was frozen, which stops it before its children."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """The wheel of this checkout, built once a run."""
    return build_wheel(tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel"))


@pytest.fixture(params=["BlockingConnection", "SelectConnection"])
def opened_by(request, monkeypatch):
    """What a BrokerConnection opens: a BlockingConnection or, where pika has none, a SelectConnection."""
    if request.param == "SelectConnection":
        monkeypatch.delattr(pika, "BlockingConnection", raising=False)
    elif not hasattr(pika, "BlockingConnection"):
        pytest.skip("this pika has no BlockingConnection")
    return request.param


@pytest.fixture
def database_template(request, database_template):
    """The framework's and the shop's tables, made once a run; nothing for a test that is marked so."""
    return "template1" if request.node.get_closest_marker("empty_database") else database_template


@pytest.fixture(scope="session")
def administrator(ordermq_stack):
    administrator = Administrator(ordermq_stack.postgres)
    yield administrator
    administrator.close()


@pytest.fixture
def database(ordermq_stack, administrator, database_template):
    """A copy of ``database_template``; dropped afterwards, with every connection to it."""
    database = Database(ordermq_stack.postgres, f"test_{secrets.token_hex(6)}")
    owner = ordermq_stack.postgres.username
    administrator.execute(f"CREATE DATABASE {database.name} OWNER {owner} TEMPLATE {database_template}")
    yield database
    administrator.execute(f"DROP DATABASE IF EXISTS {database.name} WITH (FORCE)")


@pytest.fixture
def sandbox(_sandbox_place):
    """The shop's third parties in a process of the test's own, with empty ledgers."""
    sandbox = PrivateSandbox(_sandbox_place)
    sandbox.process = ForkedProcess(_sandbox_place, sandbox.part)
    try:
        sandbox.start()
        yield sandbox
    finally:
        sandbox.kill()
        shutil.rmtree(sandbox.data)


@pytest.fixture
def rig(ordermq_stack, broker_settings, database_settings):
    """The tables of the probe, a declared topology, and starters of consumers and relays."""
    rig = Rig(ordermq_stack, broker_settings, database_settings)
    with rig.session.transaction() as tx:
        tx.execute(probe.SCHEMA)
    declare(rig.settings)
    yield rig
    rig.close()


@pytest.fixture
def outward(broker_settings, database):
    """The declared stream of events, and a relay's publishing to it, turn by turn."""
    outward = Outward(broker_settings, database.settings)
    outward.declare()
    yield outward
    outward.close()


@pytest.fixture
def pipeline(ordermq_stack, vhost, database, sandbox, tmp_path):
    """The shop's processes on the test's own vhost and database; none is left running."""
    pipeline = Pipeline(ordermq_stack, vhost, database, sandbox, tmp_path)
    yield pipeline
    pipeline.close()

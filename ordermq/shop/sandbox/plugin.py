"""Pytest fixture of the shop: its third parties, for one test.

Add ``pytest_plugins = ["ordermq.shop.sandbox.plugin"]`` to the topmost conftest.py of a project that
tests handlers of the shop.
"""

import shutil
from collections.abc import Iterator

import pytest

from ordermq.shop.sandbox.private import PrivateSandbox
from ordermq.testing.stack.account import server_account
from ordermq.testing.stack.place import Place
from ordermq.testing.stack.private import guarded


@pytest.fixture(scope="session")
def _sandbox_place() -> Iterator[Place]:
    place = Place.temporary(server_account())
    with guarded(place):
        yield place


@pytest.fixture
def sandbox(_sandbox_place: Place) -> Iterator[PrivateSandbox]:
    """Payment gateway, SMS service and mail server in a process of the test's own, with empty ledgers."""
    sandbox = PrivateSandbox(_sandbox_place)
    try:
        sandbox.start()
        yield sandbox
    finally:
        sandbox.kill()
        shutil.rmtree(sandbox.data)

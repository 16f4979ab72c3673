"""Sessions of somebody else that stand in the way, as a backup and an idle report do."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from ordermq.config.settings import DatabaseSettings
from ordermq.store.connecting import connect


def other(settings: DatabaseSettings) -> Any:
    """A connection of somebody else, whose transactions begin by themselves."""
    connection = connect(settings, name="other")
    connection.autocommit = False
    return connection


@contextmanager
def old_snapshot(settings: DatabaseSettings) -> Iterator[None]:
    """A session that holds a snapshot and its lock on the outbox, as pg_dump and an idle reader do."""
    with closing(other(settings)) as connection:
        connection.set_session(isolation_level="REPEATABLE READ")
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM ordermq.outbox")
        yield

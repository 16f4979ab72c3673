"""What PostgreSQL says of itself, for ``ordermq doctor`` and for metrics: statements cheap on any server."""

from collections.abc import Sequence
from typing import NamedTuple

from ordermq.store.transaction import StoreTransaction
from ordermq.task.transaction import Transaction

# A role that may not read others' sessions sees no xact_start of theirs; the rest is readable by all.
_FACTS = """
    SELECT current_setting('server_version'), current_setting('server_version_num')::int,
           current_setting('fsync'), current_setting('synchronous_commit'),
           current_setting('full_page_writes'), current_setting('autovacuum'),
           current_setting('transaction_read_only'), pg_is_in_recovery(),
           current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
           (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
           (SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::float8
              FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'),
           (SELECT count(*) FROM pg_prepared_xacts),
           pg_notification_queue_usage(),
           (SELECT age(datfrozenxid) FROM pg_database WHERE datname = current_database()),
           pg_database_size(current_database()),
           extract(epoch FROM clock_timestamp())::float8
"""


class ServerFacts(NamedTuple):
    """Settings and state; ``clock`` is Unix time, ``room`` the connections there may be."""

    version: str
    version_num: int
    fsync: str
    synchronous_commit: str
    full_page_writes: str
    autovacuum: str
    read_only: str
    is_replica: bool
    room: int
    connections: int
    oldest_transaction_s: float
    prepared: int
    notification_queue: float
    transaction_age: int
    size_bytes: int
    clock: float


def read_facts(tx: StoreTransaction) -> ServerFacts:
    """Return what the server says."""
    row = tx.fetch_one(_FACTS)
    assert row is not None  # noqa: S101 # a SELECT without FROM has one row
    return ServerFacts(*row)


# Estimates that PostgreSQL keeps anyway: no table is read.
_DEAD_ROWS = """
    SELECT schemaname || '.' || relname, n_dead_tup FROM pg_stat_user_tables
     WHERE schemaname || '.' || relname = ANY(%s)
"""
_STRAIN = """
    SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::float8,
           pg_notification_queue_usage()
      FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'
"""


def dead_rows(tx: Transaction, tables: Sequence[str]) -> dict[str, int]:
    """Return how many rows of each table wait for a vacuum, as PostgreSQL estimates."""
    return dict(tx.fetch_all(_DEAD_ROWS, (list(tables),)))


def strain(tx: StoreTransaction) -> tuple[float, float]:
    """Return the age of the oldest transaction in seconds, and how full the queue of notifications is."""
    row = tx.fetch_one(_STRAIN)
    return (float(row[0]), float(row[1])) if row else (0.0, 0.0)

"""Faults of PostgreSQL."""

from tests.chaos.arena import Arena
from tests.chaos.fault import Fault

_TERMINATE = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
     WHERE datname = '{}' AND application_name LIKE 'ordermq%' AND random() < 0.7
"""


class DatabaseKilled(Fault):
    name = "F16"
    title = "backends terminated, database killed"
    expect = "a COMMIT without answer is neither lost nor done twice"
    recovers_within_s = 10.0

    def strike(self, arena: Arena) -> None:
        for _ in range(5):
            arena.postgres.sql(_TERMINATE.format(arena.name), superuser=True)
            arena.pause_between(0.1, 0.5)
        arena.postgres.kill()
        arena.pause_between(0.0, 2.0)
        arena.postgres.start()
        arena.healed()


FAULTS = (DatabaseKilled(),)

"""What people have decided about one queue and the services it calls: one statement, read once a second."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from ordermq.store.pauses import QueuePause
from ordermq.store.transaction import StoreTransaction

_PAUSES = """
    SELECT 'pause', pause_id, queue, paused_at, resumed_at, paused_by, pause_reason, false
      FROM ordermq.pauses WHERE queue = %(queue)s AND pause_id > %(pause_id)s
    UNION ALL SELECT 'tap', 0, '', NULL, NULL, '', '', false
                FROM ordermq.taps WHERE open_until > now() AND (queue IS NULL OR queue = %(queue)s)
    UNION ALL SELECT 'held', 0, '', NULL, NULL, '', '', false
               WHERE EXISTS (SELECT FROM ordermq.holds WHERE released_at IS NULL)
    UNION ALL SELECT 'clock', 0, '', clock_timestamp(), NULL, '', '', false
"""

_LIMITS = """
    UNION ALL SELECT 'limit', 0, dependency, set_at, NULL, '', '', key_rate IS NOT NULL
                FROM ordermq.limits WHERE dependency = ANY(%(dependencies)s)
    UNION ALL SELECT 'metered', metered_id, dependency, short_since, short_at, '', '', false
                FROM ordermq.metered WHERE dependency = ANY(%(dependencies)s) AND metered_id > %(metered_id)s
    UNION ALL SELECT 'short', 0, dependency, short_since, short_at, '', '', false
                FROM ordermq.buckets WHERE dependency = ANY(%(dependencies)s) AND limit_key = ''
                                       AND short_at IS NOT NULL
"""

_IN_ORDER = " ORDER BY 1, 2"


class Metered(NamedTuple):
    """A span in which a service's limit was used up; number 0 is the latest, which may go on."""

    metered_id: int
    since: datetime
    until: datetime


class Decided(NamedTuple):
    """What is new: pauses and spans in order. ``limits`` are all in force; True has a share for each key.

    ``is_tapped``: somebody looks at what is settled. ``has_holds``: something is held back by its id.
    ``database_at`` is the database's clock.
    """

    pauses: list[QueuePause]
    limits: dict[str, bool]
    metered: list[Metered]
    is_tapped: bool = False
    has_holds: bool = False
    database_at: datetime | None = None


def read_decided(
    tx: StoreTransaction, queue: str, dependencies: Sequence[str], *, after_pause: int, after_metered: int
) -> Decided:
    """Return the pauses and spans numbered above those given, and the limits in force."""
    params = {
        "queue": queue, "pause_id": after_pause,
        "dependencies": list(dependencies), "metered_id": after_metered,
    }  # fmt: skip
    found, flags, database_at = Decided([], {}, []), set[str](), None
    sql = _PAUSES + (_LIMITS if dependencies else "") + _IN_ORDER
    for what, number, name, since, until, by, reason, has_keys in tx.fetch_all(sql, params):
        if what == "pause":
            found.pauses.append(QueuePause(number, name, since, by, reason, until))
        elif what == "limit":
            found.limits[name] = has_keys
        elif what in ("tap", "held"):
            flags.add(what)
        elif what == "clock":
            database_at = since
        else:
            found.metered.append(Metered(number, since, until))
    return found._replace(is_tapped="tap" in flags, has_holds="held" in flags, database_at=database_at)

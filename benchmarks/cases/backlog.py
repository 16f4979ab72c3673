"""Whether a message costs more the more of them wait: outbox rows, queued messages, inbox rows of history.

Each time ``PARTS`` times ``K`` of a backlog are taken, and the rest left; the part of the
middle speed counts, for a busy moment would look like a slope. ``n`` is how many rows the
largest outbox and the history hold. Queues are filled with less: a million messages would
take the broker minutes, and what a delivery costs there shows before.
"""

from collections.abc import Callable, Mapping
from itertools import pairwise
from math import inf
from statistics import median

from benchmarks.case import Case, Contender, Target, Wrong
from benchmarks.gated import Gated, gated
from benchmarks.ground import Ground

K, PARTS = 2_000, 3  # warm-up and parts together fit into the smallest backlog
QUEUED_AT_MOST = 300_000
FLAT = 1.25

_FILL_OUTBOX = """
    INSERT INTO ordermq.outbox (routing_key, message_id, type, version, correlation_id, traceparent,
        occurred_at, body)
    SELECT 'plain', 'm-' || n || ':plain', 'Work', 1, 'm-' || n,
           '00-' || md5(n::text) || '-' || substr(md5(n::text), 1, 16) || '-01', now(),
           convert_to('{"order_id":"m-' || n || '"}', 'UTF8')
      FROM generate_series(1, %s) AS n
"""
_FILL_INBOX = """
    INSERT INTO ordermq.inbox (queue, message_id, hop, outcome, settled_at)
    SELECT 'plain', 'old-' || md5(n::text), 0, 'done', now() - n * interval '1 second'
      FROM generate_series(1, %s) AS n
"""


def _outbox(ground: Ground, n: int) -> Mapping[str, float]:
    """Relay the first rows of outboxes of a hundredth, a tenth and all of ``n``."""
    figures = {}
    with gated(ground) as run:
        for name, size in _sizes(n, inf).items():
            _execute(run, "TRUNCATE ordermq.outbox")
            _fill(run, _FILL_OUTBOX, size, "ordermq.outbox")
            ran = run.crew.run("relay_backlog", k=_taken(n), parts=PARTS)
            left = run.value("SELECT count(*) FROM ordermq.outbox")
            if left != size - ran["warm"] - ran["relayed"]:
                raise Wrong(f"{left} rows are left of {size}, and {ran['relayed']} were relayed")
            figures[name] = 1e6 * median(ran["seconds_each"])
    return figures


def _queue(ground: Ground, n: int) -> Mapping[str, float]:
    """Consume the first messages of queues of a hundredth, a tenth and as many as the broker may hold."""
    figures = {}
    with gated(ground) as run:
        for name, size in _sizes(n, QUEUED_AT_MOST).items():
            run.purge("plain")
            _execute(run, "TRUNCATE ordermq.inbox, effects")
            run.fill("plain", size, name)
            figures[name] = _consumed_us(run, _taken(n))
    return figures


def _inbox(ground: Ground, n: int) -> Mapping[str, float]:
    """Consume with nothing in the inbox, and with a history of ``n`` rows."""
    figures = {}
    with gated(ground) as run:
        for name, rows in (("none", 0), ("all", n)):
            run.purge("plain")
            _execute(run, "TRUNCATE ordermq.inbox, effects")
            _fill(run, _FILL_INBOX, rows, "ordermq.inbox")
            run.fill("plain", max(40, n // 100), name)
            figures[name] = _consumed_us(run, _taken(n))
    return figures


def _consumed_us(run: Gated, k: int) -> float:
    """Return microseconds a message, over the first ``k`` after the gate opens and those that follow."""
    run.gate.unlink(missing_ok=True)
    [hand] = run.consume("plain")
    opened = run.open()
    run.wait_effects(PARTS * k)
    run.crew.kill(hand)
    ends = [opened, *(run.effect_at(k * part) for part in range(1, PARTS + 1))]
    return 1e6 * median(end - begin for begin, end in pairwise(ends)) / k


def _sizes(n: int, most: float) -> dict[str, int]:
    return {"hundredth": max(40, n // 100), "tenth": n // 10, "all": int(min(n, most))}


def _taken(n: int) -> int:
    return min(K, max(10, n // 400))


def _fill(run: Gated, sql: str, rows: int, table: str) -> None:
    with run.session.transaction() as tx:
        tx.execute("SET LOCAL statement_timeout = 0")
        tx.execute(sql, (rows,))
    # What autovacuum has long done when a table has grown to that in earnest.
    run.crew.ground.stack.postgres.sql(
        f"VACUUM ANALYZE {table}", database=run.crew.ground.name, superuser=True, timeout_s=300.0
    )


def _execute(run: Gated, sql: str) -> None:
    with run.session.transaction() as tx:
        tx.execute(sql)


def _flat(prefix: str) -> Target:
    def spread(medians: Mapping[str, float]) -> float:
        found = [value for key, value in medians.items() if key.startswith(prefix)]
        return max(found) / min(found) if found else inf

    return Target(f"{prefix}: the dearest <= {FLAT:g} x the cheapest", spread, FLAT, at_least=False)


_WHO: dict[str, tuple[Callable[[Ground, int], Mapping[str, float]], str]] = {
    "ordermq_outbox": (_outbox, "relay.batch; n / 100, n / 10 and n rows due"),
    "ordermq_queue": (_queue, f"batches of 200; n / 100, n / 10 and {QUEUED_AT_MOST} messages at most"),
    "ordermq_inbox": (_inbox, "batches of 200; no row and n rows of history"),
}

CASE = Case(
    name="backlog",
    what="cost of a message by how many wait, and by how many have ever come",
    unit="us",
    n=1_000_000,
    smoke_n=400,
    rounds=1,
    contenders=[Contender(name, sample, settings) for name, (sample, settings) in _WHO.items()],
    targets=[_flat(name) for name in _WHO],
)

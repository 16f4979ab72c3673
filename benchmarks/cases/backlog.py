"""Whether a message costs more the more of them wait: outbox rows, queued messages, inbox rows of history.

Every size has a ground of its own, and they take turns: what slows the machine down for a while
would look like a slope. At each turn ``PARTS`` times ``K`` are taken and then put back; of all
turns the part of the middle speed counts. ``n`` is how many rows the largest outbox and the
history hold. Queues are filled with less: a million messages would take the broker minutes, and
what a delivery costs there shows before.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from math import inf
from statistics import median

from benchmarks.case import Case, Contender, Target, Wrong
from benchmarks.gated import Gated, gated
from benchmarks.ground import Arena, Ground

K, PARTS = 2_000, 3  # warm-up and parts together fit into the smallest backlog
TURNS = 2
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
_WAITING = "SELECT count(*) FROM ordermq.outbox"
_FILL_INBOX = """
    INSERT INTO ordermq.inbox (queue, message_id, hop, outcome, settled_at)
    SELECT 'plain', 'old-' || md5(n::text), 0, 'done', now() - n * interval '1 second'
      FROM generate_series(1, %s) AS n
"""


def _outbox(ground: Ground, n: int) -> Mapping[str, float]:
    """Relay the first rows of outboxes of a hundredth, a tenth and all of ``n``."""
    sizes = _sizes(n, inf)
    with _beside(ground, sizes) as runs:
        for name, run in runs.items():
            _fill(run, _FILL_OUTBOX, sizes[name], "ordermq.outbox")
        return _by_turns(runs, lambda run: _relayed(run, _taken(n)))


def _queue(ground: Ground, n: int) -> Mapping[str, float]:
    """Consume the first messages of queues of a hundredth, a tenth and as many as the broker may hold."""
    sizes = _sizes(n, QUEUED_AT_MOST)
    with _beside(ground, sizes) as runs:
        for name, run in runs.items():
            run.fill("plain", sizes[name])
        return _by_turns(runs, lambda run: _consumed(run, _taken(n)))


def _inbox(ground: Ground, n: int) -> Mapping[str, float]:
    """Consume with nothing in the inbox, and with a history of ``n`` rows."""
    rows = {"none": 0, "all": n}
    with _beside(ground, rows) as runs:
        for name, run in runs.items():
            _fill(run, _FILL_INBOX, rows[name], "ordermq.inbox")
            run.fill("plain", max(40, n // 100))
        return _by_turns(runs, lambda run: _consumed(run, _taken(n)))


@contextmanager
def _beside(ground: Ground, names: Iterable[str]) -> Iterator[dict[str, Gated]]:
    """One ground for each of ``names``, on the stack of ``ground``."""
    with ExitStack() as opened:
        yield {
            name: opened.enter_context(gated(opened.enter_context(Arena(ground.stack).ground())))
            for name in names
        }


def _by_turns(runs: Mapping[str, Gated], measure: Callable[[Gated], list[float]]) -> dict[str, float]:
    """Return microseconds a message; ``measure`` returns seconds a message, a figure for each part."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(TURNS):
        for name, run in runs.items():
            found[name] += measure(run)
    return {name: 1e6 * median(seconds) for name, seconds in found.items()}


def _relayed(run: Gated, k: int) -> list[float]:
    before = run.value(_WAITING)
    ran = run.processes.run("relay_backlog", k=k, parts=PARTS)
    gone, left = ran["warm"] + ran["relayed"], run.value(_WAITING)
    if left != before - gone:
        raise Wrong(f"{left} rows are left of {before}, and {gone} were relayed")
    _fill(run, _FILL_OUTBOX, gone, "ordermq.outbox")
    return list(ran["seconds_each"])


def _consumed(run: Gated, k: int) -> list[float]:
    """Measure the first ``k`` after the gate opens and those that follow, up to ``PARTS``."""
    _execute(run, "TRUNCATE effects")
    _execute(run, "DELETE FROM ordermq.inbox WHERE message_id NOT LIKE 'old-%'")
    run.gate.unlink(missing_ok=True)
    [process] = run.consume("plain")
    opened = run.open()
    run.wait_effects(PARTS * k)
    run.processes.kill(process)
    run.wait_unconsumed("plain")
    ends = [opened, *(run.effect_at(k * part) for part in range(1, PARTS + 1))]
    run.fill("plain", run.value("SELECT count(*) FROM effects"), f"{opened:.0f}")
    return [(end - begin) / k for begin, end in pairwise(ends)]


def _sizes(n: int, most: float) -> dict[str, int]:
    return {"hundredth": max(40, n // 100), "tenth": n // 10, "all": int(min(n, most))}


def _taken(n: int) -> int:
    return min(K, max(10, n // 400))


def _fill(run: Gated, sql: str, rows: int, table: str) -> None:
    with run.session.transaction() as tx:
        tx.execute("SET LOCAL statement_timeout = 0")
        tx.execute(sql, (rows,))
    # What autovacuum has long done when a table has grown to that in earnest.
    run.processes.ground.stack.postgres.sql(
        f"VACUUM ANALYZE {table}", database=run.processes.ground.name, superuser=True, timeout_s=300.0
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

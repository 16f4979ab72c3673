"""The ``runs`` table: when maintenance ran last, and how often a handler ran past its deadline."""

from ordermq.store.transaction import StoreTransaction

OVERDUE = "handler overdue"
PRUNE, RECONCILE, RECONCILE_OK = "prune", "reconcile", "reconcile_ok"

_NOTE = """
    INSERT INTO ordermq.runs AS r (task, queue) VALUES (%s, %s)
    ON CONFLICT (task, queue) DO UPDATE SET total = r.total + 1, last_at = now()
"""

_LIST = "SELECT task, queue, total, extract(epoch FROM last_at)::float8 FROM ordermq.runs"


def note_run(tx: StoreTransaction, task: str, queue: str = "") -> None:
    """Count one more run of ``task``, which ended now."""
    tx.write(_NOTE, (task, queue))


def runs(tx: StoreTransaction) -> list[tuple[str, str, int, float]]:
    """Return task, queue, how often it ran, and when it ended last (Unix time)."""
    return [(task, queue, total, last_at) for task, queue, total, last_at in tx.fetch_all(_LIST)]

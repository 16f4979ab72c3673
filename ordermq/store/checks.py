"""``ordermq reconcile``: whether what the tables hold agrees. The framework's own checks are here.

A check is a query for what breaks one invariant, one text a fault; its name is what
operators see. A text that a person has acknowledged is not counted any
more. A module brings functions ``f(tx, config, ask_services)`` that return
checks: ``config`` are the settings (``ordermq.config.Loaded``), ``ask_services`` says
whether services outside may be asked.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ordermq.errors import StoreError
from ordermq.store.session import Session
from ordermq.task.transaction import Transaction

MAX_OFFENDERS = 1000
"""So many of the things that break an invariant are kept, each as its line."""

ACKNOWLEDGE = "reconcile.acknowledge"
"""The action by which a person says that an offender is known: its subject is the check and the text."""

_CANCELLED = "57014"
# A check reads whole tables. Without statistics, as after a crash of the server, PostgreSQL expects a few
# rows and reads one table again for each row of another: 9 million rows for 3,000 orders.
_WHOLE_TABLES = """
    SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SET LOCAL enable_nestloop = off; SET LOCAL jit = off
"""

_QUERIES = {
    "outbox_empty": """
        SELECT message_id || ': ' || CASE WHEN refusals = 0 THEN 'waits for the relay'
                                          ELSE 'refused ' || refusals || ' times: ' || refused_reason END
          FROM ordermq.outbox WHERE available_at <= now() OR refusals > 0
    """,
    "nothing_in_hand": """
        SELECT queue || ' ' || message_id || ': leased' FROM ordermq.leases
        UNION ALL
        SELECT queue || ' ' || message_id || ': begun ' || starts || ' times' FROM ordermq.starts
    """,
    # 'ordermq db prune' deletes no dead letter younger than a day.
    "dead_letters_kept": """
        SELECT i.queue || ' ' || i.message_id || ': given up, and there is no dead letter'
          FROM ordermq.inbox AS i
         WHERE i.outcome = 'dead' AND i.settled_at > now() - interval '1 day'
           AND NOT EXISTS (SELECT FROM ordermq.dead_letters AS d
                            WHERE d.queue = i.queue AND d.message_id = i.message_id)
    """,
}

_NOTES = {
    "outbox_empty": """
        SELECT count(*) || ' messages wait for their time' FROM ordermq.outbox
         WHERE available_at > now() AND refusals = 0
    """,
    "dead_letters_kept": """
        SELECT count(*) || ' open dead letters' FROM ordermq.dead_letters
         WHERE replayed_at IS NULL AND discarded_at IS NULL
    """,
}


@dataclass(frozen=True, slots=True)
class Check:
    """One invariant: how many things break it, and the first 1,000 of them. ``note`` is for a person."""

    name: str
    wrong: int
    offenders: tuple[str, ...]
    note: str = ""

    @property
    def is_ok(self) -> bool:
        return self.wrong == 0


@dataclass(frozen=True, slots=True)
class ReconcileReport:
    """All checks, in the order in which they were made."""

    checks: tuple[Check, ...]

    @property
    def is_ok(self) -> bool:
        return all(check.is_ok for check in self.checks)


MakeChecks = Callable[[Transaction, Any, bool], Iterable[Check]]


def reconcile(
    session: Session, modules: Iterable[MakeChecks], config: Any, *, ask_services: bool
) -> ReconcileReport:
    """Make the modules' checks and the framework's. Blocks for seconds with many rows; changes nothing.

    For a system at rest: what moves while the tables are read is reported. All queries see
    one snapshot. Raises StoreError, or what a module's check raises.
    """
    with session.transaction() as tx:
        tx.execute(_WHOLE_TABLES)
        found = [check for make in modules for check in make(tx, config, ask_services)]
        found += checks_of(tx, _QUERIES, _NOTES)
    return ReconcileReport(tuple(found))


def checks_of(tx: Transaction, queries: Mapping[str, str], notes: Mapping[str, str]) -> Iterator[Check]:
    """Yield a check for each query by its name, with the text that the note's query of this name returns."""
    for name, query in queries.items():
        with check_named(name):
            found = _check(tx, name, query, notes.get(name))
        yield found


def _check(tx: Transaction, name: str, query: str, note_query: str | None) -> Check:
    row = tx.fetch_one(
        f"""WITH found (what) AS ({query}),
                 wrong (what) AS (SELECT what FROM found WHERE NOT EXISTS (
                     SELECT FROM ordermq.actions
                      WHERE action = '{ACKNOWLEDGE}' AND subject = '{name} ' || what))
            SELECT (SELECT count(*) FROM wrong),
                   ARRAY(SELECT what FROM wrong ORDER BY what LIMIT {MAX_OFFENDERS})"""  # noqa: S608 # constants
    )
    note = tx.fetch_one(note_query) if note_query else None
    return Check(name, row[0] if row else 0, tuple(row[1]) if row else (), note[0] if note else "")


@contextmanager
def check_named(name: str) -> Iterator[None]:
    """Name the check in a StoreError of the block, such as that it ran longer than a statement may."""
    try:
        yield
    except StoreError as exc:
        is_timeout = exc.sqlstate == _CANCELLED
        todo = "; to give it longer: ORDERMQ_DATABASE_STATEMENT_TIMEOUT_S=600" if is_timeout else ""
        raise type(exc)(f"check {name}: {exc}{todo}", exc.sqlstate) from exc

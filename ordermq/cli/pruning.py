"""``ordermq db prune``: delete old rows that are no longer needed."""

import sys
from collections.abc import Iterator

import click

from ordermq.cli.bulk import Pace
from ordermq.cli.operator import actor
from ordermq.cli.options import as_json, common, dry_run, duration, rate, text
from ordermq.cli.output import note, seconds, write_json, write_table
from ordermq.cli.program import load_program
from ordermq.cli.progress import counting
from ordermq.cli.run import EXIT_CODES
from ordermq.cli.runs import note_runs
from ordermq.store import Session, actions, migrate, retention
from ordermq.store.retention import Horizon, Table
from ordermq.store.runs import PRUNE


@click.command(
    epilog=f"""\b
Examples:
  ordermq db prune --dry-run
  ordermq db prune
  ordermq db prune --inbox-age 60d --dead-age 14d --rate 2000 --json
  ordermq db prune --gone old_queue --dry-run

{EXIT_CODES}"""
)
@click.option(
    "--inbox-age",
    type=duration,
    help="Delete inbox rows settled longer ago than this. Default: retention.inbox_s.",
)
@click.option(
    "--dead-age",
    type=duration,
    help="Delete dead letters closed longer ago than this. Default: retention.dead_letters_s.",
)
@click.option(
    "--gone",
    type=text,
    multiple=True,
    metavar="QUEUE",
    help="A queue that no longer exists; may be repeated.",
)
@click.option(
    "--batch",
    type=click.IntRange(1, 10_000),
    default=2000,
    show_default=True,
    help="Delete at most this many rows in a transaction.",
)
@click.option(
    "--reason",
    type=text,
    default="retention",
    show_default=True,
    help="Why you do this. It is recorded with your name and the time.",
)
@rate
@dry_run
@as_json
@common
def prune(
    *,
    inbox_age: float | None,
    dead_age: float | None,
    gone: tuple[str, ...],
    batch: int,
    reason: str,
    rate: float,
    dry_run: bool,
    as_json: bool,
    config_path: str | None,
) -> None:
    """Delete inbox rows of messages settled long ago, and dead letters closed long ago.

    Rows that may still be needed are kept: open dead letters, and the rows of a message that
    waits in the outbox, has a dead letter or was seen since. The rows of a queue that
    settled nothing in the younger half of the age are kept too, because old messages may
    still wait in it. Name the queue with --gone if it no longer exists.

    Does not ask for confirmation; made for a timer. Works in small transactions while
    everything runs: an interrupted command can be run again.

    JSON lines: one object {table, rows, outcome, before} for each table, and
    {queue, outcome} for each queue that was left alone.
    """
    ages = {"retention.inbox_s": inbox_age, "retention.dead_letters_s": dead_age}
    program = load_program(config_path, ages)
    session = program.session("ordermq db prune")
    migrate.check(session, program.migrations)
    with session.transaction() as tx:
        horizon = retention.horizon(tx, program.settings.retention, gone=gone)
    word = "would be deleted" if dry_run else "deleted"
    if dry_run:
        rows = {table: sum(_counted(session, table, horizon, batch)) for table in Table}
    else:
        rows = _pruned(session, horizon, batch=batch, pace=Pace(rate), reason=reason)
        note_runs(session, PRUNE)
    if as_json:
        for table, count in rows.items():
            write_json({"table": table, "rows": count, "outcome": word, "before": horizon.before(table)})
        for queue in horizon.idle:
            write_json({"queue": queue, "outcome": "left alone"})
        return
    write_table(
        ("table", word, "older than (UTC)"),
        [(table, count, seconds(horizon.before(table))) for table, count in rows.items()],
    )
    for queue in horizon.idle:
        note(f"left alone: queue {queue} settled nothing recently; add --gone {queue} if it no longer exists")


def _pruned(session: Session, horizon: Horizon, *, batch: int, pace: Pace, reason: str) -> dict[Table, int]:
    """Delete batch by batch; return the number of deleted rows of each table."""
    rows = dict.fromkeys(Table, 0)
    # Only a bar on a terminal needs the total.
    total = (
        sum(sum(_counted(session, table, horizon, batch)) for table in Table) if sys.stderr.isatty() else 0
    )
    with counting("db.prune", total) as step:
        for table in Table:
            for count in _deleted(session, table, horizon, batch=batch, pace=pace, reason=reason):
                rows[table] += count
                step(count)
    return rows


def _deleted(
    session: Session, table: Table, horizon: Horizon, *, batch: int, pace: Pace, reason: str
) -> Iterator[int]:
    """Delete old rows of ``table``; yield the number of rows of each committed batch."""
    after, is_recorded = retention.START, False
    while True:
        with session.transaction() as tx:
            done = retention.delete(tx, table, horizon, after=after, limit=pace.batch(batch))
            if done.rows and not is_recorded:
                # One action for each table and run: one for each batch would fill the table of actions.
                before = seconds(horizon.before(table))
                actions.record(tx, actor(), "db.prune", [f"table {table}"], f"{reason}: older than {before}")
        is_recorded = is_recorded or done.rows > 0
        yield done.rows
        if done.after is None:
            return
        after = done.after
        pace.wait(done.rows)


def _counted(session: Session, table: Table, horizon: Horizon, batch: int) -> Iterator[int]:
    after = retention.START
    while True:
        with session.transaction() as tx:
            found = retention.count(tx, table, horizon, after=after, limit=batch)
        yield found.rows
        if found.after is None:
            return
        after = found.after

"""``ordermq trace``: what happened to one correlation id, and what it waits for."""

import click

from ordermq.cli.options import as_json, common
from ordermq.cli.output import note, seconds, shortened, write, write_json, write_table
from ordermq.cli.program import load_program
from ordermq.cli.run import EXIT_CODES
from ordermq.cli.status.snapshot import looking
from ordermq.cli.trace.report import TraceReport, collect, report_on

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400


@click.command(
    "trace",
    epilog=f"""\b
Examples:
  ordermq trace A-1001
  ordermq trace A-1001 --json | jq -r .waits_for
  ordermq trace A-1001 --json | jq '.entries[] | select(.after_s > 60)'

{EXIT_CODES}""",
)
@click.argument("correlation_id", metavar="ORDER_ID")
@as_json
@common
def command(correlation_id: str, as_json: bool, config_path: str | None) -> None:
    """Tell what happened to ORDER_ID, which may be any correlation id, and what it waits for.

    One timeline of events, messages, dead letters, payments, notifications, pauses of its
    queues and what people did, with the time between. Of a message the last outcome is kept:
    the reasons of earlier attempts are in the log. Where a queue's numbers come from the
    management API they are up to 5 seconds old. Personal data is not shown. Exit 1 if
    nothing is known of it.

    JSON: one object {correlation_id, subjects, entries, waiting, waits_for, notes}; an entry is
    {at, after_s, kind, text} and what belongs to its kind; waiting has {queue, message_id,
    what, place, waits_for} for each message that is not done.
    """
    program = load_program(config_path)
    with program.session("ordermq trace").transaction() as tx:
        known = collect(program, tx, correlation_id)
    if known.is_empty:
        note(f"nothing is known of {correlation_id[:80]!r}")
        raise click.exceptions.Exit(1)
    with looking(program) as looker:
        report = report_on(correlation_id, known, looker.look())
    if as_json:
        write_json(report.document())
    else:
        _print(report)


def _print(report: TraceReport) -> None:
    for subject in report.subjects:
        write(subject)
    write_table(
        ("at (UTC)", "after", "", ""),
        [
            (seconds(each.at), time_between(after_s), each.kind, shortened(each.text, 120))
            for each, after_s in report.entries
        ],
    )
    write(shortened(report.waits_for, 2000))
    for each in report.notes:
        write(f"not known  {each}")


def time_between(after_s: float) -> str:
    """Return a time that a person compares: ``0.012s``, ``3m07s``, ``5h03m``, ``2d04h``."""
    whole = int(after_s)
    if after_s < _MINUTE_S:
        return f"{after_s:.3f}s"
    if after_s < _HOUR_S:
        return f"{whole // _MINUTE_S}m{whole % _MINUTE_S:02}s"
    if after_s < _DAY_S:
        return f"{whole // _HOUR_S}h{whole % _HOUR_S // _MINUTE_S:02}m"
    return f"{whole // _DAY_S}d{whole % _DAY_S // _HOUR_S:02}h"

"""``ordermq events forward``: the process that forwards the events of the history to Kafka."""

from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any

import click

from ordermq.cli.options import common, dry_run
from ordermq.cli.output import note, write, write_json
from ordermq.cli.processes.process import serving
from ordermq.cli.program import Program, load_program
from ordermq.cli.run import EXIT_CODES
from ordermq.errors import UsageError
from ordermq.lifecycle import hold_signals
from ordermq.store.feed_lag import waiting_records
from ordermq.store.feeds import FeedPlace, read_feed
from ordermq.store.positions import count_positions
from ordermq.topology.names import EVENTS, queue_name

NAME = "ordermq-forward"


@click.command(
    epilog=f"""\b
Examples:
  ordermq events forward --to kafka --dry-run
  ordermq events forward --to kafka
  ordermq events forward --to kafka --once
  ordermq events forward --to kafka --from 120000 --once

\b
SIGTERM or SIGINT: wait for the acknowledgements of what was sent, exit 0. A second signal
ends the process at once. What was not acknowledged is sent again later, under the same ids.

{EXIT_CODES}"""
)
@click.option("--to", "target", required=True, type=click.Choice(["kafka"]), help="Which system.")
@click.option(
    "--from", "start", metavar="POSITION",
    help="Begin at this position, 'first', or 'last' (the end), and not where the last process came to."
    " Events from there on are sent again.",
)  # fmt: skip
@click.option("--once", is_flag=True, help="End at the end of the history, or at the first error.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with --dry-run or --once.")
@click.option("--log-format", type=click.Choice(["json", "text"]), help="Format of the log lines on stderr.")
@dry_run
@common
def forward(
    *, target: str, start: str | None, once: bool, as_json: bool, log_format: str | None, dry_run: bool,
    config_path: str | None,
) -> None:  # fmt: skip
    """Forward the events of the history to a topic of Kafka until a signal stops the process.

    Each is a CloudEvent whose key is its order. The section [kafka] of the settings names brokers and
    topic. How far it came is in the database, so it goes on where it ended. Any number of processes may
    run: one works, the others stand by. With --once or --from none stands by: where another one works, it
    ends with exit code 75 after 10 seconds. See docs/kafka.md.

    JSON with --dry-run: {target, from, end, records}; with --once: {target, sent, refused}.
    """
    if as_json and not (dry_run or once):
        raise click.UsageError("--json needs --dry-run or --once")
    hold_signals()
    program = load_program(config_path, {"observe.log_format": log_format})
    database = program.settings.database
    topic = program.settings.kafka.topic or queue_name(program.settings.topology.prefix, EVENTS)
    if dry_run:
        _say(_planned(program, f"{target}:{topic}", start), as_json=as_json)
        return
    with serving(program, NAME) as process:
        position = None if start is None else _position(program, start)
        producing, forwarding = (resolve_name(f"ordermq.kafka.{each}") for each in ("producing", "forwarder"))
        forwarder = forwarding.Forwarder(
            producing.EventProducer(
                program.settings.kafka, topic, within_s=database.idle_in_transaction_s / 2
            ),
            program.outward,
            database,
            program.settings.kafka,
            health=process.health,
            start=position,
            once=once,
        )
        process.serve(forwarder)
    if as_json:
        write_json({"target": forwarder.role.feed, "sent": forwarder.sent, "refused": forwarder.refused})
    elif once:
        write(f"{forwarder.role.feed}: {forwarder.sent} events sent, {forwarder.refused} refused")


@dataclass(frozen=True)
class _Plan:
    target: str
    begin: int
    end: int
    records: dict[str, int]
    events: frozenset[str]


def _position(program: Program, start: str) -> int:
    """Return the position that ``--from`` names. Raises UsageError if there is none."""
    if start == "first":
        return 0
    with program.session(NAME).transaction() as tx:
        end = count_positions(tx)
    if start == "last":
        return end
    if not (start.isascii() and start.isdigit() and int(start) <= end):
        raise UsageError(f"--from {start!r}: write a position from 0 to {end}, first or last")
    return int(start)


def _planned(program: Program, target: str, start: str | None) -> _Plan:
    position = None if start is None else _position(program, start)
    with program.session(NAME).transaction() as tx:
        begin = (read_feed(tx, target) or FeedPlace()).next_position if position is None else position
        end = count_positions(tx)
        records = waiting_records(tx, begin, end)
    return _Plan(target, begin, end, records, frozenset(program.outward.names))


def _say(plan: _Plan, *, as_json: bool) -> None:
    if as_json:
        found: dict[str, Any] = {"target": plan.target, "from": plan.begin, "end": plan.end}
        write_json({**found, "records": plan.records})
        return
    write(f"{plan.target} has everything before position {plan.begin}; the history ends before {plan.end}")
    for source, count in plan.records.items():
        what = "would be forwarded" if source in plan.events else "are no events, and stay inside"
        write(f"  {count} records of {source} {what}")
    note("nothing was sent, and Kafka was not asked")

"""``ordermq pause``: all consumers of a queue begin nothing more, until ``ordermq resume``."""

from typing import Any

import click

from ordermq.cli.bulk import commit
from ordermq.cli.operator import actor
from ordermq.cli.options import as_json, common, dry_run, reason
from ordermq.cli.output import seconds, write, write_json
from ordermq.cli.program import Program, load_program
from ordermq.cli.run import EXIT_CODES
from ordermq.store import StoreTransaction, actions, pauses
from ordermq.store.pauses import QueuePause
from ordermq.topology.names import DEAD

queue = click.argument("queue", metavar="QUEUE")


@click.command(
    "pause",
    epilog=f"""\b
Examples:
  ordermq pause payment --reason "the payment service is being moved" --dry-run
  ordermq pause payment --reason "the payment service is being moved"
  ordermq resume payment --reason "it is back"

{EXIT_CODES}""",
)
@queue
@reason
@dry_run
@as_json
@common
def command(*, queue: str, reason: str, dry_run: bool, as_json: bool, config_path: str | None) -> None:
    """Have all consumers of QUEUE begin nothing more, within 2 seconds.

    What runs is finished. Messages wait, and the pause counts neither as an attempt nor as
    part of their age. It lasts until 'ordermq resume', whatever is restarted meanwhile. A
    queue that is paused already stays as it is.

    JSON: {queue, outcome, paused_at, paused_by, pause_reason}.
    """
    program, by = load_program(config_path), actor()
    check_queue(program, queue)

    def work(tx: StoreTransaction) -> tuple[QueuePause | None, QueuePause | None]:
        made = pauses.pause(tx, queue, by=by, reason=reason)
        if made is not None:
            actions.record(tx, by, "queue.pause", [subject(queue)], reason)
            return made, None
        return None, next((each for each in pauses.paused_now(tx) if each.queue == queue), None)

    made, before = commit(program.session("ordermq pause"), work, dry_run=dry_run)
    outcome = ("would be paused" if dry_run else "paused") if made else "paused before"
    if as_json:
        write_json(document(queue, outcome, made or before))
    elif before:
        since = f"{seconds(before.paused_at)} UTC by {before.paused_by}"
        write(f"{outcome}: {queue}, since {since}: {before.pause_reason}")
    else:
        write(f"{outcome}: {queue}; to end it: ordermq resume {queue}")


def check_queue(program: Program, queue: str) -> None:
    """Raise click.UsageError if no consumer can be of ``queue``."""
    queues = sorted({*program.registry.queues, *program.settings.topology.queues, DEAD})
    if queue not in queues:
        raise click.UsageError(f"no queue {queue!r}; the queues are: {', '.join(queues)}")


def subject(queue: str) -> str:
    """Return the name of a queue in the record of actions."""
    return f"queue {queue}"


def document(queue: str, outcome: str, paused: QueuePause | None) -> dict[str, Any]:
    """Return what ``--json`` prints of a pause that was made or ended."""
    fields = ("paused_at", "paused_by", "pause_reason")
    return {"queue": queue, "outcome": outcome} | {name: getattr(paused, name, None) for name in fields}

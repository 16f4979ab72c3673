"""``ordermq resume``: the consumers of a queue that was paused go on."""

import click

from ordermq.cli.bulk import commit
from ordermq.cli.operator import actor
from ordermq.cli.options import as_json, common, dry_run, reason
from ordermq.cli.output import seconds, write, write_json
from ordermq.cli.pause import check_queue, document, queue, subject
from ordermq.cli.program import load_program
from ordermq.cli.run import EXIT_CODES
from ordermq.store import StoreTransaction, actions, pauses
from ordermq.store.pauses import QueuePause


@click.command(
    "resume",
    epilog=f"""\b
Examples:
  ordermq resume payment --reason "the payment service is back"
  ordermq resume payment --reason "the payment service is back" --json

{EXIT_CODES}""",
)
@queue
@reason
@dry_run
@as_json
@common
def command(*, queue: str, reason: str, dry_run: bool, as_json: bool, config_path: str | None) -> None:
    """Have the consumers of a paused QUEUE go on, within 2 seconds.

    A queue that is not paused stays as it is. To send the steps of orders again, see
    'ordermq-publish replay'.

    JSON: {queue, outcome, paused_at, paused_by, pause_reason}.
    """
    program, by = load_program(config_path), actor()
    check_queue(program, queue)

    def work(tx: StoreTransaction) -> QueuePause | None:
        ended = pauses.resume(tx, queue, by=by, reason=reason)
        if ended is not None:
            actions.record(tx, by, "queue.resume", [subject(queue)], reason)
        return ended

    ended = commit(program.session("ordermq resume"), work, dry_run=dry_run)
    outcome = ("would be resumed" if dry_run else "resumed") if ended else "not paused"
    if as_json:
        write_json(document(queue, outcome, ended))
    elif ended:
        write(f"{outcome}: {queue}, paused since {seconds(ended.paused_at)} UTC by {ended.paused_by}")
    else:
        write(f"{outcome}: {queue}")

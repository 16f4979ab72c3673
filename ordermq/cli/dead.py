"""``ordermq dead``: messages that were given up, and sending them once more."""

import os
import pwd

import click

from ordermq.cli.options import as_json, common, dry_run, limit
from ordermq.cli.output import seconds, shortened, write, write_json, write_table
from ordermq.cli.program import Program, load_program
from ordermq.cli.run import EXIT_CODES
from ordermq.errors import DeadLetterNotFound
from ordermq.store import Transaction, dead_letters, outbox
from ordermq.store.dead_letters import DeadLetter


@click.group("dead", epilog=EXIT_CODES)
def command() -> None:
    """Look at dead letters and replay them."""


@command.command(
    "list",
    epilog=f"""\b
Examples:
  ordermq dead list
  ordermq dead list --queue payment --json | jq -r .reason | sort | uniq -c

{EXIT_CODES}""",
)
@click.option("--queue", help="Only those of this queue.")
@click.option("--order", "order_id", help="Only those of this order.")
@click.option("--replayed", is_flag=True, help="Also those that were replayed.")
@limit
@as_json
@common
def list_(
    *,
    queue: str | None,
    order_id: str | None,
    replayed: bool,
    limit: int,
    as_json: bool,
    config_path: str | None,
) -> None:
    """List dead letters, newest first.

    JSON lines: one object a dead letter, body included.
    """
    with load_program(config_path).session("ordermq dead").transaction() as tx:
        letters = dead_letters.select(
            tx, queue=queue, correlation_id=order_id, replayed=replayed, limit=limit
        )
    if as_json:
        for each in letters:
            write_json(each._asdict())
        return
    write_table(
        ("id", "queue", "order", "died (UTC)", "reason"),
        [
            (
                each.dead_letter_id,
                each.queue,
                shortened(each.correlation_id, 64),
                seconds(each.died_at),
                shortened(each.reason, 60),
            )
            for each in letters
        ],
    )


@command.command(
    epilog=f"""\b
Examples:
  ordermq dead show 17
  ordermq dead show 17 --json | jq .body

{EXIT_CODES}"""
)
@click.argument("dead_letter_id", type=int, metavar="ID")
@as_json
@common
def show(dead_letter_id: int, as_json: bool, config_path: str | None) -> None:
    """Show one dead letter, body included; exit 1 if there is no such."""
    with load_program(config_path).session("ordermq dead").transaction() as tx:
        letter = _get(tx, dead_letter_id)
    if as_json:
        write_json(letter._asdict())
        return
    for name, value in letter._asdict().items():
        if value is not None and name != "body":
            write(f"{name:16}{shortened(str(value), 500)}")
    write(f"{'body':16}{shortened(letter.body.decode('utf-8', 'backslashreplace'), 2000)}")


@command.command(
    epilog=f"""\b
Examples:
  ordermq dead replay 17 --reason "gateway is back" --dry-run
  ordermq dead replay 17 18 19 --reason "gateway is back"

{EXIT_CODES}"""
)
@click.argument("dead_letter_ids", type=int, nargs=-1, required=True, metavar="ID...")
@click.option("--reason", required=True, help="Why; kept with the dead letter.")
@dry_run
@common
def replay(dead_letter_ids: tuple[int, ...], reason: str, dry_run: bool, config_path: str | None) -> None:
    """Send dead letters once more, each under its own message_id to the queue it died in.

    All in one transaction; the relay publishes them. One that was replayed already is
    left alone. What follows if it dies again is a dead letter of its own.
    """
    if not reason.strip():
        raise click.UsageError("--reason is empty")
    program = load_program(config_path)
    session = program.session("ordermq dead")
    with session.transaction() as tx:
        letters = [_get(tx, each) for each in dict.fromkeys(dead_letter_ids)]
        done = [_replay(tx, program, each, reason.strip(), dry_run=dry_run) for each in letters]
    if not dry_run:
        outbox.wake_relay(session)
    for letter, word in zip(letters, done, strict=True):
        write(f"{word} {letter.dead_letter_id}: {letter.type} to {letter.queue}")


def _replay(tx: Transaction, program: Program, letter: DeadLetter, reason: str, *, dry_run: bool) -> str:
    program.registry.of_queue(letter.queue)
    if letter.replayed_at is not None:
        return "replayed before:"
    if dry_run:
        return "would replay"
    is_sent = dead_letters.replay(tx, letter, by=_user(), reason=reason)
    return "replayed" if is_sent else "replayed before:"


def _get(tx: Transaction, dead_letter_id: int) -> DeadLetter:
    letter = dead_letters.get(tx, dead_letter_id)
    if letter is None:
        raise DeadLetterNotFound(f"no dead letter {dead_letter_id}; see: ordermq dead list --replayed")
    return letter


def _user() -> str:
    """Return who runs this process, as the machine knows them."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"

"""``ordermq dead``: messages that were given up."""

from dataclasses import asdict

import click

from ordermq.cli.dead.deciding import discard, replay, subject
from ordermq.cli.dead.editing import edit
from ordermq.cli.dead.filters import closed, filters
from ordermq.cli.dead.redirecting import redirect
from ordermq.cli.operator import actor
from ordermq.cli.options import as_json, common, limit
from ordermq.cli.output import at_most, seconds, shortened, write, write_json, write_table
from ordermq.cli.program import load_program
from ordermq.cli.run import EXIT_CODES
from ordermq.errors import DeadLetterNotFound
from ordermq.store import actions, dead_letters
from ordermq.store.dead_letters import Filter


@click.group("dead", epilog=EXIT_CODES)
def command() -> None:
    """Look at dead letters; replay, redirect, edit or discard them."""


command.add_command(replay)
command.add_command(discard)
command.add_command(redirect)
command.add_command(edit)


@command.command(
    "list",
    epilog=f"""\b
Examples:
  ordermq dead list
  ordermq dead list --queue payment --error timeout --newer-than 2h
  ordermq dead list --correlation-id A-1001 --closed --json | jq .reason

{EXIT_CODES}""",
)
@filters
@closed
@limit
@as_json
@common
def list_(*, matching: Filter, limit: int, as_json: bool, config_path: str | None) -> None:
    """List dead letters, newest first.

    JSON lines: one object for each dead letter, without its body.
    """
    with load_program(config_path).session("ordermq dead").transaction() as tx:
        letters = at_most(limit, dead_letters.heads(tx, matching, limit=limit + 1))
    if as_json:
        for each in letters:
            write_json({**asdict(each), "body": None})
        return
    write_table(
        ("id", "queue", "correlation", "died (UTC)", "reason"),
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
  ordermq dead group
  ordermq dead group --newer-than 1h --json | jq -r .fingerprint

{EXIT_CODES}"""
)
@filters
@closed
@limit
@as_json
@common
def group(*, matching: Filter, limit: int, as_json: bool, config_path: str | None) -> None:
    """Count dead letters by cause, the most frequent first.

    A fingerprint stands for queue, type and reason, without the parts of the reason that
    differ from message to message. JSON lines: one object {count, first_at, last_at, queue,
    type, fingerprint, reason} each, with the reason of the newest one.
    """
    with load_program(config_path).session("ordermq dead").transaction() as tx:
        groups = at_most(limit, dead_letters.group(tx, matching, limit=limit + 1))
    if as_json:
        for each in groups:
            write_json(asdict(each))
        return
    write_table(
        ("count", "first (UTC)", "last (UTC)", "queue", "fingerprint", "reason"),
        [
            (
                each.count,
                seconds(each.first_at),
                seconds(each.last_at),
                each.queue,
                each.fingerprint,
                shortened(each.reason, 60),
            )
            for each in groups
        ],
    )


@command.command(
    epilog=f"""\b
Examples:
  ordermq dead show 17
  ordermq dead show 17 --show-body --reason "ticket 4711" --json | jq .body

{EXIT_CODES}"""
)
@click.argument("dead_letter_id", type=int, metavar="ID")
@click.option("--show-body", is_flag=True, help="Show the body too. Each look is recorded.")
@click.option("--reason", default="", help="Why you look at the body; it is recorded.")
@as_json
@common
def show(
    *, dead_letter_id: int, show_body: bool, reason: str, as_json: bool, config_path: str | None
) -> None:
    """Show one dead letter; exit 1 if there is none with this number.

    The body may hold personal data, so it is shown only with --show-body, to who may read it
    (the role operator-write, see 'ordermq db grants').
    """
    with load_program(config_path).session("ordermq dead").transaction() as tx:
        head = dead_letters.head(tx, dead_letter_id)
        letter = dead_letters.get(tx, dead_letter_id) if show_body else None
        if head is None:
            raise DeadLetterNotFound(f"no dead letter {dead_letter_id}; see: ordermq dead list --closed")
        if letter is not None:
            actions.record(tx, actor(), "dead.show_body", [subject(letter)], reason)
    document = asdict(head)
    if as_json:
        write_json({**document, "body": letter.body if letter else None})
        return
    for name, value in document.items():
        if value is not None:
            write(f"{name:16}{shortened(str(value), 500)}")
    if letter is not None:
        write(f"{'body':16}{shortened(letter.body.decode('utf-8', 'backslashreplace'), 2000)}")

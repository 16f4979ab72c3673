"""``ordermq dead redirect``: dead letters sent to another queue than the one they died in."""

from collections.abc import Sequence
from typing import Any

import click

from ordermq.cli.dead.deciding import Decision, decide, decision_options, outcome_of_closed
from ordermq.cli.operator import actor
from ordermq.cli.options import trust_unsigned
from ordermq.cli.program import Program, load_program
from ordermq.cli.run import EXIT_CODES
from ordermq.errors import BadInput, ConfigError, MessageError
from ordermq.message.payload import decode
from ordermq.store import StoreTransaction, dead_letters
from ordermq.store.dead_letters import DeadLetter, Filter


@click.command(
    epilog=f"""\b
Examples:
  ordermq dead redirect 17 18 --to gifts --reason "that handler has moved" --dry-run
  ordermq dead redirect 17 18 --to gifts --reason "that handler has moved"

{EXIT_CODES}"""
)
@click.argument("dead_letter_ids", type=int, nargs=-1, required=True, metavar="ID...")
@click.option("--to", "queue", required=True, metavar="QUEUE", help="Queue whose handler takes them.")
@trust_unsigned
@decision_options
def redirect(
    *,
    dead_letter_ids: tuple[int, ...],
    queue: str,
    reason: str,
    trust_unsigned: bool,
    config_path: str | None,
    **scope: Any,
) -> None:
    """Send dead letters to another queue, each under its own message_id.

    The queue must have a handler for the type of the message, and the body must be valid for
    it. Attempts begin at 1. Exit 65 if one is refused.

    JSON lines: one object {dead_letter_id, queue, message_id, correlation_id, outcome} each.
    """
    program, by = load_program(config_path), actor()

    def make(tx: StoreTransaction, letters: Sequence[DeadLetter]) -> list[str]:
        return [
            _redirect(tx, program, each, queue, by=by, reason=reason, trusts_unsigned=trust_unsigned)
            for each in letters
        ]

    decide(
        program, Decision("dead.redirect", "redirected", by, f"to {queue}: {reason}", make),
        matching=Filter(), dead_letter_ids=dead_letter_ids, every=False, most=None, rate=0.0,
        yes=True, **scope,
    )  # fmt: skip


def _redirect(
    tx: StoreTransaction,
    program: Program,
    letter: DeadLetter,
    queue: str,
    *,
    by: str,
    reason: str,
    trusts_unsigned: bool,
) -> str:
    if not letter.is_open:
        return outcome_of_closed(letter)
    try:
        types = {each.type: each for each in program.registry.of_queue(queue)}
        if letter.type not in types:
            return f"refused: queue {queue} takes {', '.join(sorted(types))}, not {letter.type}"
        decode(letter.body, types[letter.type].message)
        is_sent = dead_letters.replay(
            tx, letter, by=by, reason=f"to {queue}: {reason}", queue=queue, trusts_unsigned=trusts_unsigned
        )
    except (BadInput, ConfigError, MessageError) as exc:
        return f"refused: {exc}"
    return "redirected" if is_sent else "replayed before"

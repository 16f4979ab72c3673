"""``ordermq dead edit``: a dead letter's body is mended and sent as a new message that names the old."""

import difflib
import json
import sys
from typing import Any

import click

from ordermq.cli.bulk import commit
from ordermq.cli.dead.deciding import outcome_of_closed, subject
from ordermq.cli.operator import actor, ask
from ordermq.cli.options import as_json, common, dry_run, reason, trust_unsigned, yes
from ordermq.cli.output import write, write_json
from ordermq.cli.program import Program, load_program
from ordermq.cli.run import EXIT_CODES
from ordermq.errors import BadInput, DeadLetterNotFound, MessageError
from ordermq.message.payload import decode, encode
from ordermq.store import Session, StoreTransaction, actions, dead_letters
from ordermq.store.dead_letters import DeadLetter
from ordermq.task import Handler


@click.command(
    epilog=f"""\b
Examples:
  ordermq dead edit 17 --reason "the amount had a comma"
  ordermq dead edit 17 --body mended.json --yes --reason "the amount had a comma"
  ordermq dead edit 17 --body - --dry-run --reason "ticket 4711" < mended.json

{EXIT_CODES}"""
)
@click.argument("dead_letter_id", type=int, metavar="ID")
@click.option(
    "--body", type=click.File("rb"), metavar="FILE|-", help="Read the new body here, not from $EDITOR."
)
@reason
@yes
@trust_unsigned
@dry_run
@as_json
@common
def edit(
    *, dead_letter_id: int, body: Any, reason: str, yes: bool, dry_run: bool, as_json: bool,
    trust_unsigned: bool, config_path: str | None,
) -> None:  # fmt: skip
    """Mend the body of a dead letter and send it as a new message that names the old.

    Opens the body in $EDITOR, checks the result against the message type, shows the
    difference and asks. The new message has an id of its own, which ends in the number of
    the dead letter, and begins at attempt 1. The dead letter counts as replayed. The look at
    the body is recorded. Exit 65 if the new body is not valid, or if somebody else has replayed or
    discarded the letter before you agreed.

    JSON: {dead_letter_id, outcome, queue, message_id}.
    """
    program, by = load_program(config_path), actor()
    session = program.session("ordermq dead")
    letter, handler = _open(program, session, dead_letter_id, by=by, reason=reason)
    before = _readable(letter.body)
    after = body.read().decode("utf-8", "replace") if body is not None else _edited(before, handler)
    if after is None or _readable(after.encode()) == before:
        outcome, new_id = "not changed", ""
    else:
        payload = encode(_checked(after, handler))
        if not as_json:
            _show_difference(before, _readable(payload))
        if not dry_run:
            ask(f"Dead letter {dead_letter_id} will be sent as a new message. Go on?", yes=yes)

        def send(tx: StoreTransaction) -> str:
            sent = dead_letters.replay_edited(
                tx, letter, payload, handler.message.VERSION,
                correlation_id=str(getattr(_checked(after, handler), handler.key)) if handler.key else None,
                by=by, reason=reason, trusts_unsigned=trust_unsigned,
            )  # fmt: skip
            if sent is None:
                raise BadInput(
                    f"dead letter {dead_letter_id} was replayed or discarded while you looked at it: nothing"
                    f" was sent; see 'ordermq dead show {dead_letter_id}'"
                )
            actions.record(tx, by, "dead.edit", [subject(letter)], f"as message {sent}: {reason}")
            return sent

        new_id = commit(session, send, dry_run=dry_run)
        outcome = "would be sent" if dry_run else "sent"
    if as_json:
        named = {"dead_letter_id": dead_letter_id, "outcome": outcome}
        write_json({**named, "queue": letter.queue, "message_id": new_id or None})
    else:
        write(f"{outcome}: dead letter {dead_letter_id}" + (f" as message {new_id}" if new_id else ""))


def _open(
    program: Program, session: Session, dead_letter_id: int, *, by: str, reason: str
) -> tuple[DeadLetter, Handler]:
    """Return the letter and the handler of its type, and record that its body was looked at."""
    with session.transaction() as tx:
        letter = dead_letters.get(tx, dead_letter_id)
        if letter is None:
            raise DeadLetterNotFound(f"no dead letter {dead_letter_id}; see: ordermq dead list --closed")
        if not letter.is_open:
            raise BadInput(f"dead letter {dead_letter_id} was {outcome_of_closed(letter)}")
        handlers = {each.type: each for each in program.registry.of_queue(letter.queue)}
        only = next(iter(handlers.values())) if len(handlers) == 1 else None
        handler = handlers.get(letter.type, only if not letter.type else None)
        if handler is None:
            raise BadInput(f"queue {letter.queue} takes {', '.join(sorted(handlers))}, not {letter.type!r}")
        actions.record(tx, by, "dead.show_body", [subject(letter)], reason)
    return letter, handler


def _readable(body: bytes) -> str:
    """Return JSON with one field a line; anything else as it is."""
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False) + "\n"
    except ValueError:
        return body.decode("utf-8", "backslashreplace")


def _edited(before: str, handler: Handler) -> str | None:
    """Return what the editor saved, None if it saved nothing. A person may mend what is not valid."""
    text: str | None = before
    while text is not None:
        text = click.edit(text, extension=".json")
        if text is None:
            return None
        try:
            _checked(text, handler)
        except BadInput as exc:
            if not sys.stdin.isatty() or not click.confirm(f"{exc}. Edit again?", default=True, err=True):
                raise
        else:
            return text
    return None


def _checked(text: str, handler: Handler) -> Any:
    """Return the payload in ``text``. Raises BadInput if the handler could not read it."""
    try:
        return decode(text.encode(), handler.message)
    except MessageError as exc:
        raise BadInput(f"the new body is not a {handler.type}: {exc}") from exc


def _show_difference(before: str, after: str) -> None:
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), "dead letter", "new message", lineterm=""
    )
    for line in lines:
        write(line)

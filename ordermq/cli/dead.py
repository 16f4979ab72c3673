"""``ordermq dead``: messages that were given up, and deciding about them."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import wraps
from typing import Any

import click

from ordermq.cli.operator import NotToBeDone, actor, ask
from ordermq.cli.options import DURATION, TEXT, as_json, common, dry_run, limit, rate, reason, yes
from ordermq.cli.output import seconds, shortened, write, write_json, write_table
from ordermq.cli.program import Program, load_program
from ordermq.cli.progress import Pace, counting
from ordermq.cli.run import EXIT_CODES
from ordermq.errors import BadInput, ConfigError, DeadLetterNotFound
from ordermq.store import Session, Transaction, actions, dead_letters, outbox
from ordermq.store.dead_letters import DeadLetter, Filter

BATCH = 100  # letters in one transaction: an interrupted bulk has lost little and can be run again


@dataclass(frozen=True)
class Decision:
    """What is decided about dead letters, by whom and why. ``make`` returns one word for each letter."""

    action: str
    word: str
    by: str
    reason: str
    make: Callable[[Transaction, Sequence[DeadLetter]], list[str]]


_FILTERS = (
    click.option("--queue", type=TEXT, help="Only those of this queue."),
    click.option("--error", type=TEXT, help="Only those whose reason contains this."),
    click.option("--fingerprint", type=TEXT, help="Only those that died of this cause ('dead group')."),
    click.option("--order", "correlation_id", type=TEXT, metavar="ID", help="Only those of this order."),
    click.option("--message-id", type=TEXT, help="Only those of this message."),
    click.option("--older-than", "older_than_s", type=DURATION, help="Only those that died before that."),
    click.option("--newer-than", "newer_than_s", type=DURATION, help="Only those that died since."),
)


def filters(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that choose dead letters; the command gets them as ``matching``."""

    @wraps(command)
    def filtered(**given: Any) -> None:
        names = (
            "queue",
            "error",
            "fingerprint",
            "correlation_id",
            "message_id",
            "older_than_s",
            "newer_than_s",
        )
        matching = Filter(**{name: given.pop(name) for name in names}, closed=given.pop("closed", False))
        command(matching=matching, **given)

    for option in reversed(_FILTERS):
        filtered = option(filtered)
    return filtered


closed = click.option("--closed", is_flag=True, help="Also those that were replayed or discarded.")


@click.group("dead", epilog=EXIT_CODES)
def command() -> None:
    """Look at dead letters; replay or discard them."""


@command.command(
    "list",
    epilog=f"""\b
Examples:
  ordermq dead list
  ordermq dead list --queue payment --error timeout --newer-than 2h
  ordermq dead list --order A-1001 --closed --json | jq .reason

{EXIT_CODES}""",
)
@filters
@closed
@limit
@as_json
@common
def list_(*, matching: Filter, limit: int, as_json: bool, config_path: str | None) -> None:
    """List dead letters, newest first.

    JSON lines: one object a dead letter, without its body.
    """
    with load_program(config_path).session("ordermq dead").transaction() as tx:
        letters = dead_letters.select(tx, matching, limit=limit)
    if as_json:
        for each in letters:
            write_json(_without_body(each))
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
    """Count dead letters by what they died of, the most frequent first.

    A fingerprint stands for queue, type and reason without what differs from message
    to message. JSON lines: one object {count, first_at, last_at, queue, type,
    fingerprint, reason} each; the reason is the newest one's.
    """
    with load_program(config_path).session("ordermq dead").transaction() as tx:
        groups = dead_letters.group(tx, matching, limit=limit)
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
@click.option("--show-body", is_flag=True, help="Also its body; that you looked is recorded.")
@click.option("--reason", default="", help="Why you look at the body.")
@as_json
@common
def show(
    *, dead_letter_id: int, show_body: bool, reason: str, as_json: bool, config_path: str | None
) -> None:
    """Show one dead letter; exit 1 if there is no such.

    The body may be personal: it is shown only with --show-body.
    """
    with load_program(config_path).session("ordermq dead").transaction() as tx:
        letter = dead_letters.get(tx, dead_letter_id)
        if letter is None:
            raise DeadLetterNotFound(f"no dead letter {dead_letter_id}; see: ordermq dead list --closed")
        if show_body:
            actions.record(tx, actor(), "dead.show_body", [_subject(letter)], reason)
    document = _without_body(letter)
    if as_json:
        write_json({**document, "body": letter.body if show_body else None})
        return
    for name, value in document.items():
        if value is not None:
            write(f"{name:16}{shortened(str(value), 500)}")
    if show_body:
        write(f"{'body':16}{shortened(letter.body.decode('utf-8', 'backslashreplace'), 2000)}")


def decides(command: Callable[..., None]) -> Callable[..., None]:
    """Add what the commands have in common that decide about dead letters."""
    for option in (
        common, as_json, dry_run, yes, rate, reason,
        click.option("--limit", "most", type=click.IntRange(1), help="Decide about so many at most."),
        click.option("--all", "every", is_flag=True, help="All that are open, if no filter is given."),
        filters,
        click.argument("dead_letter_ids", type=int, nargs=-1, metavar="[ID]..."),
    ):  # fmt: skip
        command = option(command)
    return command


@command.command(
    epilog=f"""\b
Examples:
  ordermq dead replay 17 18 --reason "gateway is back" --dry-run
  ordermq dead replay --fingerprint 3f1c22ab90de --rate 50 --reason "mended"
  ordermq dead replay --queue payment --newer-than 2h --reason "mended" --yes

{EXIT_CODES}"""
)
@decides
def replay(*, reason: str, config_path: str | None, **scope: Any) -> None:
    """Send dead letters once more, each under its own message_id to the queue it died in.

    Give numbers or filters. The relay publishes them; attempts begin anew, and what
    dies again is a dead letter of its own. One that was replayed or discarded is left
    alone. Works in small transactions: an interrupted one can be run again. Exit 65 if
    one can never be handled.

    JSON lines: one object {dead_letter_id, queue, message_id, correlation_id, outcome} each.
    """
    program, by = load_program(config_path), actor()

    def make(tx: Transaction, letters: Sequence[DeadLetter]) -> list[str]:
        return [_replay(tx, program, each, by=by, reason=reason) for each in letters]

    _decide(program, Decision("dead.replay", "replayed", by, reason, make), **scope)


@command.command(
    epilog=f"""\b
Examples:
  ordermq dead discard 17 --reason "a test message"
  ordermq dead discard --fingerprint 3f1c22ab90de --reason "a test" --dry-run

{EXIT_CODES}"""
)
@decides
def discard(*, reason: str, config_path: str | None, **scope: Any) -> None:
    """Let dead letters rest: they are kept, but nobody is asked about them any more.

    Give numbers or filters. What waits for one of them, a step of an order, goes on
    waiting. Works in small transactions: an interrupted one can be run again.

    JSON lines: one object {dead_letter_id, queue, message_id, correlation_id, outcome} each.
    """
    program, by = load_program(config_path), actor()

    def make(tx: Transaction, letters: Sequence[DeadLetter]) -> list[str]:
        numbers = [each.dead_letter_id for each in letters]
        done = dead_letters.discard(tx, numbers, by=by, reason=reason)
        return ["discarded" if each.dead_letter_id in done else _closed(each) for each in letters]

    _decide(program, Decision("dead.discard", "discarded", by, reason, make), **scope)


def _decide(
    program: Program,
    decision: Decision,
    *,
    matching: Filter,
    dead_letter_ids: tuple[int, ...],
    every: bool,
    most: int | None,
    rate: float,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Decide about the chosen letters, and say what became of each, or how many of what."""
    chosen = _chosen(matching, dead_letter_ids, every=every)
    session = program.session("ordermq dead")
    with session.transaction() as tx:
        total, last = dead_letters.count(tx, chosen)
        if total < len(set(dead_letter_ids)):
            known = {each.dead_letter_id for each in dead_letters.select(tx, chosen, limit=total)}
            missing = min(set(dead_letter_ids) - known)
            raise DeadLetterNotFound(f"no dead letter {missing}; see: ordermq dead list --closed")
    total = min(total, most or total)
    if total and not dry_run and not dead_letter_ids:
        ask(f"{total} dead letters will be {decision.word}. Go on?", yes=yes)
    outcomes: Counter[str] = Counter()
    with counting(decision.action, total) as step:
        for letter, outcome in _made(
            session, decision, chosen, last=last, left=total, pace=Pace(rate), dry_run=dry_run
        ):
            step(1)
            outcomes[outcome.partition(":")[0]] += 1
            if as_json:
                write_json(_told(letter, outcome))
            elif dead_letter_ids or outcome.startswith("refused"):
                write(f"{outcome} {letter.dead_letter_id}: {letter.type} to {letter.queue}")
    if not as_json and not dead_letter_ids:
        write(", ".join(f"{count} {word}" for word, count in sorted(outcomes.items())) or "none")
    if refused := outcomes["refused"]:
        raise BadInput(f"{refused} dead letters can never be handled: send what they meant as new messages")


def _made(
    session: Session, decision: Decision, chosen: Filter, *, last: int, left: int, pace: Pace, dry_run: bool
) -> Iterator[tuple[DeadLetter, str]]:
    """Decide batch by batch, each in a transaction of its own; yield what has committed."""
    after = 0
    while left > 0:
        letters: list[DeadLetter] = []
        outcomes: list[str] = []
        try:
            with session.transaction() as tx:
                limit = pace.batch(min(BATCH, left))
                letters = dead_letters.take(tx, chosen, after=after, last=last, limit=limit)
                outcomes = decision.make(tx, letters)
                told = list(zip(letters, outcomes, strict=True))
                changed = [_subject(each) for each, outcome in told if outcome == decision.word]
                actions.record(tx, decision.by, decision.action, changed, decision.reason)
                if dry_run:
                    raise NotToBeDone
        except NotToBeDone:
            told = [(each, f"would be {word}" if word == decision.word else word) for each, word in told]
        else:
            outbox.wake_relay(session)
        if not letters:
            return
        after, left = letters[-1].dead_letter_id, left - len(letters)
        yield from told
        pace.wait(len(letters))


def _chosen(matching: Filter, numbers: tuple[int, ...], *, every: bool) -> Filter:
    if bool(numbers) + (not matching.is_empty) + every != 1:
        raise click.UsageError("say which: numbers, or filters, or --all")
    return Filter(ids=numbers, closed=True) if numbers else matching


def _replay(tx: Transaction, program: Program, letter: DeadLetter, *, by: str, reason: str) -> str:
    if not letter.is_open:
        return _closed(letter)
    try:
        program.registry.of_queue(letter.queue)
        is_sent = dead_letters.replay(tx, letter, by=by, reason=reason)
    except (BadInput, ConfigError) as exc:
        return f"refused: {exc}"
    return "replayed" if is_sent else "replayed before"


def _closed(letter: DeadLetter) -> str:
    return "replayed before" if letter.replayed_at else "discarded before"


def _subject(letter: DeadLetter) -> str:
    return f"dead_letter {letter.dead_letter_id}"


def _told(letter: DeadLetter, outcome: str) -> dict[str, Any]:
    names = ("dead_letter_id", "queue", "message_id", "correlation_id")
    return {**{name: getattr(letter, name) for name in names}, "outcome": outcome}


def _without_body(letter: DeadLetter) -> dict[str, Any]:
    document = letter._asdict()
    return {**document, "body": None, "body_bytes": len(document["body"])}

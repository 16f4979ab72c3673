"""``ordermq dead replay`` and ``discard``: what a person decides about dead letters, one or many."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import click

from ordermq.cli.bulk import Pace, batches, commit
from ordermq.cli.dead.canary import Canary
from ordermq.cli.dead.filters import filters
from ordermq.cli.dead.forecasting import forecast_of
from ordermq.cli.operator import actor, ask
from ordermq.cli.options import as_json, common, dry_run, duration, rate, reason, trust_unsigned, yes
from ordermq.cli.output import note, write, write_json
from ordermq.cli.program import Program, load_program
from ordermq.cli.progress import counting
from ordermq.cli.run import EXIT_CODES
from ordermq.errors import BadInput, ConfigError, DeadLetterNotFound
from ordermq.store import Session, StoreTransaction, actions, dead_letters
from ordermq.store.dead_letters import DeadLetter, Filter

BATCH = 100  # dead letters in one transaction


@dataclass(frozen=True)
class Decision:
    """What is decided about dead letters, by whom and why. ``make`` returns an outcome for each of them.

    ``word`` is the outcome of one that was changed. ``sends``: messages are sent, so what they will do
    outside is said first.
    """

    action: str
    word: str
    by: str
    reason: str
    make: Callable[[StoreTransaction, Sequence[DeadLetter]], list[str]]
    sends: bool = False


Decided = tuple[DeadLetter, str]
"""A dead letter and its outcome: replayed, discarded, replayed before, discarded before, refused: why."""


def decision_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that every decision has."""
    for option in (common, as_json, dry_run, reason):
        command = option(command)
    return command


def decides(command: Callable[..., None]) -> Callable[..., None]:
    """Add the arguments and options that replay and discard have in common."""
    command = decision_options(command)
    for option in (
        yes, rate,
        click.option("--limit", "most", type=click.IntRange(1), help="Decide about at most this many."),
        click.option("--all", "every", is_flag=True, help="Decide about all that are open."),
        filters,
        click.argument("dead_letter_ids", type=int, nargs=-1, metavar="[ID]..."),
    ):  # fmt: skip
        command = option(command)
    return command


@click.command(
    epilog=f"""\b
Examples:
  ordermq dead replay 17 18 --reason "gateway is back" --dry-run
  ordermq dead replay --fingerprint 3f1c22ab90de --rate 50 --reason "mended"
  ordermq dead replay --fingerprint 3f1c22ab90de --canary --reason "mended" --yes
  ordermq dead replay --queue payment --newer-than 2h --reason "mended" --yes

{EXIT_CODES}"""
)
@decides
@click.option("--canary", is_flag=True, help="One first, then ten, then the rest, if none dies again.")
@click.option(
    "--canary-wait",
    type=duration,
    default="60s",
    show_default=True,
    help="Wait for each of the first two steps of --canary at most this long.",
)
@trust_unsigned
def replay(
    *,
    reason: str,
    config_path: str | None,
    canary: bool,
    canary_wait: float,
    trust_unsigned: bool,
    **scope: Any,
) -> None:
    """Send dead letters again, each under its own message_id to the queue where it died.

    Give numbers, filters or --all. First it says what the messages will do outside, if their
    module can tell. The relay publishes the messages; their attempts begin at 1, and a message
    that dies again is a new dead letter. Dead letters that were replayed or discarded before are
    left alone. Works in small transactions: an interrupted command can be run again. Exit 65 if
    one can never be handled.

    With --canary one is sent and its end awaited, then ten, then the rest. Nothing more is
    sent once one dies again (exit 1), or if the first are not handled in time (exit 75).

    JSON lines: one object {dead_letter_id, queue, message_id, correlation_id, outcome} each.
    """
    program, by = load_program(config_path), actor()

    def make(tx: StoreTransaction, letters: Sequence[DeadLetter]) -> list[str]:
        trusts = trust_unsigned
        return [_replay(tx, program, each, by=by, reason=reason, trusts_unsigned=trusts) for each in letters]

    watch = Canary(program.session("ordermq dead canary"), canary_wait) if canary else None
    decide(program, Decision("dead.replay", "replayed", by, reason, make, sends=True), canary=watch, **scope)


@click.command(
    epilog=f"""\b
Examples:
  ordermq dead discard 17 --reason "a test message"
  ordermq dead discard --fingerprint 3f1c22ab90de --reason "a test" --dry-run

{EXIT_CODES}"""
)
@decides
def discard(*, reason: str, config_path: str | None, **scope: Any) -> None:
    """Close dead letters without sending them again. They are kept, but are no longer open.

    Give numbers, filters or --all. What waits for one of these messages, such as a step of an
    order, goes on waiting. Works in small transactions: an interrupted command can be run
    again.

    JSON lines: one object {dead_letter_id, queue, message_id, correlation_id, outcome} each.
    """
    program, by = load_program(config_path), actor()

    def make(tx: StoreTransaction, letters: Sequence[DeadLetter]) -> list[str]:
        numbers = [each.dead_letter_id for each in letters]
        done = dead_letters.discard(tx, numbers, by=by, reason=reason)
        return ["discarded" if each.dead_letter_id in done else outcome_of_closed(each) for each in letters]

    decide(program, Decision("dead.discard", "discarded", by, reason, make), **scope)


def decide(
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
    canary: Canary | None = None,
) -> None:
    """Decide about the chosen dead letters; print the outcome of each, or how many had which outcome."""
    chosen = _chosen(matching, dead_letter_ids, every=every)
    session = program.session("ordermq dead")
    total, last = _count(session, chosen, dead_letter_ids)
    total = min(total, most or total)
    if decision.sends and (forecast := forecast_of(program, session, chosen, last=last, most=total)):
        note(forecast)
    if total and not dry_run and not dead_letter_ids:
        ask(f"{total} dead letters will be {decision.word}. Go on?", yes=yes)
    outcomes: Counter[str] = Counter()
    decided = _decided(
        session, decision, chosen, last=last, left=total, pace=Pace(rate), dry_run=dry_run, canary=canary
    )
    try:
        with counting(decision.action, total) as step:
            for letter, outcome in decided:
                step(1)
                outcomes[outcome.partition(":")[0]] += 1
                if as_json:
                    write_json(_document(letter, outcome))
                elif dead_letter_ids or outcome.startswith("refused"):
                    write(f"{outcome} {letter.dead_letter_id}: {letter.type} to {letter.queue}")
    finally:  # also if a canary ended it: what was sent was sent
        if not as_json and not dead_letter_ids:
            write(", ".join(f"{count} {word}" for word, count in sorted(outcomes.items())) or "none")
    if refused := outcomes["refused"]:
        raise BadInput(f"{refused} dead letters can never be handled: send what they meant as new messages")


def _chosen(matching: Filter, numbers: tuple[int, ...], *, every: bool) -> Filter:
    if bool(numbers) + (not matching.is_empty) + every != 1:
        raise click.UsageError("say which dead letters: give numbers, or filters, or --all")
    return Filter(ids=numbers, closed=True) if numbers else matching


def _count(session: Session, chosen: Filter, numbers: tuple[int, ...]) -> tuple[int, int]:
    """Return how many are chosen, and the highest number. Raises DeadLetterNotFound for a wrong number."""
    with session.transaction() as tx:
        total, last = dead_letters.count(tx, chosen)
        if total < len(set(numbers)):
            known = {each.dead_letter_id for each in dead_letters.select(tx, chosen, limit=total)}
            missing = min(set(numbers) - known)
            raise DeadLetterNotFound(f"no dead letter {missing}; see: ordermq dead list --closed")
    return total, last


def _decided(
    session: Session,
    decision: Decision,
    chosen: Filter,
    *,
    last: int,
    left: int,
    pace: Pace,
    dry_run: bool,
    canary: Canary | None = None,
) -> Iterator[Decided]:
    """Decide about up to ``left`` of the chosen; yield each outcome once it is committed."""
    after = 0

    def take(limit: int) -> list[Decided]:
        nonlocal after, left

        def decide(tx: StoreTransaction) -> list[Decided]:
            most = min(canary.most(limit) if canary else limit, left)
            letters = dead_letters.take(tx, chosen, after=after, last=last, limit=most)
            return _record(tx, decision, letters)

        decided = commit(session, decide, dry_run=dry_run) if left else []
        after = decided[-1][0].dead_letter_id if decided else after
        left -= len(decided)
        return decided

    for batch in batches(take, most=BATCH, pace=pace):
        for letter, outcome in batch:
            would = "would be " if dry_run and outcome == decision.word else ""
            yield letter, would + outcome
        if canary is not None and not dry_run and left:
            canary.watch([letter for letter, outcome in batch if outcome == decision.word])


def _record(tx: StoreTransaction, decision: Decision, letters: Sequence[DeadLetter]) -> list[Decided]:
    """Make the decision about ``letters`` and record who made it."""
    decided = list(zip(letters, decision.make(tx, letters), strict=True))
    changed = [subject(letter) for letter, outcome in decided if outcome == decision.word]
    actions.record(tx, decision.by, decision.action, changed, decision.reason)
    return decided


def _replay(
    tx: StoreTransaction, program: Program, letter: DeadLetter, *, by: str, reason: str, trusts_unsigned: bool
) -> str:
    if not letter.is_open:
        return outcome_of_closed(letter)
    try:
        program.registry.of_queue(letter.queue)
        is_sent = dead_letters.replay(tx, letter, by=by, reason=reason, trusts_unsigned=trusts_unsigned)
    except (BadInput, ConfigError) as exc:
        return f"refused: {exc}"
    return "replayed" if is_sent else "replayed before"


def outcome_of_closed(letter: DeadLetter) -> str:
    """Return the outcome of a letter about which somebody decided before."""
    return "replayed before" if letter.replayed_at else "discarded before"


def subject(letter: DeadLetter) -> str:
    """Return the name of a dead letter in the record of actions."""
    return f"dead_letter {letter.dead_letter_id}"


def _document(letter: DeadLetter, outcome: str) -> dict[str, Any]:
    names = ("dead_letter_id", "queue", "message_id", "correlation_id")
    return {**{name: getattr(letter, name) for name in names}, "outcome": outcome}

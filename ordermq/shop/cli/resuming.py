"""``ordermq order stuck``, ``resume`` and ``adopt-texts``: orders that stand still, and what got lost."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from decimal import Decimal

import click

from ordermq.cli.operator import NotToBeDone, actor, ask
from ordermq.cli.options import DURATION, as_json, common, dry_run, limit, rate, reason, yes
from ordermq.cli.output import seconds, shortened, write, write_json, write_table
from ordermq.cli.progress import Pace, counting
from ordermq.cli.run import EXIT_CODES
from ordermq.shop import notifications, queries
from ordermq.shop.cli.program import load_shop
from ordermq.shop.gateways import SmsGateway
from ordermq.shop.money import written
from ordermq.shop.resume import Found, Resumed, resume_orders
from ordermq.shop.settings import SECTION, ShopSettings
from ordermq.store import Session, actions, outbox

BATCH = 100  # orders in one transaction

_MOST = 1_000_000


@click.command(
    epilog=f"""\b
Examples:
  ordermq order stuck
  ordermq order stuck --older-than 2h --json | jq -r .order_id
  ordermq order stuck --older-than 30m --check || echo "somebody should look"

{EXIT_CODES}"""
)
@click.option(
    "--older-than",
    "older_than_s",
    type=DURATION,
    default="10m",
    show_default=True,
    help="Nothing has happened to them for so long.",
)
@click.option("--check", is_flag=True, help="Exit 1 if there is any.")
@limit
@as_json
@common
def stuck(*, older_than_s: float, check: bool, limit: int, as_json: bool, config_path: str | None) -> None:
    """List orders under way to which nothing has happened for a while, the oldest first.

    A payment that is 'unknown' or 'intent' is being asked for; nothing has to be done
    while the payment service answers. 'order resume --dry-run' says where the messages
    of an order are.

    JSON lines: one object an order, as of 'order list', with payment_state.
    """
    with load_shop(config_path).session("ordermq order").transaction() as tx:
        rows = queries.stuck(tx, older_than_s=older_than_s, limit=limit)
    if as_json:
        for row in rows:
            write_json(asdict(row))
    else:
        write_table(
            ("order", "state", "waits for", "payment", "total", "", "updated (UTC)", "attention"),
            [
                (
                    row.order_id,
                    row.status,
                    ", ".join(row.pending),
                    row.payment_state or "",
                    Decimal(written(row.total_minor, row.currency)),
                    row.currency,
                    seconds(row.updated_at),
                    shortened(row.attention_reason or "", 40),
                )
                for row in rows
            ],
        )
    if check and rows:
        raise click.exceptions.Exit(1)


@click.command(
    epilog=f"""\b
Examples:
  ordermq order resume A-1001 --reason "queue was purged" --dry-run
  ordermq order resume --stuck --older-than 20m --reason "purged" --rate 200
  ordermq order resume --stuck --older-than 0 --reason "restored" --yes --json
  ordermq order resume A-1001 --anew --reason "impossible since the restore"

{EXIT_CODES}"""
)
@click.argument("order_ids", nargs=-1, metavar="[ID]...")
@click.option("--stuck", "every", is_flag=True, help="Every order that 'order stuck' lists.")
@click.option("--older-than", "older_than_s", type=DURATION, help="With --stuck; default 10m.")
@click.option("--anew", is_flag=True, help="Also what is 'impossible': done, but its step is pending.")
@reason
@rate
@yes
@dry_run
@as_json
@common
def resume(
    *,
    order_ids: tuple[str, ...],
    every: bool,
    older_than_s: float | None,
    anew: bool,
    reason: str,
    rate: float,
    yes: bool,
    dry_run: bool,
    as_json: bool,
    config_path: str | None,
) -> None:
    """Send again what orders wait for and nobody has: after a lost queue, broker or database.

    Each message keeps its message_id, so what was not lost after all is done once. What
    waits in the outbox or is a dead letter is left alone and named. Works in small
    transactions: an interrupted one can be run again. Exit 1 if something is found that
    cannot be (a step whose message is done), or an order that is not known.

    A database from a backup may hold such steps, because messages of its lost future
    were still under way. --anew sends them all the same: no effect is doubled, for the
    order's own rows and the services' keys decide. Without a backup report a bug first.

    JSON lines: one object {order_id, found, step, queue, message_id, hop, note} a pending step;
    found is sent, waiting, dead, impossible, at_rest or unknown.
    """
    if bool(order_ids) == every or (older_than_s is not None and not every):
        raise click.UsageError("say which: order ids, or --stuck [--older-than ...]")
    session = load_shop(config_path).session("ordermq order")
    chosen = list(order_ids)
    if every:
        with session.transaction() as tx:
            found = queries.stuck(
                tx, older_than_s=600.0 if older_than_s is None else older_than_s, limit=_MOST
            )
        chosen = [row.order_id for row in found]
        if chosen and not dry_run:
            ask(f"{len(chosen)} orders will be resumed. Go on?", yes=yes)
    counts: Counter[Found] = Counter()
    with counting("order.resume", len(chosen)) as step:
        for size, answers in _batches(session, chosen, reason, Pace(rate), anew=anew, dry_run=dry_run):
            step(size)
            counts.update(each.found for each in answers)
            for each in answers:
                if as_json:
                    write_json(asdict(each))
                elif order_ids or dry_run or each.found in (Found.DEAD, Found.IMPOSSIBLE, Found.UNKNOWN):
                    write(_line(each, dry_run=dry_run))
    if every and not as_json:
        told = (f"{count} {_word(found, dry_run=dry_run)}" for found, count in sorted(counts.items()))
        write(", ".join(told) or "none")
    if counts[Found.IMPOSSIBLE] or counts[Found.UNKNOWN]:
        raise click.exceptions.Exit(1)


@click.command(
    "adopt-texts",
    epilog=f"""\b
Examples:
  ordermq order adopt-texts --reason "restored the backup of 03:00" --dry-run
  ordermq order adopt-texts --reason "restored the backup of 03:00"

{EXIT_CODES}""",
)
@reason
@dry_run
@common
def adopt_texts(*, reason: str, dry_run: bool, config_path: str | None) -> None:
    """Write down whom the SMS service has told, and a database from a backup has not heard of.

    Run it before relay and consumers start: they would tell these customers again. Reads
    all of the service's books; an order the database does not know is left out.
    """
    program = load_shop(config_path)
    settings: ShopSettings = program.loaded.section(SECTION)
    count = 0
    try:
        with program.session("ordermq order").transaction() as tx:
            for page in SmsGateway.from_settings(settings).sent():
                told = notifications.adopt(page, tx)
                count += len(told)
                subjects = dict.fromkeys(f"order {order_id}" for order_id, _ in told)
                actions.record(tx, actor(), "order.adopt_texts", subjects, reason)
            if dry_run:
                raise NotToBeDone
    except NotToBeDone:
        write(f"{count} notifications would be written down as sent")
    else:
        write(f"{count} notifications written down as sent")


def _batches(
    session: Session, order_ids: list[str], reason: str, pace: Pace, *, anew: bool, dry_run: bool
) -> Iterator[tuple[int, list[Resumed]]]:
    """Resume batch by batch, each in a transaction of its own; yield what has committed."""
    by, left = actor(), list(order_ids)
    while left:
        size = pace.batch(BATCH)
        batch, left = left[:size], left[size:]
        answers: list[Resumed] = []
        try:
            with session.transaction() as tx:
                answers = resume_orders(batch, tx, anew=anew)
                changed = dict.fromkeys(each.order_id for each in answers if each.found is Found.SENT)
                actions.record(tx, by, "order.resume", [f"order {each}" for each in changed], reason)
                if dry_run:
                    raise NotToBeDone
        except NotToBeDone:
            pass
        else:
            outbox.wake_relay(session)
        yield len(batch), answers
        pace.wait(len(batch))


def _line(each: Resumed, *, dry_run: bool) -> str:
    step = f" {each.step}" if each.step else ""
    message = f" {each.message_id}, hop {each.hop}" if each.found is Found.SENT else ""
    return f"order {each.order_id}{step}: {_word(each.found, dry_run=dry_run)}{message} ({each.note})"


def _word(found: Found, *, dry_run: bool) -> str:
    return "would be sent" if dry_run and found is Found.SENT else found.value

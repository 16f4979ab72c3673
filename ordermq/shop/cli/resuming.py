"""``ordermq order stuck``, ``resume`` and ``adopt-texts``: orders that stopped, messages that were lost."""

from collections import Counter
from dataclasses import asdict
from decimal import Decimal
from functools import partial

import click

from ordermq.cli.bulk import Pace, batches, commit, taking
from ordermq.cli.operator import actor, ask
from ordermq.cli.options import as_json, common, dry_run, duration, limit, rate, reason, yes
from ordermq.cli.output import at_most, seconds, shortened, write, write_json, write_table
from ordermq.cli.progress import counting
from ordermq.cli.run import EXIT_CODES
from ordermq.errors import ConfigError
from ordermq.shop import notifications, queries
from ordermq.shop.cli.program import load_shop
from ordermq.shop.gateways.chosen import email_gateway, text_gateway
from ordermq.shop.money import written
from ordermq.shop.notifications import NotificationChannel
from ordermq.shop.resume import Found, Resumed, resume_orders
from ordermq.store import Session, StoreTransaction, actions

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
    type=duration,
    default="10m",
    show_default=True,
    help="Only orders to which nothing has happened for this long.",
)
@click.option("--check", is_flag=True, help="Exit 1 if there is such an order.")
@limit
@as_json
@common
def stuck(*, older_than_s: float, check: bool, limit: int, as_json: bool, config_path: str | None) -> None:
    """List orders under way to which nothing has happened for a while, the oldest first.

    A payment in state 'unknown' or 'intent' is being asked for: while the payment service
    answers, nothing has to be done. 'order resume --dry-run' says where the messages of an
    order are.

    JSON lines: one object for each order, as 'order list' prints it, with payment_state.
    """
    with load_shop(config_path).session("ordermq order").transaction() as tx:
        rows = at_most(limit, queries.stuck(tx, older_than_s=older_than_s, limit=limit + 1))
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
@click.option("--stuck", "every", is_flag=True, help="Resume every order that 'order stuck' lists.")
@click.option(
    "--older-than",
    "older_than_s",
    type=duration,
    help="With --stuck: only orders to which nothing has happened for this long; default 10m.",
)
@click.option(
    "--anew", is_flag=True, help="Also send what is 'impossible': handled, but its step is pending."
)
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
    """Send again the messages that orders wait for, after a queue, broker or database was lost.

    Each message keeps its message_id, so one that was not lost after all is handled once.
    A message that waits in the outbox or is a dead letter is named and left alone. Works in
    small transactions: an interrupted command can be run again. Exit 1 for an unknown
    order, and for a pending step whose message was handled, which should be impossible.

    A database restored from a backup may hold such steps: their messages were handled
    after the backup was made. --anew sends them again. No effect is doubled, because the
    order's rows and the services' idempotency keys decide. Without a restored backup,
    report a bug first.

    JSON lines: one object {order_id, found, step, queue, message_id, hop, note} for each
    pending step; found is sent, waiting, dead, impossible, at_rest or unknown.
    """
    if bool(order_ids) == every or (older_than_s is not None and not every):
        raise click.UsageError("say which orders: give ids, or --stuck [--older-than ...]")
    session = load_shop(config_path).session("ordermq order")
    chosen = list(order_ids) or _stuck(session, 600.0 if older_than_s is None else older_than_s)
    if every and chosen and not dry_run:
        ask(f"{len(chosen)} orders will be resumed. Go on?", yes=yes)
    counts: Counter[Found] = Counter()
    with counting("order.resume", len(chosen)) as step:
        for batch in batches(taking(chosen), most=BATCH, pace=Pace(rate)):
            answers = commit(session, partial(_resumed, batch, reason, anew=anew), dry_run=dry_run)
            step(len(batch))
            counts.update(each.found for each in answers)
            for each in answers:
                if as_json:
                    write_json(asdict(each))
                elif order_ids or dry_run or each.found in (Found.DEAD, Found.IMPOSSIBLE, Found.UNKNOWN):
                    write(_line(each, dry_run=dry_run))
    if every and not as_json:
        words = [f"{count} {_word(found, dry_run=dry_run)}" for found, count in sorted(counts.items())]
        write(", ".join(words) or "none")
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
    """Write down the texts and e-mails that were sent and a database from a backup does not know of.

    Run it before relay and consumers start: otherwise they tell these customers again. Reads
    the whole record of each service; orders that are not in the database are left out. A mail server
    has no record unless shop.mail_ledger_url names one.
    """
    program = load_shop(config_path)
    texts, emails = text_gateway(program.loaded), email_gateway(program.loaded)
    if not (texts.can_list or emails.can_list):
        raise ConfigError("neither shop.text_gateway nor shop.email_gateway can list what was sent")
    books = [(NotificationChannel.TEXT, texts.sent())] if texts.can_list else []
    books += [(NotificationChannel.EMAIL, emails.sent())] if emails.can_list else []
    count = 0
    with program.session("ordermq order").transaction(dry_run=dry_run) as tx:
        for channel, pages in books:
            for page in pages:
                adopted = notifications.adopt(page, channel, tx)
                count += len(adopted)
                subjects = dict.fromkeys(f"order {each.order_id}" for each in adopted)
                actions.record(tx, actor(), "order.adopt_texts", subjects, reason)
    write(f"{count} notifications {'would be written down' if dry_run else 'written down'} as sent")


def _stuck(session: Session, older_than_s: float) -> list[str]:
    with session.transaction() as tx:
        return [row.order_id for row in queries.stuck(tx, older_than_s=older_than_s, limit=_MOST)]


def _resumed(order_ids: list[str], reason: str, tx: StoreTransaction, *, anew: bool) -> list[Resumed]:
    """Resume these orders, and record which of them something was sent for."""
    answers = resume_orders(order_ids, tx, anew=anew)
    changed = dict.fromkeys(each.order_id for each in answers if each.found is Found.SENT)
    actions.record(tx, actor(), "order.resume", [f"order {each}" for each in changed], reason)
    return answers


def _line(each: Resumed, *, dry_run: bool) -> str:
    step = f" {each.step}" if each.step else ""
    message = f" {each.message_id}, hop {each.hop}" if each.found is Found.SENT else ""
    return f"order {each.order_id}{step}: {_word(each.found, dry_run=dry_run)}{message} ({each.note})"


def _word(found: Found, *, dry_run: bool) -> str:
    return "would be sent" if dry_run and found is Found.SENT else found.value

"""``ordermq order stuck`` and ``adopt-texts``: orders that stopped, and messages that a backup has lost."""

from dataclasses import asdict
from decimal import Decimal

import click

from ordermq.cli.operator import actor
from ordermq.cli.options import as_json, common, dry_run, duration, limit, reason
from ordermq.cli.output import at_most, seconds, shortened, write, write_json, write_table
from ordermq.cli.run import EXIT_CODES
from ordermq.errors import ConfigError
from ordermq.shop import notifications, queries
from ordermq.shop.cli.program import load_shop
from ordermq.shop.gateways.chosen import email_gateway, text_gateway
from ordermq.shop.money import written
from ordermq.shop.notifications import NotificationChannel
from ordermq.shop.settings import SECTION
from ordermq.store import actions


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

    Orders that wait by design are not listed: for another card or for the customer to confirm a payment
    while there is time for it, or because 'ordermq order hold' holds them back.
    A payment in state 'unknown' or 'intent' is being asked for: while the payment service
    answers, nothing has to be done. 'ordermq-publish replay --dry-run' says where the messages
    of an order are.

    JSON lines: one object for each order, as 'order list' prints it, with payment_state.
    """
    program = load_shop(config_path)
    action_s = program.loaded.section(SECTION).payment_action_s
    with program.session("ordermq order").transaction() as tx:
        found = queries.stuck(tx, older_than_s=older_than_s, action_s=action_s, limit=limit + 1)
    rows = at_most(limit, found)
    if as_json:
        for row in rows:
            write_json(asdict(row))
    else:
        write_table(
            ("order", "state", "waits for", "payment", "total", "", "updated (UTC)", "attention"),
            [
                (
                    row.order_id,
                    f"{row.status}, held" if row.held_at else row.status,
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

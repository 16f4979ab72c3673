"""``ordermq-publish replay``: messages of orders that were lost, sent again from the history."""

from collections import Counter
from collections.abc import Sequence
from functools import partial

import click

from ordermq.cli import options
from ordermq.cli.operator import actor, ask
from ordermq.cli.output import note, write, write_json
from ordermq.cli.run import EXIT_CODES
from ordermq.clock import monotonic_s
from ordermq.shop.cli.passes import Work, over_orders
from ordermq.shop.cli.program import load_shop
from ordermq.shop.cli.selecting import selects
from ordermq.shop.effects import new_forecast
from ordermq.shop.replay import Found, Planned, Wish, plan_orders, replay_orders
from ordermq.shop.selection import Selection
from ordermq.store import Session, StoreTransaction, actions

_NAMED = frozenset({Found.DEAD, Found.IMPOSSIBLE, Found.UNKNOWN})  # of many orders only these are printed


class Tally:
    """What a pass over the orders has found, or done."""

    def __init__(self) -> None:
        self.orders = 0
        self.counts: Counter[Found] = Counter()
        self.forecast = new_forecast()

    def add(self, orders: int, planned: list[Planned]) -> None:
        """Count what was found of ``orders`` orders."""
        self.orders += orders
        self.counts.update(each.found for each in planned)
        self.forecast.add(each.effect for each in planned)

    @property
    def totals(self) -> dict[str, int]:
        """The summary: in = sent + absorbed + refused."""
        totals = {"in": self.counts.total(), "sent": 0, "absorbed": 0, "refused": 0}
        for found, count in self.counts.items():
            totals[found.counts_as] += count
        return totals

    @property
    def sentence(self) -> str:
        """What will happen, in one sentence."""
        totals = self.totals
        refused = f", {totals['refused']:,} refused" if totals["refused"] else ""
        sent = f"{totals['sent']:,} messages sent"
        parts = [sent, *self.forecast.parts, f"{totals['absorbed']:,} absorbed{refused}"]
        return f"{self.orders:,} orders: {', '.join(parts)}"


@click.command(
    "replay",
    epilog=f"""\b
Examples:
  ordermq-publish replay --order A-1001 --reason "queue was purged" --dry-run
  ordermq-publish replay --where stuck --older-than 20m --reason "purged" --rate 200
  ordermq-publish replay --from 2026-01-31T02:00Z --to 2026-01-31T04:00Z \\
      --queue payment --reason "its disk was lost" --yes --json
  ordermq-publish replay --order A-1001 --anew --reason "since the restore"

{EXIT_CODES}""",
)
@click.option("--order", "order_ids", multiple=True, metavar="ID", help="This order. May be given often.")
@selects("--to")
@click.option("--queue", type=options.text, help="Only messages of this queue.")
@click.option(
    "--allow-notify", is_flag=True, help="Also send the texts and e-mails to customers that are lost."
)
@click.option(
    "--anew", is_flag=True, help="Also send what is 'impossible': handled, but its step is pending."
)
@options.reason
@options.rate
@options.yes
@options.dry_run
@options.summary_as_json
@options.common
def command(
    *,
    selection: Selection,
    queue: str | None,
    allow_notify: bool,
    anew: bool,
    reason: str,
    rate: float,
    yes: bool,
    dry_run: bool,
    as_json: bool,
    config_path: str | None,
) -> None:
    """Send again the messages that orders wait for, after a queue, broker or database was lost.

    Goes through the history of the orders. A message whose step has ended is absorbed: nothing
    is sent for it. Of the steps that are pending, only a message that is nowhere any more is
    sent, under its own message_id and with header x-ordermq-replayed, so one that was not lost
    after all is handled once. A dead letter is refused and named: see 'ordermq dead replay'.

    First it says what the messages will do outside. Texts and e-mails to customers are refused
    without --allow-notify. Works in small transactions: an interrupted command can be run again.
    Exit 1 for an unknown order, and for a pending step whose message was handled. That should be
    impossible but in a restored backup, where --anew sends it: the order's rows and the services'
    idempotency keys keep every effect single. Without a backup, report a bug first.

    JSON: {in, sent, absorbed, refused, found, orders, forecast, seconds, dry_run}; in = sent +
    absorbed + refused, found counts done, waiting, dead, suppressed, impossible and unknown.
    """
    program = load_shop(config_path)
    _check_queue(queue, program.registry.queues)
    session = program.session("ordermq-publish")
    wish = Wish(queue, allow_notify=allow_notify, anew=anew)
    forecast = Tally()
    work = partial(_planned, wish)
    _pass(session, selection, work, forecast, keeps=False, says=dry_run and not as_json)
    (note if as_json else write)(forecast.sentence)
    if not dry_run and forecast.counts[Found.SENT] and selection.order_ids is None:
        ask("Go on?", yes=yes)
    tally, began_s = forecast if dry_run else Tally(), monotonic_s()
    try:
        if not dry_run:
            work = partial(_replayed, wish, reason)
            _pass(session, selection, work, tally, keeps=True, says=not as_json, rate=rate)
    finally:  # also if it was interrupted: what was sent was sent
        _summarise(tally, monotonic_s() - began_s, as_json=as_json, dry_run=dry_run)
    if tally.counts[Found.IMPOSSIBLE] or tally.counts[Found.UNKNOWN]:
        raise click.exceptions.Exit(1)


def _check_queue(queue: str | None, queues: Sequence[str]) -> None:
    if queue is not None and queue not in queues:
        raise click.UsageError(f"no queue {queue!r}; the queues are: {', '.join(queues)}")


def _pass(
    session: Session,
    selection: Selection,
    work: Work[Planned],
    tally: Tally,
    *,
    keeps: bool,
    says: bool,
    rate: float = 0.0,
) -> None:
    label = "replay" if keeps else "forecast"
    for orders, planned in over_orders(session, selection, work, label=label, rate=rate, keeps=keeps):
        tally.add(orders, planned)
        if says:
            _say(planned, selection, dry_run=not keeps)


def _planned(wish: Wish, order_ids: list[str], tx: StoreTransaction) -> list[Planned]:
    return plan_orders(order_ids, tx, wish)


def _replayed(wish: Wish, reason: str, order_ids: list[str], tx: StoreTransaction) -> list[Planned]:
    """Replay these orders, and record those for which something was sent."""
    planned = replay_orders(order_ids, tx, wish)
    changed = dict.fromkeys(each.order_id for each in planned if each.found is Found.SENT)
    actions.record(tx, actor(), "order.replay", [f"order {each}" for each in changed], reason)
    return planned


def _say(planned: list[Planned], selection: Selection, *, dry_run: bool) -> None:
    """Print a line for each message of orders that were named; of many only what is sent or refused."""
    for each in planned:
        if (
            selection.order_ids is not None
            or each.found in _NAMED
            or (dry_run and each.found.counts_as != "absorbed")
        ):
            write(_line(each, dry_run=dry_run))


def _line(each: Planned, *, dry_run: bool) -> str:
    word = "would be sent" if dry_run and each.found is Found.SENT else each.found.value
    step = f" {each.step}" if each.step else ""
    message = f" {each.message_id}, hop {each.hop}" if each.found is Found.SENT else ""
    return f"order {each.order_id}{step}: {word}{message} ({each.note})"


def _summarise(tally: Tally, seconds: float, *, as_json: bool, dry_run: bool) -> None:
    totals = tally.totals
    if as_json:
        found = {each.value: tally.counts[each] for each in Found if each is not Found.SENT}
        write_json({
            **totals, "found": found, "orders": tally.orders, "forecast": tally.forecast.document,
            "seconds": round(seconds, 3), "dry_run": dry_run,
        })  # fmt: skip
        return
    refused = [each for each in Found if each.counts_as == "refused" and tally.counts[each]]
    why = ", ".join(f"{tally.counts[each]} {each}" for each in refused)
    write(
        f"in {totals['in']} = sent {totals['sent']} + absorbed {totals['absorbed']}"
        f" + refused {totals['refused']}{f' ({why})' if why else ''}"
        f"{' (dry run: nothing was sent)' if dry_run else ''}; {seconds:.1f} s"
    )

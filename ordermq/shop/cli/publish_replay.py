"""``ordermq-publish replay``: messages of orders that were lost, sent again from the history."""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import click

from ordermq.cli import options as cli_options
from ordermq.cli.operator import actor
from ordermq.cli.program import Program
from ordermq.cli.run import EXIT_CODES
from ordermq.errors import VersionConflict
from ordermq.shop.cli.passes import BulkOptions, BulkWork, bulk, forecast_and_do
from ordermq.shop.cli.selecting import selects
from ordermq.shop.effects import inside_of, new_forecast
from ordermq.shop.replay import Found, Planned, Wish, plan_orders, replay_orders
from ordermq.shop.selection import Selection
from ordermq.shop.settings import SECTION
from ordermq.store import StoreTransaction, actions
from ordermq.task.forecast import Effect

_NAMED = frozenset({Found.DEAD, Found.IMPOSSIBLE, Found.CHANGED, Found.UNKNOWN})  # printed of many orders too


class ReplayTally:
    """What a pass over the orders has found, or sent: in = sent + absorbed + refused."""

    def __init__(self, inside: Iterable[Effect]) -> None:
        self.orders = 0
        self.counts: Counter[Found] = Counter()
        self.forecast = new_forecast(inside)

    def add(self, orders: int, answers: list[Planned]) -> None:
        """Count what was found of ``orders`` orders."""
        self.orders += orders
        self.counts.update(each.found for each in answers)
        self.forecast.add(each.effect for each in answers)

    def line(self, answer: Planned, *, is_named: bool, dry_run: bool) -> str | None:
        """Return a line for each message of orders that were named; of many only what is sent or refused."""
        is_printed = dry_run and answer.found.counts_as != "absorbed"
        if not (is_named or is_printed or answer.found in _NAMED):
            return None
        is_sent = answer.found is Found.SENT
        word = "would be sent" if dry_run and is_sent else answer.found.value
        step = f" {answer.step}" if answer.step else ""
        message = f" {answer.message_id}, hop {answer.hop}" if is_sent else ""
        return f"order {answer.order_id}{step}: {word}{message} ({answer.note})"

    @property
    def changes(self) -> int:
        """How many messages are sent."""
        return self.counts[Found.SENT]

    @property
    def sentence(self) -> str:
        """What will happen, in one sentence."""
        totals = self._totals
        refused = f", {totals['refused']:,} refused" if totals["refused"] else ""
        sent = f"{totals['sent']:,} messages sent"
        parts = [sent, *self.forecast.parts, f"{totals['absorbed']:,} absorbed{refused}"]
        return f"{self.orders:,} orders: {', '.join(parts)}"

    @property
    def summary(self) -> str:
        """The sum, and why messages were refused."""
        totals = self._totals
        refused = [each for each in Found if each.counts_as == "refused" and self.counts[each]]
        why = ", ".join(f"{self.counts[each]} {each}" for each in refused)
        return (
            f"in {totals['in']} = sent {totals['sent']} + absorbed {totals['absorbed']}"
            f" + refused {totals['refused']}{f' ({why})' if why else ''}"
        )

    @property
    def document(self) -> dict[str, Any]:
        """The sum in full."""
        found = {each.value: self.counts[each] for each in Found if each is not Found.SENT}
        return {**self._totals, "found": found, "orders": self.orders, "forecast": self.forecast.document}

    @property
    def _totals(self) -> dict[str, int]:
        totals = {"in": self.counts.total(), "sent": 0, "absorbed": 0, "refused": 0}
        for found, count in self.counts.items():
            totals[found.counts_as] += count
        return totals


@click.command(
    "replay",
    epilog=f"""\b
Examples:
  ordermq-publish replay --order A-1001 --reason "queue was purged" --dry-run
  ordermq-publish replay --stuck --older-than 20m --reason "purged" --rate 200
  ordermq-publish replay --from 2026-01-31T02:00Z --to 2026-01-31T04:00Z \\
      --queue payment --reason "its disk was lost" --yes --json
  ordermq-publish replay --order A-1001 --anew --reason "since the restore"

{EXIT_CODES}""",
)
@click.option("--order", "order_ids", multiple=True, metavar="ID", help="This order. May be given often.")
@selects()
@click.option("--queue", type=cli_options.text, help="Only messages of this queue.")
@click.option(
    "--allow-notify", is_flag=True, help="Also send the texts and e-mails to customers that are lost."
)
@click.option(
    "--anew", is_flag=True, help="Also send what is 'impossible': handled, but its step is pending."
)
@bulk
def command(
    *,
    program: Program,
    selection: Selection,
    queue: str | None,
    allow_notify: bool,
    anew: bool,
    options: BulkOptions,
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
    absorbed + refused, found counts done, waiting, dead, suppressed, impossible, changed and unknown.
    """
    _check_queue(queue, program.registry.queues)
    wish = Wish(queue, allow_notify=allow_notify, anew=anew)

    def plan(order_ids: list[str], tx: StoreTransaction) -> list[Planned]:
        return plan_orders(order_ids, tx, wish)

    def replay(order_ids: list[str], tx: StoreTransaction) -> list[Planned]:
        planned = replay_orders(order_ids, tx, wish)
        changed = dict.fromkeys(each.order_id for each in planned if each.found is Found.SENT)
        actions.record(tx, actor(), "order.replay", [f"order {each}" for each in changed], options.reason)
        return planned

    inside = inside_of(program.loaded.section(SECTION))
    work = BulkWork("replay", plan, replay, partial(ReplayTally, inside), _changed)
    tally = forecast_and_do(program.session("ordermq-publish"), selection, work, options)
    if tally.counts[Found.IMPOSSIBLE] or tally.counts[Found.UNKNOWN]:
        raise click.exceptions.Exit(1)


def _changed(conflict: VersionConflict) -> Planned:
    return Planned(conflict.order_id, Found.CHANGED, note=str(conflict))


def _check_queue(queue: str | None, queues: Sequence[str]) -> None:
    if queue is not None and queue not in queues:
        raise click.UsageError(f"no queue {queue!r}; the queues are: {', '.join(queues)}")

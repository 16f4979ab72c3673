"""``ordermq order hold`` and ``release``: orders, one or many, wait, whatever they wait for."""

from collections import Counter
from dataclasses import replace
from datetime import datetime
from typing import Any

import click

from ordermq.cli.operator import actor
from ordermq.cli.output import seconds
from ordermq.cli.program import Program
from ordermq.cli.run import EXIT_CODES
from ordermq.shop.cli.passes import BulkOptions, BulkWork, Work, bulk, forecast_and_do
from ordermq.shop.cli.selecting import selects
from ordermq.shop.hold import Held, hold_orders, release_orders
from ordermq.shop.selection import Selection
from ordermq.store import StoreTransaction

_MOST_KEPT = 100  # answers that are printed as JSON


class HoldTally:
    """What a pass over the orders has held or released, ``done``: in = done + unchanged + refused."""

    def __init__(self, done: str) -> None:
        self.counts: Counter[str] = Counter()
        self.answers: list[Held] = []
        self.refused: list[Held] = []
        self._done = done
        self._words = (done, "unchanged", "refused")

    def add(self, _: int, answers: list[Held]) -> None:
        """Count answers; keep some."""
        self.counts.update(self._word(each) for each in answers)
        self.refused += [each for each in answers if each.refused][: 1 - len(self.refused)]
        self.answers += answers[: _MOST_KEPT - len(self.answers)]

    def line(self, answer: Held, *, is_named: bool, dry_run: bool) -> str | None:
        """Return what becomes of an order; of many orders in the dry run only."""
        if not (is_named or dry_run):
            return None
        word = self._word(answer)
        said = f"order {answer.order_id}: {'would be ' * (dry_run and answer.is_changed)}{word}"
        if answer.refused is not None:
            return f"{said} ({answer.refused})"
        if answer.is_changed and self._done == "held":
            return f"{said}; to end it: ordermq order release {answer.order_id}"
        if hold := answer.hold:
            return f"{said}, held since {seconds(hold.held_at)} UTC by {hold.held_by}: {hold.hold_reason}"
        return f"{said}, it is not held"

    @property
    def changes(self) -> int:
        """How many orders are held or released."""
        return self.counts[self._done]

    @property
    def sentence(self) -> str:
        """What will happen, in one sentence."""
        parts = [f"{self.counts[each]:,} {each}" for each in self._words if self.counts[each]]
        return f"{self.counts.total():,} orders: {', '.join(parts) or 'none'}; nothing outside"

    @property
    def summary(self) -> str:
        """The sum."""
        return (
            f"in {self.counts.total()} = {' + '.join(f'{each} {self.counts[each]}' for each in self._words)}"
        )

    @property
    def document(self) -> dict[str, Any]:
        """The sum in full, with the first answers."""
        counts = {each: self.counts[each] for each in self._words}
        orders = [
            {"order_id": each.order_id, "outcome": self._word(each)}
            | {name: getattr(each.hold, name, None) for name in ("held_at", "held_by", "hold_reason")}
            for each in self.answers
        ]
        return {"in": self.counts.total(), **counts, "orders": orders}

    def _word(self, answer: Held) -> str:
        if answer.refused is not None:
            return "refused"
        return self._done if answer.is_changed else "unchanged"


@click.command(
    epilog=f"""\b
Examples:
  ordermq order hold A-1001 --reason "looks like fraud" --dry-run
  ordermq order hold A-1001 --reason "looks like fraud"
  ordermq order hold --where merchant=acme --reason "acme is looked at" --yes
  ordermq order list --held

{EXIT_CODES}"""
)
@click.argument("order_ids", nargs=-1, metavar="[ID]...")
@selects()
@bulk
def hold(*, program: Program, selection: Selection, options: BulkOptions) -> None:
    """Have orders wait: none of their messages is handled, within 2 seconds.

    What runs is finished. Their messages wait in the outbox and are looked at again every 30
    seconds; that counts neither as an attempt nor as part of their age. It lasts until 'ordermq
    order release', whatever is restarted meanwhile. Of orders that were chosen by a filter, those
    that have nothing more to do stay as they are. First it says how many orders that is; those that
    are accepted after that are not held. Exit 1 if there is no such order.

    JSON: {in, held, unchanged, refused, orders, seconds, dry_run}; in = held + unchanged + refused;
    orders are the first 100, each {order_id, outcome, held_at, held_by, hold_reason}.
    """
    by, is_named = actor(), selection.order_ids is not None

    def work(order_ids: list[str], tx: StoreTransaction) -> list[Held]:
        return hold_orders(order_ids, tx, by=by, reason=options.reason, also_ended=is_named)

    _do(program, selection, _bulk_work("hold", "held", work, _accepted_by_then), options)


@click.command(
    epilog=f"""\b
Examples:
  ordermq order release A-1001 --reason "it is no fraud"
  ordermq order release --where merchant=acme --reason "acme is well" --dry-run
  ordermq order release --all --reason "the warehouse is back" --yes

{EXIT_CODES}"""
)
@click.argument("order_ids", nargs=-1, metavar="[ID]...")
@selects()
@bulk
def release(*, program: Program, selection: Selection, options: BulkOptions) -> None:
    """Let orders that are held go on within 30 seconds. One that is not held stays as it is.

    A filter chooses among the orders that are held. First it says how many orders that is; what
    is held after that stays held. Exit 1 if there is no such order.

    JSON: {in, released, unchanged, refused, orders, seconds, dry_run}; in = released + unchanged +
    refused; orders are the first 100, each {order_id, outcome, held_at, held_by, hold_reason}.
    """
    by = actor()

    def work(order_ids: list[str], tx: StoreTransaction) -> list[Held]:
        return release_orders(order_ids, tx, by=by, reason=options.reason)

    if selection.order_ids is None:
        selection = replace(selection, is_held=True)
    _do(program, selection, _bulk_work("release", "released", work, _held_by_then), options)


def _bulk_work(label: str, done: str, work: Work[Held], agreed: Any) -> BulkWork[Held, HoldTally]:
    return BulkWork(label, work, work, lambda: HoldTally(done), None, agreed)


def _accepted_by_then(selection: Selection, then: datetime) -> Selection:
    # Not those alone to which nothing has happened since: what goes on is what has to stop.
    return replace(selection, until=then if selection.until is None else min(then, selection.until))


def _held_by_then(selection: Selection, then: datetime) -> Selection:
    return replace(selection, held_until=then)


def _do(
    program: Program, selection: Selection, work: BulkWork[Held, HoldTally], options: BulkOptions
) -> None:
    tally = forecast_and_do(program.session("ordermq order"), selection, work, options)
    if selection.order_ids is not None and tally.refused and (error := tally.refused[0].refused):
        raise error

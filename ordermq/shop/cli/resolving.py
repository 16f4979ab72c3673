"""``ordermq order resolve``: orders, one or many, that needed a person and do not any more."""

from collections import Counter
from dataclasses import asdict
from typing import Any

import click

from ordermq.cli.operator import actor
from ordermq.cli.output import shortened
from ordermq.cli.program import Program
from ordermq.cli.run import EXIT_CODES
from ordermq.errors import OrderConflict, VersionConflict
from ordermq.shop.cli.passes import BulkOptions, BulkWork, bulk, forecast_and_do
from ordermq.shop.cli.selecting import selects
from ordermq.shop.resolve import Resolved, resolve_orders
from ordermq.shop.selection import Selection
from ordermq.store import StoreTransaction

_WORDS = ("resolved", "unchanged", "refused")
_MOST_KEPT = 100  # answers that are printed as JSON


class ResolveTally:
    """What a pass over the orders has resolved, or would: in = resolved + unchanged + refused."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.discarded = 0
        self.refused: list[Resolved] = []
        self.answers: list[Resolved] = []

    def add(self, _: int, answers: list[Resolved]) -> None:
        """Count answers; keep some."""
        self.counts.update(_word(each) for each in answers)
        self.discarded += sum(len(each.discarded) for each in answers)
        self.refused += [each for each in answers if each.refused][: _MOST_KEPT - len(self.refused)]
        self.answers += answers[: _MOST_KEPT - len(self.answers)]

    def line(self, answer: Resolved, *, is_named: bool, dry_run: bool) -> str | None:
        """Return what becomes of an order that was named; of many only the refused, and all in a dry run."""
        word = _word(answer)
        if not (is_named or dry_run or word == "refused"):
            return None
        lines = [_said(answer, dry_run=dry_run)]
        if answer.pending and is_named and not answer.refused:
            todo = f'ordermq-publish replay --order {answer.order_id} --reason "..."'
            lines.append(f"pending: {', '.join(answer.pending)}; if nothing happens to the order: {todo}")
        return "\n".join(lines)

    @property
    def changes(self) -> int:
        """How many orders are resolved."""
        return self.counts["resolved"]

    @property
    def sentence(self) -> str:
        """What will happen, in one sentence."""
        parts = [f"{self.counts[each]:,} {each}" for each in _WORDS if self.counts[each]]
        parts += [f"{self.discarded:,} dead letters discarded"] * bool(self.discarded)
        return f"{self.counts.total():,} orders: {', '.join(parts) or 'none'}; nothing outside"

    @property
    def summary(self) -> str:
        """The sum."""
        parts = " + ".join(f"{each} {self.counts[each]}" for each in _WORDS)
        return f"in {self.counts.total()} = {parts}, {self.discarded} dead letters discarded"

    @property
    def document(self) -> dict[str, Any]:
        """The sum in full, with the first answers."""
        counts = {each: self.counts[each] for each in _WORDS}
        answers = [
            {**asdict(each), "refused": str(each.refused) if each.refused else None} for each in self.answers
        ]
        return {"in": self.counts.total(), **counts, "discarded": self.discarded, "orders": answers}


@click.command(
    epilog=f"""\b
Examples:
  ordermq order list --attention
  ordermq order resolve A-1001 --reason "called the customer" --dry-run
  ordermq order resolve A-1001 --reason "called the customer"
  ordermq order resolve --attention --from 2026-01-31T02:00Z --reason "shipped" --yes

{EXIT_CODES}"""
)
@click.argument("order_ids", nargs=-1, metavar="[ID]...")
@selects()
@bulk
def resolve(*, program: Program, selection: Selection, options: BulkOptions) -> None:
    """Record that orders which needed a person do not need one any more.

    The open dead letters of the orders are discarded for the same reason. The reason stays in the
    orders' history, so write no personal data. An order is refused while a step that was given up
    must still be done (release, refund, ship): the line names the dead letter to replay. First it says
    how many orders that is. Works in small transactions: an interrupted command can be run again.
    Exit 65 if an order that was named is refused, 1 if there is no such order.

    JSON: {in, resolved, unchanged, refused, discarded, orders, seconds, dry_run}; in = resolved +
    unchanged + refused; orders are the first 100, each {order_id, attention_reason, discarded,
    pending, refused}.
    """
    by = actor()

    def work(order_ids: list[str], tx: StoreTransaction) -> list[Resolved]:
        return resolve_orders(order_ids, tx, by=by, reason=options.reason)

    session = program.session("ordermq order")
    tally = forecast_and_do(
        session, selection, BulkWork("resolve", work, work, ResolveTally, _changed), options
    )
    if selection.order_ids is not None and tally.refused:
        [first, *others] = tally.refused
        if not others and first.refused is not None:
            raise first.refused
        raise OrderConflict(f"{tally.counts['refused']} of {tally.counts.total()} orders cannot be resolved")


def _changed(conflict: VersionConflict) -> Resolved:
    return Resolved(conflict.order_id, None, [], [], conflict)


def _word(answer: Resolved) -> str:
    if answer.refused is not None:
        return "refused"
    return "unchanged" if answer.attention_reason is None else "resolved"


def _said(answer: Resolved, *, dry_run: bool) -> str:
    if answer.refused is not None:
        return f"order {answer.order_id}: refused ({answer.refused})"
    if answer.attention_reason is None:
        return f"order {answer.order_id} does not need a person: nothing was changed"
    letters = f"; dead letters discarded: {', '.join(map(str, answer.discarded))}" * bool(answer.discarded)
    word = "would be" if dry_run else "is"
    return f"order {answer.order_id} {word} resolved: {shortened(answer.attention_reason, 200)}{letters}"

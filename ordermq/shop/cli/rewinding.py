"""``ordermq order rewind``: orders put back to an earlier step, one or many."""

from collections import Counter
from typing import Any

import click

from ordermq.cli.operator import actor
from ordermq.cli.program import Program
from ordermq.cli.run import EXIT_CODES
from ordermq.errors import OrderConflict, VersionConflict
from ordermq.shop.cli.passes import BulkOptions, BulkWork, bulk, forecast_and_do
from ordermq.shop.cli.selecting import selects
from ordermq.shop.effects import new_forecast
from ordermq.shop.events import Step
from ordermq.shop.rewind import TARGETS, RewindOutcome, Rewound, rewind_orders
from ordermq.shop.selection import Selection
from ordermq.store import StoreTransaction


class RewindTally:
    """What a pass over the orders has put back, or would: in = rewound + unchanged + refused."""

    def __init__(self) -> None:
        self.counts: Counter[RewindOutcome] = Counter()
        self.forecast = new_forecast()

    def add(self, _: int, answers: list[Rewound]) -> None:
        """Count answers."""
        self.counts.update(each.outcome for each in answers)
        self.forecast.add(each.effect for each in answers)

    def line(self, answer: Rewound, *, is_named: bool, dry_run: bool) -> str | None:
        """Return what is undone for an order, or why nothing is; of many orders in the dry run only."""
        if not (is_named or dry_run):
            return None
        is_rewound = dry_run and answer.outcome is RewindOutcome.REWOUND
        word = "would be rewound" if is_rewound else answer.outcome.value
        return f"order {answer.order_id}: {word} ({answer.note})"

    @property
    def changes(self) -> int:
        """How many orders are put back."""
        return self.counts[RewindOutcome.REWOUND]

    @property
    def sentence(self) -> str:
        """What will happen, in one sentence."""
        counts = ", ".join(f"{self.counts[each]:,} {each}" for each in RewindOutcome if self.counts[each])
        return f"{self.counts.total():,} orders: {', '.join(self.forecast.parts)}; {counts or 'none'}"

    @property
    def summary(self) -> str:
        """The sum."""
        parts = " + ".join(f"{each} {self.counts[each]}" for each in RewindOutcome)
        return f"in {self.counts.total()} = {parts}"

    @property
    def document(self) -> dict[str, Any]:
        """The sum in full."""
        counts = {each.value: self.counts[each] for each in RewindOutcome}
        return {"in": self.counts.total(), **counts, "forecast": self.forecast.document}


@click.command(
    epilog=f"""\b
Examples:
  ordermq order rewind A-1001 --to capture --reason "the service refused it" --dry-run
  ordermq order rewind --state cancelled --from 2026-01-31T02:00Z \\
      --before 2026-01-31T06:00Z --to capture --reason "the service refused" --yes
  ordermq order rewind A-1001 --to reserve --reason "cancelled by mistake"

{EXIT_CODES}"""
)
@click.argument("order_ids", nargs=-1, metavar="[ID]...")
@selects(until=["--before"])
@click.option(
    "--to",
    type=click.Choice([each.value for each in TARGETS]),
    required=True,
    help="Step to begin again with.",
)
@bulk
def rewind(*, program: Program, selection: Selection, to: str, options: BulkOptions) -> None:
    """Put orders back to an earlier step, from where they go on by themselves.

    capture: an order that was cancelled because its payment was given up is reserved again,
    with stock, and its capture is sent. A capture that may have happened is found by its key,
    so no money is taken twice. An order that is short of stock stays as it is. reserve: a
    cancelled order begins anew, as 'ordermq order reopen' has it.

    First it says what will happen outside, and of each order what is undone for it. The
    history keeps everything: a rewind is an event of it. Works in small transactions: an
    interrupted command can be run again. Exit 65 if an order that was named is refused.

    JSON: {in, rewound, unchanged, refused, forecast, seconds, dry_run}; in = rewound +
    unchanged + refused.
    """
    by = actor()

    def work(order_ids: list[str], tx: StoreTransaction) -> list[Rewound]:
        return rewind_orders(order_ids, Step(to), tx, by=by, reason=options.reason)

    session = program.session("ordermq order")
    tally = forecast_and_do(
        session, selection, BulkWork("rewind", work, work, RewindTally, _changed), options
    )
    if selection.order_ids is not None and (refused := tally.counts[RewindOutcome.REFUSED]):
        raise OrderConflict(f"{refused} of {tally.counts.total()} orders cannot be rewound to {to}")


def _changed(conflict: VersionConflict) -> Rewound:
    return Rewound(conflict.order_id, RewindOutcome.REFUSED, str(conflict))

"""``ordermq order rewind``: orders put back to an earlier step, one or many."""

from collections import Counter

import click

from ordermq.cli.operator import actor, ask
from ordermq.cli.options import common, dry_run, rate, reason, summary_as_json, yes
from ordermq.cli.output import note, write, write_json
from ordermq.cli.run import EXIT_CODES
from ordermq.clock import monotonic_s
from ordermq.errors import OrderConflict
from ordermq.shop.cli.passes import Work, over_orders
from ordermq.shop.cli.program import load_shop
from ordermq.shop.cli.selecting import selects
from ordermq.shop.effects import new_forecast
from ordermq.shop.events import Step
from ordermq.shop.rewind import TARGETS, RewindOutcome, Rewound, rewind_orders
from ordermq.shop.selection import Selection
from ordermq.store import Session, StoreTransaction


class RewindTally:
    """What a pass over the orders has put back, or would."""

    def __init__(self) -> None:
        self.counts: Counter[RewindOutcome] = Counter()
        self.forecast = new_forecast()

    def add(self, answers: list[Rewound]) -> None:
        """Count answers."""
        self.counts.update(each.outcome for each in answers)
        self.forecast.add(each.effect for each in answers)

    @property
    def sentence(self) -> str:
        """What will happen, in one sentence."""
        counts = ", ".join(f"{self.counts[each]:,} {each}" for each in RewindOutcome if self.counts[each])
        return f"{self.counts.total():,} orders: {', '.join(self.forecast.parts)}; {counts or 'none'}"


@click.command(
    epilog=f"""\b
Examples:
  ordermq order rewind A-1001 --to capture --reason "the service refused it" --dry-run
  ordermq order rewind --where cancelled --from 2026-01-31T02:00Z \\
      --before 2026-01-31T06:00Z --to capture --reason "the service refused" --yes
  ordermq order rewind A-1001 --to reserve --reason "cancelled by mistake"

{EXIT_CODES}"""
)
@click.argument("order_ids", nargs=-1, metavar="[ID]...")
@selects("--before")
@click.option(
    "--to",
    type=click.Choice([each.value for each in TARGETS]),
    required=True,
    help="Step to begin again with.",
)
@reason
@rate
@yes
@dry_run
@summary_as_json
@common
def rewind(
    *,
    selection: Selection,
    to: str,
    reason: str,
    rate: float,
    yes: bool,
    dry_run: bool,
    as_json: bool,
    config_path: str | None,
) -> None:
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
    session, by = load_shop(config_path).session("ordermq order"), actor()

    def work(order_ids: list[str], tx: StoreTransaction) -> list[Rewound]:
        return rewind_orders(order_ids, Step(to), tx, by=by, reason=reason)

    says = not as_json and (selection.order_ids is not None or dry_run)
    forecast = _pass(session, selection, work, RewindTally(), keeps=False, says=says)
    (note if as_json else write)(forecast.sentence)
    if not dry_run and forecast.counts[RewindOutcome.REWOUND] and selection.order_ids is None:
        ask("Go on?", yes=yes)
    tally, began_s = forecast if dry_run else RewindTally(), monotonic_s()
    try:
        if not dry_run:
            _pass(session, selection, work, tally, keeps=True, says=False, rate=rate)
    finally:  # also if it was interrupted: what was put back was put back
        _summarise(tally, monotonic_s() - began_s, as_json=as_json, dry_run=dry_run)
    if selection.order_ids is not None and (refused := tally.counts[RewindOutcome.REFUSED]):
        raise OrderConflict(f"{refused} of {tally.counts.total()} orders cannot be rewound to {to}")


def _pass(
    session: Session,
    selection: Selection,
    work: Work[Rewound],
    tally: RewindTally,
    *,
    keeps: bool,
    says: bool,
    rate: float = 0.0,
) -> RewindTally:
    label = "rewind" if keeps else "forecast"
    for _, answers in over_orders(session, selection, work, label=label, rate=rate, keeps=keeps):
        tally.add(answers)
        for each in answers if says else ():
            word = "would be rewound" if each.outcome is RewindOutcome.REWOUND else each.outcome.value
            write(f"order {each.order_id}: {word} ({each.note})")
    return tally


def _summarise(tally: RewindTally, seconds: float, *, as_json: bool, dry_run: bool) -> None:
    counts = {each.value: tally.counts[each] for each in RewindOutcome}
    total = tally.counts.total()
    if as_json:
        rest = {"forecast": tally.forecast.document, "seconds": round(seconds, 3), "dry_run": dry_run}
        write_json({"in": total, **counts, **rest})
        return
    parts = " + ".join(f"{word} {count}" for word, count in counts.items())
    write(f"in {total} = {parts}{' (dry run: nothing was changed)' if dry_run else ''}; {seconds:.1f} s")

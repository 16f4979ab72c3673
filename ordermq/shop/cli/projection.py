"""``ordermq projection``: the tables of orders compared with their events, and written anew."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import click

from ordermq.cli.bulk import Pace, batches, taking
from ordermq.cli.operator import actor
from ordermq.cli.options import common, rate
from ordermq.cli.output import write, write_json
from ordermq.cli.program import Program
from ordermq.cli.progress import counting
from ordermq.cli.run import EXIT_CODES
from ordermq.clock import monotonic_s
from ordermq.errors import Contention, OrderNotFound
from ordermq.failpoints import failpoint
from ordermq.shop.cli.selecting import selects
from ordermq.shop.projection import Compared, Difference
from ordermq.shop.rebuild import AT_ONCE, compare_orders, repair_orders
from ordermq.shop.selection import Selection
from ordermq.store import Session

_TRIES = 5  # of a transaction that meets another one's lock


@click.group("projection", epilog=EXIT_CODES)
def command() -> None:
    """Compare the tables of orders with their history, and repair them from it."""


@command.command(
    epilog=f"""\b
Examples:
  ordermq projection rebuild --all --dry-run
  ordermq projection rebuild --all --reason "the fault of 2026-11-01"
  ordermq projection rebuild A-1001 --dry-run --json

{EXIT_CODES}"""
)
@click.argument("order_ids", nargs=-1, metavar="[ID]...")
@selects()
@click.option(
    "--dry-run", "--check", "dry_run", is_flag=True, help="Only compare, and print what differs; exit 1 then."
)
@click.option("--reason", help="Why you do this. It is recorded with your name. Not needed with --dry-run.")
@rate
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines.")
@common
def rebuild(
    *, program: Program, selection: Selection, dry_run: bool, reason: str | None, rate: float, as_json: bool
) -> None:
    """Fold the events of orders, compare their rows with that, and write anew what differs.

    Runs while orders are placed and handled: a row that agrees is only read, and one that differs is
    written under its lock, up to 500 orders in one transaction. docs/audit.md says which columns follow
    from events. What the events cannot repair is printed and stays: exit 1. Interrupted, it has repaired
    whole orders, and can be run again. Exit 75 if a row was locked for too long: run it again.

    JSON lines: {order_id, table, key, column, stored, folded, is_repairable} for each difference, then
    {orders, events, archived, differ, repaired, seconds, dry_run}. Orders whose events are in an archive
    are counted as archived and not compared.
    """
    if not dry_run and not (reason or "").strip():
        raise click.UsageError("say why with --reason, or only compare with --dry-run")
    session, began_s = program.session("ordermq projection"), monotonic_s()
    counts: Counter[str] = Counter()
    differ: list[str] = []
    for found in _compared(session, selection, rate):
        counts.update(
            orders=len(found), events=sum(each.events for each in found),
            archived=sum(each.stored.is_archived for each in found),
        )  # fmt: skip
        for each in found:
            if each.differences:
                differ.append(each.stored.order_id)
                _print(each.differences, as_json=as_json)
    left = len(differ)
    if not dry_run:
        left = _repair(session, differ, Pace(rate), by=actor(), reason=str(reason))
    seconds = round(monotonic_s() - began_s, 3)
    orders, events, archived = counts["orders"], counts["events"], counts["archived"]
    repaired = len(differ) - left
    if as_json:
        write_json({
            "orders": orders, "events": events, "archived": archived, "differ": len(differ),
            "repaired": repaired, "seconds": seconds, "dry_run": dry_run,
        })  # fmt: skip
    else:
        done = " (dry run: nothing was changed)" if dry_run else f", {repaired:,} repaired" * bool(differ)
        what = f"{orders:,} orders with {events:,} events{f', {archived:,} archived' if archived else ''}"
        write(f"{what}: {len(differ):,} differ{done}; {seconds:.1f} s")
    if left:
        raise click.exceptions.Exit(1)


def _compared(session: Session, selection: Selection, rate: float) -> Iterator[list[Compared]]:
    with counting("compare", selection.count(session)) as step:
        for batch in batches(taking(selection.ids(session)), most=AT_ONCE, pace=Pace(rate)):
            with session.transaction() as tx:
                found = compare_orders(batch, tx)
            if missing := set(batch) - {each.stored.order_id for each in found}:
                raise OrderNotFound(f"no order {min(missing)[:80]!r}")
            step(len(batch))
            yield found


def _repair(session: Session, order_ids: Sequence[str], pace: Pace, *, by: str, reason: str) -> int:
    """Repair orders that differed; return how many cannot be."""
    left = 0
    with counting("rebuild", len(order_ids)) as step:
        for batch in batches(taking(order_ids), most=AT_ONCE, pace=pace):
            found = _repair_batch(session, batch, by=by, reason=reason)
            failpoint("projection.after_commit")
            left += sum(not all(one.is_repairable for one in each.differences) for each in found)
            step(len(batch))
    return left


def _repair_batch(session: Session, order_ids: Sequence[str], *, by: str, reason: str) -> list[Compared]:
    """Repair orders in one transaction. Raises Contention if another one keeps a row locked."""
    for left in reversed(range(_TRIES)):
        try:
            with session.transaction() as tx:
                return repair_orders(order_ids, tx, by=by, reason=reason)
        except Contention:
            if not left:
                raise
    raise AssertionError("unreachable")


def _print(differences: Sequence[Difference], *, as_json: bool) -> None:
    for each in differences:
        if as_json:
            write_json({**asdict(each), "is_repairable": each.is_repairable})
            continue
        where = f"{each.table}{f' {each.key}' if each.key else ''}"
        note = "" if each.is_repairable else "; the events cannot repair it"
        write(f"order {each.order_id}: {where}: {_sentence(each)}{note}")


def _sentence(each: Difference) -> str:
    if each.folded is None and each.column == "body":
        return str(each.stored)
    if each.column == "*":
        return "the row is missing" if each.stored is None else "the row should not be there"
    return f"{each.column} is {_text(each.stored)}, by the events {_text(each.folded)}"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "set" if value else "empty"
    if isinstance(value, list):
        return ", ".join(value) or "nothing"
    return "nothing" if value is None else str(value)

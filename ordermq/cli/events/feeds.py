"""``ordermq events feeds`` and ``forget``: what the history is sent to, and how far."""

import click

from ordermq.cli.bulk import commit
from ordermq.cli.operator import actor
from ordermq.cli.options import as_json, common, dry_run, reason
from ordermq.cli.output import write, write_json, write_table
from ordermq.cli.program import Program, load_program
from ordermq.cli.run import EXIT_CODES
from ordermq.errors import UsageError
from ordermq.store import StoreTransaction, actions
from ordermq.store.feed_lag import feeds_now
from ordermq.store.feeds import EVENTS, FeedPlace, forget_feed

_NAME = "ordermq events feeds"


@click.command(
    "feeds",
    epilog=f"""\b
Examples:
  ordermq events feeds
  ordermq events feeds --json | jq 'select(.behind_s > 60)'

{EXIT_CODES}""",
)
@as_json
@common
def list_feeds(*, as_json: bool, config_path: str | None) -> None:
    """List what the history of all events is sent to: the stream, topics of Kafka.

    An archive of orders waits for all of them. Records of the history that are no events count where
    positions are counted, and not where seconds are.

    JSON lines: {feed, next_position, behind, behind_s, refused, holder, last_holder, moved_s}; holder is the
    process that has the lease of the feed, moved_s is seconds ago.
    """
    program = load_program(config_path)
    with program.session(_NAME).transaction() as tx:
        found = feeds_now(tx, program.outward.names)
    if as_json:
        for each in found:
            write_json(each._asdict())
        return
    rows = [
        (each.feed, each.next_position, each.behind, round(each.behind_s), each.refused, each.last_holder,
         f"{each.moved_s:.0f} s ago")
        for each in found
    ]  # fmt: skip
    write_table(
        ("feed", "next position", "positions behind", "seconds behind", "refused", "moved by", "when"), rows
    )


@click.command(
    "forget",
    epilog=f"""\b
Examples:
  ordermq events forget kafka:orders.events --reason "the cluster was given up" --dry-run
  ordermq events forget kafka:orders.events --reason "the cluster was given up"

{EXIT_CODES}""",
)
@click.argument("feed")
@reason
@dry_run
@as_json
@common
def forget(*, feed: str, reason: str, dry_run: bool, as_json: bool, config_path: str | None) -> None:
    """Delete a FEED that nobody wants any more, with what it refused. Archives then wait for it no longer.

    Stop what sends to it first. What sends to it again begins at the first event that there is.

    JSON: {outcome, feed, next_position, refused}.
    """
    program, by = load_program(config_path), actor()
    _check_unused(program, feed)

    def work(tx: StoreTransaction) -> FeedPlace:
        place = forget_feed(tx, feed)
        actions.record(tx, by, "events.forget", [f"feed {feed}"], reason)
        return place

    place = commit(program.session("ordermq events forget"), work, dry_run=dry_run)
    outcome = "would be forgotten" if dry_run else "forgotten"
    if as_json:
        found = {"outcome": outcome, "feed": feed}
        write_json({**found, "next_position": place.next_position, "refused": place.refused})
    else:
        write(f"{outcome}: {feed}, which had everything before position {place.next_position}")


def _check_unused(program: Program, feed: str) -> None:
    """Raise UsageError if a relay of these settings feeds it."""
    if feed == EVENTS and program.settings.topology.events:
        raise UsageError(
            "the relay publishes events: set topology.events = false and restart all relays, then repeat this"
        )

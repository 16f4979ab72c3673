"""``ordermq tail``: what consumers settle, as they do."""

import math
from collections.abc import Iterable
from time import sleep

import click

from ordermq.cli.options import as_json, common, duration, text
from ordermq.cli.output import shortened, write, write_json
from ordermq.cli.pause import check_queue
from ordermq.cli.program import load_program
from ordermq.cli.run import EXIT_CODES
from ordermq.clock import monotonic_s
from ordermq.observe.text import line
from ordermq.store import tail
from ordermq.store.tail import Settled

_LOOK_EVERY_S = 0.5
_LATE = 4000  # numbers by which a row may be seen late


@click.command(
    "tail",
    epilog=f"""\b
Examples:
  ordermq tail
  ordermq tail --queue payment --type CapturePayment
  ordermq tail --correlation-id A-1001 --json | jq -r .outcome
  ordermq tail --for 30s --json > half-a-minute.jsonl

{EXIT_CODES}""",
)
@click.option("--queue", type=text, help="Only messages of this queue.")
@click.option("--type", "type_", type=text, help="Only messages of this type.")
@click.option(
    "--correlation-id", "--order", "correlation_id", type=text, metavar="ID",
    help="Only messages with this correlation id; the shop's is the order.",
)  # fmt: skip
@click.option("--for", "for_s", type=duration, help="Stop after this time. Without it: until interrupted.")
@as_json
@common
def command(
    *, queue: str | None, type_: str | None, correlation_id: str | None, for_s: float | None, as_json: bool,
    config_path: str | None,
) -> None:  # fmt: skip
    """Print each message that a consumer settles, within about 2 seconds, until interrupted.

    Outcomes are done, duplicate, retry, postponed and dead, with the reason. Consumers write
    this down only while somebody looks; of more than 2,000 messages a second of one process
    the newest are shown. Nothing of it is kept. Bodies are not shown.

    JSON lines: one object {settled_at, queue, type, correlation_id, message_id, attempt, hop,
    outcome, reason, process} each.
    """
    program = load_program(config_path)
    if queue is not None:
        check_queue(program, queue)
    session = program.session("ordermq tail")
    with session.transaction() as tx:
        tap_id, start = tail.open_tap(tx, queue), tail.last_settled(tx)
    until_s = math.inf if for_s is None else monotonic_s() + for_s
    feed = Feed(start)
    try:
        while monotonic_s() < until_s:
            with session.transaction() as tx:
                tail.keep_tap_open(tx, tap_id)
                found = tail.read_settled(
                    tx, after=feed.after, queue=queue, type_=type_, correlation_id=correlation_id
                )
            for each in feed.new(found):
                _print(each, as_json=as_json)
            sleep(_LOOK_EVERY_S)
    finally:
        with session.transaction() as tx:
            tail.close_tap(tx, tap_id)


class Feed:
    """Says which of the rows that were read are new. Rows may be seen after others with higher numbers."""

    def __init__(self, start: int) -> None:
        self._start = start
        self._newest = start
        self._seen: set[int] = set()

    @property
    def after(self) -> int:
        """The number above which rows are to be read."""
        return max(self._start, self._newest - _LATE)

    def new(self, rows: Iterable[tuple[int, Settled]]) -> list[Settled]:
        """Return the rows that were not returned before."""
        fresh = [(number, each) for number, each in rows if number not in self._seen]
        self._seen.update(number for number, _ in fresh)
        self._newest = max((number for number, _ in fresh), default=self._newest)
        self._seen = {number for number in self._seen if number > self.after}
        return [each for _, each in fresh]


def _print(each: Settled, *, as_json: bool) -> None:
    if as_json:
        write_json(each._asdict())
        return
    what = f"{each.outcome:9} {each.queue}  {each.type}  {each.correlation_id}  {each.message_id}"
    again = f"  attempt {each.attempt}" if each.attempt > 1 else ""
    why = f"  {shortened(each.reason, 100)}" if each.reason else ""
    write(line(f"{each.settled_at:%H:%M:%S}  {what}{again}{why}"))

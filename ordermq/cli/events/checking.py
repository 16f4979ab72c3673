"""``ordermq events check``: is every event in the stream that the database says was published?"""

from collections.abc import Iterator
from dataclasses import asdict

import click

from ordermq.cli.options import as_json, common
from ordermq.cli.output import write, write_json
from ordermq.cli.program import Program, load_program
from ordermq.cli.progress import Progress, counting
from ordermq.cli.run import EXIT_CODES
from ordermq.events.checking import ExpectedEvent, StreamReport, compare_stream
from ordermq.events.stream import EventLog, ReadEvent
from ordermq.message.cloudevents import event_id
from ordermq.store import Session
from ordermq.store.feeds import EVENTS, FeedPlace, read_feed, refused_positions
from ordermq.store.positions import count_positions, keys_between
from ordermq.topology.names import event_log

_BATCH = 10_000
_IDLE_S = 5.0
_AFTER_S = 0.5
_PREFETCH = 2_000


@click.command(
    epilog=f"""\b
Examples:
  ordermq events check
  ordermq events check --json | jq .missing

{EXIT_CODES}"""
)
@as_json
@common
def check(*, as_json: bool, config_path: str | None) -> None:
    """Compare the stream of events with the database: is one missing, or not the one that was recorded?

    Reads the whole stream, 10,000 events a second or so. The exit code is 1 if an event is missing or wrong.
    Doubles are none of that: a crash publishes events again, under the same ids. What retention has removed
    from the beginning of the stream is not missing.

    JSON: {ok, read, first, last, doubles, missing_count, missing, wrong_count, wrong, behind}.
    """
    program = load_program(config_path)
    session = program.session("ordermq events check")
    with session.transaction() as tx:
        feed, total = read_feed(tx, EVENTS) or FeedPlace(), count_positions(tx)
    stream = event_log(program.settings.topology.prefix)
    end = feed.last_event
    log = EventLog(
        program.settings.broker, stream, start="first", prefetch=_PREFETCH, name="ordermq events check"
    )
    try:
        with counting("positions", end or 0) as step:
            found = _until(log, end, step) if end is not None else iter(())
            report = compare_stream(found, _expected(program, session, -1 if end is None else end))
    finally:
        log.close()
    _print(report, total - feed.next_position, as_json=as_json)
    if not report.is_ok:
        raise click.exceptions.Exit(1)


def _until(log: EventLog, end: int, step: Progress) -> Iterator[ReadEvent]:
    """Yield events up to the one at ``end``, and those before it that follow it: they are there twice.

    Ends too if none comes for a while.
    """
    seen = -1
    while (found := log.read(_IDLE_S if seen < end else _AFTER_S)) is not None:
        position = found.event.position
        if position > end:
            return
        yield found
        step(max(0, position - seen))
        seen = max(seen, position)


def _expected(program: Program, session: Session, end: int) -> Iterator[ExpectedEvent]:
    """Yield what was published, by the database, up to the position ``end``. A refused event was not."""
    outward, begin = program.outward, 0
    while begin <= end:
        until = min(begin + _BATCH, end + 1)
        with session.transaction() as tx:
            keys = keys_between(tx, outward.names, begin, until)
            refused = refused_positions(tx, EVENTS, begin, until)
        for position, source, subject, number in keys:
            if position not in refused:
                yield ExpectedEvent(position, outward.source_of(source), event_id(subject, number))
        begin = until


def _print(report: StreamReport, behind: int, *, as_json: bool) -> None:
    if as_json:
        write_json({"ok": report.is_ok, **asdict(report), "behind": behind})
        return
    for each in report.missing:
        write(f"missing: position {each.position}, {each.source} {each.id}")
    for line in report.wrong:
        write(f"wrong: {line}")
    doubles = f", {report.doubles} of them twice" if report.doubles else ""
    write(f"{report.read} events read{doubles}; {behind} positions are not published yet")
    if report.is_ok:
        write("OK: nothing is missing in the stream")
    else:
        missing, wrong = report.missing_count, report.wrong_count
        write(f"{missing} missing, {wrong} wrong; 'ordermq events rewind' has them published again")

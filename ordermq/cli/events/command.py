"""``ordermq events``: the stream of events, as other systems read it."""

import json
from datetime import datetime
from typing import Any

import click

from ordermq.cli.bulk import commit
from ordermq.cli.events.checking import check
from ordermq.cli.events.feeds import forget, list_feeds
from ordermq.cli.events.forwarding import forward
from ordermq.cli.events.reading import read_events
from ordermq.cli.operator import actor
from ordermq.cli.options import as_json, common, dry_run, reason, text
from ordermq.cli.output import shortened, write, write_json
from ordermq.cli.program import load_program
from ordermq.cli.run import EXIT_CODES
from ordermq.errors import BadInput
from ordermq.events.reader import EventReader
from ordermq.events.stream import Place, ReadEvent, place
from ordermq.message.cloudevents import structured
from ordermq.observe.text import line
from ordermq.store import StoreTransaction, actions
from ordermq.store.feeds import EVENTS, FeedPlace, rewind_feed

_ANSWERS_WITHIN_S = 5.0
_IDLE_S = 0.5


@click.group("events", epilog=EXIT_CODES)
def command() -> None:
    """Read the events of orders as other systems do, or forward them to one.

    The relay publishes them where topology.events is true: docs/events.md.
    """


command.add_command(check)
command.add_command(forward)
command.add_command(list_feeds)
command.add_command(forget)


def _place(_: click.Context, __: click.Parameter, value: str | None) -> Place | None:
    try:
        return None if value is None else place(value)
    except BadInput as exc:
        raise click.BadParameter(str(exc)) from exc


@command.command(
    epilog=f"""\b
Examples:
  ordermq events tail --follow
  ordermq events tail --from first --order A-1001
  ordermq events tail --from 2026-11-01T10:00:00Z --type payment_captured --json
  ordermq events tail --from 125000 --json | jq .data.status

{EXIT_CODES}"""
)
@click.option(
    "--from",
    "start",
    metavar="first|last|next|TIME|OFFSET",
    callback=_place,
    help="Where to begin: TIME as in 2026-11-01T10:42:00Z is when the broker got the event, to within a few;"
    " last is the newest few. Default: first, with --follow next, which is from now on.",
)
@click.option("--type", "type_", type=text, help="Only events of this type.")
@click.option("--order", "--subject", "subject", type=text, metavar="ID", help="Only events of this order.")
@click.option("--follow", is_flag=True, help="Wait for more, until interrupted.")
@as_json
@common
def tail(
    *, start: Place | None, type_: str | None, subject: str | None, follow: bool, as_json: bool,
    config_path: str | None,
) -> None:  # fmt: skip
    """Print events of the stream, each once.

    The user of the broker needs to read the stream and nothing else: 'ordermq topology grants --role events'.

    JSON lines: each event as a CloudEvent in its JSON format, with its offset in the stream as streamoffset.
    """
    begin: Place = start if start is not None else "next" if follow else "first"
    newest = None if follow else _newest(config_path)
    if not follow and newest is None:
        return
    with read_events(begin, config_path=config_path, name="ordermq events tail") as reader:
        while (found := _next(reader, newest)) is not None:
            event = found.event
            if type_ in (None, event.type) and subject in (None, event.subject):
                _print(found, as_json=as_json)


def _newest(config_path: str | None) -> int | None:
    """Return the offset of one of the newest events; None if there is none."""
    with read_events("last", config_path=config_path, name="ordermq events tail") as reader:
        found = reader.read(_ANSWERS_WITHIN_S)
    return None if found is None else found.offset


def _next(reader: EventReader, newest: int | None) -> ReadEvent | None:
    """Return the next event; None if the newest was printed and nothing comes."""
    if newest is None:
        return next(iter(reader), None)
    found = reader.read(
        _IDLE_S if reader.offset is not None and reader.offset >= newest else _ANSWERS_WITHIN_S
    )
    return found


def _print(found: ReadEvent, *, as_json: bool) -> None:
    event = found.event
    if as_json:
        write_json({**json.loads(structured(event)), "streamoffset": found.offset})
        return
    data = shortened(json.dumps(_details(event.data), ensure_ascii=False), 100)
    write(line(f"{event.position:>8}  {_seconds(event.time)}  {event.type:24} {event.subject}  {data}"))


def _details(data: bytes) -> Any:
    document = json.loads(data)
    return document.get("data", document) if isinstance(document, dict) else document


def _seconds(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"


@command.command(
    epilog=f"""\b
Examples:
  ordermq events rewind --to 0 --reason "the stream was lost with its node" --dry-run
  ordermq events rewind --to 125000 --reason "the stream was lost with its node"

{EXIT_CODES}"""
)
@click.option(
    "--to", "position", type=click.IntRange(0), required=True, metavar="POSITION", help="The first position."
)
@reason
@dry_run
@as_json
@common
def rewind(*, position: int, reason: str, dry_run: bool, as_json: bool, config_path: str | None) -> None:
    """Have the relay publish all events from POSITION on again, under the same ids.

    For a stream that was lost or deleted. Whoever has read them sees doubles and leaves them out, by their
    positions or ids. Take a position that no reader is behind, such as 0: a reader cannot see that events
    before it are missing. A position that is not published yet changes nothing.

    JSON: {outcome, position, was_at}.
    """
    program, by = load_program(config_path), actor()

    def work(tx: StoreTransaction) -> FeedPlace:
        before = rewind_feed(tx, EVENTS, position)
        if position < before.next_position:
            actions.record(tx, by, "events.rewind", [f"events {position}"], reason)
        return before

    before = commit(program.session("ordermq events rewind"), work, dry_run=dry_run)
    is_behind = position >= before.next_position
    outcome = "nothing to do" if is_behind else "would be rewound" if dry_run else "rewound"
    if as_json:
        write_json({"outcome": outcome, "position": position, "was_at": before.next_position})
    else:
        write(f"{outcome}: to position {position}; published were those before {before.next_position}")

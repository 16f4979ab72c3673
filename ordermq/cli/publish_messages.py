"""``ordermq-publish messages``: raw messages to the exchange."""

from contextlib import closing, nullcontext
from pathlib import Path

import click

from ordermq.amqp import Publisher, PublishOutcome
from ordermq.cli import options
from ordermq.cli.bulk import Pace
from ordermq.cli.output import note, write, write_json
from ordermq.cli.program import load_program
from ordermq.cli.progress import Input, progress
from ordermq.cli.rejects import RejectsFile, refuse_empty
from ordermq.cli.run import EXIT_CODES
from ordermq.cli.sending import Address, Sender, read_publishings, read_whole
from ordermq.clock import monotonic_s
from ordermq.errors import BadInput, ConnectionLost, OrderMQError, PublishError, PublishReturned


@click.command(
    "messages",
    epilog=f"""\b
Examples:
  ordermq-publish messages reserve.jsonl --routing-key inventory
  ordermq-publish messages body.bin --whole --routing-key inventory --type ReserveStock
  jq -c '.[]' all.json | ordermq-publish messages - --routing-key gifts --message-id-field id

{EXIT_CODES}""",
)
@click.argument("file", metavar="FILE|-")
@click.option("--routing-key", required=True, help="Queue to publish to, as in 'ordermq-consumer --queue'.")
@click.option("--type", "type_", help="Message type; not needed for a queue that takes one without.")
@click.option("--message-id-field", metavar="NAME", help="Field of the body that holds the message_id.")
@click.option("--whole", is_flag=True, help="The file is one message, byte for byte.")
@options.rate
@options.rejects
@options.strict
@options.dry_run
@options.summary_as_json
@options.common
def command(
    *,
    file: str,
    routing_key: str,
    type_: str | None,
    message_id_field: str | None,
    whole: bool,
    rate: float,
    rejects_path: Path,
    strict: bool,
    dry_run: bool,
    as_json: bool,
    config_path: str | None,
) -> None:
    """Publish each line of FILE, a JSON document, to the exchange, and wait for the confirms.

    Without --message-id-field the id of a message is made from its bytes: consumers
    handle a file that was published twice only once. A gzipped FILE is checked before the
    first message is sent; a pipe cannot be. Lines that are not JSON, and
    messages that the broker does not confirm, go to the rejects file. Exit 69 if a
    message reached no queue, 75 if one was not confirmed: run the command again.

    JSON: {in, confirmed, returned, nacked, refused, unsent, unknown, rejected, rejects, seconds, dry_run}.
    """
    settings = load_program(config_path).settings
    address = Address.of(settings, routing_key, type_, message_id_field)
    publisher = None if dry_run else Publisher(settings.broker, name="ordermq-publish")
    began_s = monotonic_s()
    stopped: BaseException | None = None
    with Input(file) as source, closing(RejectsFile(rejects_path, source)) as rejects:
        found = (read_whole if whole else read_publishings)(source, address)
        sender = Sender(publisher.publish_many if publisher else None, rejects=rejects, pace=Pace(rate))
        try:
            if not whole:
                source.check()
            with publisher or nullcontext(), progress(source) as step:
                sender.send(found, step)
        except (BadInput, ConnectionLost, KeyboardInterrupt) as exc:
            stopped = exc
    if isinstance(stopped, BadInput) and sender.read == 0:
        raise stopped
    _summarise(sender, rejects, monotonic_s() - began_s, as_json=as_json, dry_run=dry_run)
    for failure in (publisher.failure, publisher.refusal) if publisher is not None else ():
        if isinstance(failure, OrderMQError):
            raise failure
    if stopped is not None:
        note(f"stopped after line {sender.line}; run it again: consumers handle a repeated message once")
        raise stopped
    _judge(sender, rejects, strict=strict)


def _summarise(sender: Sender, rejects: RejectsFile, seconds: float, *, as_json: bool, dry_run: bool) -> None:
    where = str(rejects.path) if rejects.count else None
    counts = {each.value: sender.outcomes[each] for each in PublishOutcome} | {"rejected": sender.rejected}
    if as_json:
        write_json(
            {"in": sender.read, **counts, "rejects": where, "seconds": round(seconds, 3), "dry_run": dry_run}
        )
        return
    parts = [f"{name} {count}" for name, count in counts.items() if count]
    write(
        f"in {sender.read} = {' + '.join(parts) or '0'}{' (dry run: nothing was sent)' if dry_run else ''};"
        f" {seconds:.1f} s, {sender.read / max(seconds, 0.001):.0f}/s"
    )
    for text in rejects.summary():
        write(text)


def _judge(sender: Sender, rejects: RejectsFile, *, strict: bool) -> None:
    """Raise the error that the outcomes mean for the command."""
    outcomes = sender.outcomes
    unconfirmed = (PublishOutcome.NACKED, PublishOutcome.UNKNOWN, PublishOutcome.UNSENT)
    if lost := sum(outcomes[each] for each in unconfirmed):
        raise PublishError(
            f"{lost} messages were not confirmed; run the same command again (see {rejects.path})"
        )
    if returned := outcomes[PublishOutcome.RETURNED]:
        raise PublishReturned(
            f"{returned} messages matched no queue; is the routing key right, and was"
            " 'ordermq topology apply' run?"
        )
    refuse_empty(sender.read, rejects.source, strict=strict)
    bad = sender.rejected + outcomes[PublishOutcome.REFUSED]
    if bad and (strict or bad == sender.read):
        raise BadInput(f"{bad} of {sender.read} messages were rejected; see {rejects.path}")

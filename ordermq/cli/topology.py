"""``ordermq topology``: what must exist on the broker. Its user needs the configure permission."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from threading import Event

import click

from ordermq.amqp import ConnectionManager
from ordermq.amqp import apply as declare
from ordermq.amqp import verify as compare
from ordermq.cli.granting import topology_grants
from ordermq.cli.options import as_json, common, dry_run
from ordermq.cli.output import note, write, write_json
from ordermq.cli.program import load_program
from ordermq.cli.run import EXIT_CODES
from ordermq.config.settings import BrokerSettings
from ordermq.topology import Topology

GIVE_UP_AFTER_S = 10.0


@click.group("topology", epilog=EXIT_CODES)
def command() -> None:
    """Create or check exchanges, queues and bindings; say what each user needs."""


command.add_command(topology_grants)


@command.command(
    epilog=f"""\b
Examples:
  ordermq topology apply --dry-run
  ordermq topology apply

{EXIT_CODES}"""
)
@dry_run
@common
def apply(dry_run: bool, config_path: str | None) -> None:
    """Declare what is missing. Nothing is changed or deleted; safe to repeat.

    The queues are those of the modules' handlers and of topology.queues. Exit 1 if
    something exists with other arguments.
    """
    program = load_program(config_path)
    topology = program.topology()
    if dry_run:
        for line in _lines(topology):
            write(f"would declare {line}")
        return
    with _connected(program.settings.broker) as connection:
        for each in declare(connection, topology):
            word = "bound" if each.created is None else "created" if each.created else "exists"
            write(f"{word:8}{each.kind} {each.name}")


@command.command(
    epilog=f"""\b
Examples:
  ordermq topology verify
  ordermq topology verify --json

{EXIT_CODES}"""
)
@as_json
@common
def verify(as_json: bool, config_path: str | None) -> None:
    """Compare the broker with what should exist. Creates nothing; exit 1 if they differ.

    Bindings and policies are read through the management API (topology.management_url). JSON:
    {differences: [...], not_checked: [...]}.
    """
    program = load_program(config_path)
    with _connected(program.settings.broker) as connection:
        found = compare(
            connection, program.topology(), management_url=program.settings.topology.management_url
        )
    if as_json:
        write_json({"differences": found.differences, "not_checked": found.not_checked})
    else:
        for line in found.differences:
            write(line)
        for line in found.not_checked:
            note(f"not checked: {line}")
        if not found.differences:
            write("the broker has everything as it should be")
    if found.differences:
        raise click.exceptions.Exit(1)


@contextmanager
def _connected(settings: BrokerSettings) -> Iterator[ConnectionManager]:
    # A person waits for this command, so it gives up sooner than a process that serves.
    settings = replace(settings, give_up_after_s=min(settings.give_up_after_s, GIVE_UP_AFTER_S))
    connection = ConnectionManager(settings, name="ordermq topology")
    try:
        connection.connect(Event())
        yield connection
    finally:
        connection.close()


def _lines(topology: Topology) -> Iterator[str]:
    for exchange in topology.exchanges:
        yield f"exchange {exchange.name} ({exchange.type})"
    for queue in topology.queues:
        yield f"queue {queue.name} ({queue.type})"
    for binding in topology.bindings:
        yield f"binding {binding.exchange} -[{binding.routing_key}]-> {binding.queue}"

"""``ordermq-consumer``: a process that works one queue."""

import os
import re
import secrets
import socket
from typing import NoReturn

import click

from ordermq.cli.metering import ConnectionMeter
from ordermq.cli.options import common
from ordermq.cli.process import serving
from ordermq.cli.program import load_program
from ordermq.cli.run import EXIT_CODES
from ordermq.cli.run import main as run_main
from ordermq.consumer.runtime import Consumer
from ordermq.lifecycle import hold_signals
from ordermq.topology.names import DEAD

_INSTANCE = re.compile(r"[A-Za-z0-9_-]{1,20}")


@click.command(
    epilog=f"""\b
Examples:
  ordermq-consumer --queue inventory
  ordermq-consumer --queue payment:2 --threads 16 --log-format text
  ORDERMQ_MODULES=myshop.gifts ordermq-consumer --queue gifts

\b
SIGTERM or SIGINT: take no more, finish what runs, give back the rest, exit 0;
a second signal ends the process at once, which loses nothing either.

{EXIT_CODES}"""
)
@click.option(
    "--queue", required=True, metavar="QUEUE[:N]", help="Queue to work; N tells its consumers apart in logs."
)
@click.option("--threads", type=int, help="Worker threads (consumer.threads).")
@click.option("--prefetch", type=int, help="Deliveries held unacked (consumer.prefetch).")
@click.option("--batch", type=int, help="Largest batch (consumer.batch).")
@click.option("--log-format", type=click.Choice(["json", "text"]), help="Of the logs on stderr.")
@common
def command(
    *,
    queue: str,
    threads: int | None,
    prefetch: int | None,
    batch: int | None,
    log_format: str | None,
    config_path: str | None,
) -> None:
    """Work the messages of one queue until told to stop.

    The queue named dead holds what the broker dead-letters; its consumer keeps that in
    the database ('ordermq dead list').

    Connects, checks the tables, subscribes, and reconnects by itself for as long as
    broker.give_up_after_s allows. /metrics, /healthz and /readyz are on
    observe.http_port. Several consumers may work the same queue.
    """
    name, colon, instance = queue.partition(":")
    if colon and not _INSTANCE.fullmatch(instance):
        raise click.UsageError(f"--queue {queue!r} is not QUEUE or QUEUE:N")
    hold_signals()
    flags = {
        "consumer.threads": threads,
        "consumer.prefetch": prefetch,
        "consumer.batch": batch,
        "observe.log_format": log_format,
    }
    program = load_program(config_path, flags)
    if name != DEAD:
        program.registry.of_queue(name)
    with serving(program, f"ordermq-consumer@{queue}") as process:
        consumer = Consumer(
            name,
            program.registry,
            program.settings,
            config=program.loaded,
            owner=_owner(instance),
            health=process.health,
            on_connection=ConnectionMeter("consumer"),
        )
        process.serve(consumer)


def main() -> NoReturn:
    run_main(command, "ordermq-consumer")


def _owner(instance: str | None) -> str:
    """Return what names this process in leases, the broker's lists and PostgreSQL's."""
    # The token tells it from an earlier process of the same pid, as in a container that was restarted.
    owner = f"{socket.gethostname()[:64]}:{os.getpid()}:{secrets.token_hex(4)}"
    return f"{owner}:{instance}" if instance else owner

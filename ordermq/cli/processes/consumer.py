"""``ordermq-consumer``: a process that handles the messages of one queue."""

import os
import re
import secrets
import socket
from typing import NoReturn

import click

from ordermq.cli.options import common
from ordermq.cli.processes.metering import ConnectionMeter
from ordermq.cli.processes.process import serving
from ordermq.cli.processes.topology_check import checking_topology
from ordermq.cli.program import load_program
from ordermq.cli.run import EXIT_CODES
from ordermq.cli.run import main as run_main
from ordermq.consumer.runtime import Consumer
from ordermq.lifecycle import hold_signals
from ordermq.topology.names import DEAD, queue_name

_INSTANCE = re.compile(r"[A-Za-z0-9_-]{1,20}")


@click.command(
    epilog=f"""\b
Examples:
  ordermq-consumer --queue inventory
  ordermq-consumer --queue payment:2 --threads 16 --log-format text
  ORDERMQ_MODULES=myshop.gifts ordermq-consumer --queue gifts

\b
SIGTERM or SIGINT: take no more messages, finish the handlers that run, give the other
messages back, exit 0. A second signal ends the process at once; nothing is lost then either.

{EXIT_CODES}"""
)
@click.option(
    "--queue",
    required=True,
    metavar="QUEUE[:N]",
    help="Queue to consume. N tells consumers of one queue apart in logs.",
)
@click.option("--threads", type=int, help="Number of worker threads (consumer.threads).")
@click.option("--prefetch", type=int, help="Most deliveries held unacknowledged (consumer.prefetch).")
@click.option("--batch", type=int, help="Largest batch (consumer.batch).")
@click.option("--log-format", type=click.Choice(["json", "text"]), help="Format of the log lines on stderr.")
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
    """Handle the messages of one queue until a signal stops the process.

    The queue named dead holds the messages that the broker dead-letters. Its consumer stores
    them in the database; see 'ordermq dead list'.

    Checks the tables, connects and subscribes. Reconnects by itself until the connection was
    down for broker.give_up_after_s. Serves /metrics, /healthz and /readyz on
    observe.http_port. Several consumers may handle one queue.
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
            program.registry.bound_to(program.loaded),
            program.settings,
            config=program.loaded,
            owner=process_name(instance),
            health=process.health,
            on_connection=ConnectionMeter("consumer"),
        )
        wanted = program.topology().of_queue(queue_name(program.settings.topology.prefix, name))
        with checking_topology(program, wanted):
            process.serve(consumer, consumer.reload)


def main() -> NoReturn:
    run_main(command, "ordermq-consumer")


def process_name(instance: str | None) -> str:
    """Return the name of this process in leases, in the table of processes and in the broker's lists."""
    # The token tells this process from an earlier one with the same pid, as in a restarted container.
    owner = f"{socket.gethostname()[:64]}:{os.getpid()}:{secrets.token_hex(4)}"
    return f"{owner}:{instance}" if instance else owner

"""``ordermq-relay``: the process that publishes the rows of the outbox."""

from typing import NoReturn

import click

from ordermq.amqp import Publisher
from ordermq.cli.events.publishing import publishing_events
from ordermq.cli.options import common
from ordermq.cli.processes.consumer import process_name
from ordermq.cli.processes.metering import (
    ConnectionMeter,
    NumberingMeter,
    PublishMeter,
    RelayReporter,
    TableMeter,
)
from ordermq.cli.processes.process import serving
from ordermq.cli.processes.queue_watch import watching_queues
from ordermq.cli.processes.table_gauges import feeds_of, numbering_of
from ordermq.cli.processes.topology_check import checking_topology
from ordermq.cli.program import load_program
from ordermq.cli.run import EXIT_CODES
from ordermq.cli.run import main as run_main
from ordermq.lifecycle import hold_signals
from ordermq.message.signing import signer_of
from ordermq.relay import Relay
from ordermq.store.numbering import Sequencer


@click.command(
    epilog=f"""\b
Examples:
  ordermq-relay
  ordermq-relay --config /etc/ordermq/ordermq.toml --log-format text

\b
SIGTERM or SIGINT: wait for the confirms of published messages, exit 0. A second signal
ends the process at once. Messages that were not confirmed are published again later.

{EXIT_CODES}"""
)
@click.option("--log-format", type=click.Choice(["json", "text"]), help="Format of the log lines on stderr.")
@common
def command(log_format: str | None, config_path: str | None) -> None:
    """Publish the rows of the outbox until a signal stops the process.

    Any number of relays may run: one is active, the others stand by and take over when it ends.
    """
    hold_signals()
    program = load_program(config_path, {"observe.log_format": log_format})
    settings = program.settings
    with serving(program, "ordermq-relay") as process:
        publisher = Publisher(
            settings.broker,
            name="ordermq-relay",
            on_state=ConnectionMeter("relay", process.health),
            observer=PublishMeter(),
        )
        reporter = RelayReporter(process_name(None))
        topology = program.topology()
        sequencer = Sequencer()
        gauges = (numbering_of(sequencer), feeds_of(program.outward.names), *program.gauges)
        with (
            publisher,
            checking_topology(program, topology),
            watching_queues(program) as watch,
            publishing_events(program) as events,
        ):
            process.serve(
                Relay(
                    publisher,
                    settings.database,
                    settings.relay,
                    exchange=settings.topology.prefix,
                    health=process.health,
                    signer=signer_of(settings.message),
                    meter=NumberingMeter(
                        TableMeter(
                            gauges,
                            program.loaded,
                            reporter,
                            watch,
                            every_s=settings.observe.tables_every_s,
                        ),
                        sequencer,
                        events,
                    ),
                )
            )
            reporter.forget(program.session("ordermq-relay"))


def main() -> NoReturn:
    run_main(command, "ordermq-relay")

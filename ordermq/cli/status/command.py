"""``ordermq status``: how everything is, on one screen."""

from time import sleep

import click

from ordermq.cli.options import as_json, common, duration
from ordermq.cli.output import write_json
from ordermq.cli.program import load_program
from ordermq.cli.run import EXIT_CODES
from ordermq.cli.status.screen import draw
from ordermq.cli.status.snapshot import looking


@click.command(
    "status",
    epilog=f"""\b
Examples:
  ordermq status
  ordermq status --watch
  ordermq status --json | jq '.queues[] | select(.ready > 1000)'

{EXIT_CODES}""",
)
@click.option("--watch", is_flag=True, help="Look again and again, until interrupted.")
@click.option("--every", type=duration, default="2s", show_default=True, help="Time between two looks.")
@as_json
@common
def command(*, watch: bool, every: float, as_json: bool, config_path: str | None) -> None:
    """Show queues, processes, outbox, pauses, limits, breakers, dead letters, and feeds of events.

    Each module adds its own lines. A process says every 5 seconds what it does; one that was
    not seen for 20 seconds has died, or has lost the database. What cannot be learnt is
    named: rates in and alarms need topology.management_url.

    JSON lines: one object {at, queues, processes, outbox, paused, limits, dead_letters, feeds,
    modules, alarms, notes} for each look; times that end in _s are seconds ago.
    """
    with looking(load_program(config_path)) as looker:
        while True:
            snapshot = looker.look()
            if as_json:
                write_json(snapshot.document())
            else:
                if watch:
                    click.clear()
                draw(snapshot)
            if not watch:
                return
            sleep(max(0.2, every))

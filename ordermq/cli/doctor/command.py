"""``ordermq doctor``: is everything around ordermq as it must be, and what to do where it is not."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict

import click

from ordermq.cli.doctor.broker import check_broker
from ordermq.cli.doctor.checks import check_database, check_machine
from ordermq.cli.doctor.finding import Finding, Level
from ordermq.cli.doctor.signing import check_signing
from ordermq.cli.doctor.tls import check_certificates
from ordermq.cli.options import as_json, common
from ordermq.cli.output import shortened, write, write_json
from ordermq.cli.program import Program, load_program
from ordermq.cli.run import EXIT_CODES


@click.command(
    "doctor",
    epilog=f"""\b
Examples:
  ordermq doctor
  ordermq doctor --json | jq -r 'select(.level == "fail") | .text'

{EXIT_CODES}""",
)
@as_json
@common
def command(*, as_json: bool, config_path: str | None) -> None:
    """Check broker, database, processes, certificates and this machine; change nothing.

    Each line is ok, warn, fail or unknown, with what to do. Exit 1 if any fails. What cannot
    be learnt, as without topology.management_url, is said and fails nothing.

    JSON lines: one object {area, check, level, text, todo} each.
    """
    counts: Counter[Level] = Counter()
    for finding in _findings(load_program(config_path)):
        counts[finding.level] += 1
        if as_json:
            write_json(asdict(finding))
        else:
            _write(finding)
    if not as_json:
        write(", ".join(f"{counts[level]} {level}" for level in Level))
    if counts[Level.FAIL]:
        raise click.exceptions.Exit(1)


def _findings(program: Program) -> Iterator[Finding]:
    yield from check_broker(program)
    yield from check_database(program)
    yield from check_signing(program)
    yield from check_certificates(program)
    yield from check_machine(program)


def _write(finding: Finding) -> None:
    write(f"{finding.level:8}{finding.area:13}{finding.check}: {shortened(finding.text, 300)}")
    if finding.todo and finding.level is not Level.OK:
        write(f"{'':21}-> {finding.todo}")

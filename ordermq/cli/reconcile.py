"""``ordermq reconcile``: does everything agree?"""

from dataclasses import asdict

import click

from ordermq.cli.options import as_json, common
from ordermq.cli.output import shortened, write, write_json
from ordermq.cli.program import load_program
from ordermq.cli.run import EXIT_CODES
from ordermq.store.checks import reconcile


@click.command(
    "reconcile",
    epilog=f"""\b
Examples:
  ordermq reconcile
  ordermq reconcile --without-gateways
  ordermq reconcile --json | jq '.checks[] | select(.wrong > 0)'

{EXIT_CODES}""",
)
@click.option(
    "--without-gateways",
    is_flag=True,
    help="Leave out the checks that ask services outside, such as a payment service.",
)
@as_json
@common
def command(without_gateways: bool, as_json: bool, config_path: str | None) -> None:
    """Check that nothing was lost, doubled or forgotten; exit 1 if something was.

    Makes the checks of the framework (outbox, leases, starts, inbox, dead letters) and those
    that the modules bring; the shop compares orders, history, stock, payments and
    messages with each other and with the services' own books. Made for a system at
    rest: what is under way is reported.

    JSON: one object {ok, checks: [{name, wrong, offenders, note}]}.
    """
    program = load_program(config_path)
    report = reconcile(
        program.session("ordermq reconcile"),
        [check for module in program.modules for check in module.load_each("checks")],
        program.loaded,
        ask_services=not without_gateways,
    )
    if as_json:
        write_json({"ok": report.is_ok, "checks": [asdict(each) for each in report.checks]})
    else:
        for check in report.checks:
            verdict = "ok" if check.is_ok else f"{check.wrong} WRONG"
            write(f"{check.name:33}{verdict:12}{shortened(check.note, 100)}".rstrip())
            for offender in check.offenders:
                write(f"    {shortened(offender, 200)}")
            if check.wrong > len(check.offenders):
                write(f"    and {check.wrong - len(check.offenders)} more")
        write(f"reconcile: {'OK' if report.is_ok else 'FAILED'}")
    if not report.is_ok:
        raise click.exceptions.Exit(1)

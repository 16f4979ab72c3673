"""``ordermq reconcile``: does everything agree?"""

from dataclasses import asdict, replace

import click

from ordermq.cli.operator import actor
from ordermq.cli.options import as_json, common, dry_run, reason
from ordermq.cli.output import shortened, write, write_json
from ordermq.cli.program import Program, load_program
from ordermq.cli.run import EXIT_CODES
from ordermq.cli.runs import note_runs
from ordermq.errors import BadInput, UsageError
from ordermq.store import actions
from ordermq.store.checks import ACKNOWLEDGE, Check, ReconcileReport, reconcile
from ordermq.store.runs import RECONCILE, RECONCILE_OK

SHOWN = 20  # lines of each check

_without_gateways = click.option(
    "--without-gateways",
    is_flag=True,
    help="Leave out the checks that ask services outside, such as a payment service.",
)


@click.group(
    "reconcile",
    invoke_without_command=True,
    epilog=f"""\b
Examples:
  ordermq reconcile
  ordermq reconcile --without-gateways
  ordermq reconcile --json | jq '.checks[] | select(.wrong > 0)'
  ordermq reconcile acknowledge payment_books_agree A-1001 --reason "charged back"

{EXIT_CODES}""",
)
@_without_gateways
@as_json
@common
@click.pass_context
def command(
    context: click.Context, *, without_gateways: bool, as_json: bool, config_path: str | None
) -> None:
    """Check that nothing was lost, doubled or forgotten; exit 1 if something was.

    Makes the checks of the framework (outbox, leases, starts, inbox, dead letters) and those
    that the modules bring; the shop compares orders, history, stock, payments and
    messages with each other and with the services' own books. Made for a system at
    rest: what is under way is reported.

    JSON: one object {ok, checks: [{name, wrong, offenders, note}]}.
    """
    if context.invoked_subcommand is not None:
        return
    report = _report(load_program(config_path), without_gateways=without_gateways)
    if as_json:
        shown = [replace(each, offenders=each.offenders[:SHOWN]) for each in report.checks]
        write_json({"ok": report.is_ok, "checks": [asdict(each) for each in shown]})
    else:
        for check in report.checks:
            verdict = "ok" if check.is_ok else f"{check.wrong} WRONG"
            write(f"{check.name:33}{verdict:12}{shortened(check.note, 100)}".rstrip())
            for offender in check.offenders[:SHOWN]:
                write(f"    {shortened(offender, 200)}")
            if check.wrong > SHOWN:
                write(f"    and {check.wrong - SHOWN} more")
        write(f"reconcile: {'OK' if report.is_ok else 'FAILED'}")
    if not report.is_ok:
        raise click.exceptions.Exit(1)


@command.command(
    epilog=f"""\b
Examples:
  ordermq reconcile acknowledge payment_books_agree A-1001 --reason "charged back" --dry-run
  ordermq reconcile acknowledge captures_belong_to_orders A-7 A-8 --reason "lost, refunded"
  ordermq reconcile acknowledge payment_books_agree --all --reason "the test shop's, deleted"

{EXIT_CODES}"""
)
@click.argument("check")
@click.argument("offenders", nargs=-1, metavar="[OFFENDER]...")
@click.option("--all", "takes_all", is_flag=True, help="Every line of CHECK, printed or not.")
@_without_gateways
@reason
@dry_run
@common
def acknowledge(
    *,
    check: str,
    offenders: tuple[str, ...],
    takes_all: bool,
    without_gateways: bool,
    reason: str,
    dry_run: bool,
    config_path: str | None,
) -> None:
    """Say that OFFENDERs of CHECK are known, so that reconcile counts them no more.

    An OFFENDER is a line that reconcile prints below the check, or its part before the colon,
    such as an order's id; one of the lines that are only counted ("and 7 more") will do too.
    What is acknowledged is that line: if it changes, reconcile counts it again. It is recorded with
    your name and the reason, see 'ordermq actions'. Exit 65 if reconcile finds no such line now.
    Of each check the first 1,000 lines can be acknowledged at once; then run it again.
    """
    if takes_all == bool(offenders):
        raise UsageError("name the OFFENDERs, or all of the check's by --all")
    program = load_program(config_path)
    report = _report(program, without_gateways=without_gateways)
    found = next((each for each in report.checks if each.name == check), None)
    if found is None:
        raise BadInput(f"reconcile makes no check {check[:80]!r}")
    chosen = list(found.offenders) if takes_all else _chosen(found, set(offenders))
    with program.session("ordermq reconcile").transaction(dry_run=dry_run) as tx:
        actions.record(tx, actor(), ACKNOWLEDGE, [f"{check} {line}" for line in chosen], reason)
    for line in chosen:
        write(f"{check} {'would be' if dry_run else 'is'} acknowledged: {shortened(line, 200)}")


def _chosen(check: Check, wanted: set[str]) -> list[str]:
    chosen = [line for line in check.offenders if {line, line.partition(":")[0]} & wanted]
    if missing := wanted - {part for line in chosen for part in (line, line.partition(":")[0])}:
        raise BadInput(f"reconcile finds no {min(missing)[:80]!r} of {check.name!r}")
    return chosen


def _report(program: Program, *, without_gateways: bool) -> ReconcileReport:
    session = program.session("ordermq reconcile")
    report = reconcile(
        session,
        [check for module in program.modules for check in module.load_each("checks")],
        program.loaded,
        ask_services=not without_gateways,
    )
    note_runs(session, *((RECONCILE, RECONCILE_OK) if report.is_ok else (RECONCILE,)))
    return report

"""``ordermq reconcile``: does everything agree?"""

from dataclasses import asdict

import click

from ordermq.cli.options import as_json, common
from ordermq.cli.output import shortened, write, write_json
from ordermq.cli.run import EXIT_CODES
from ordermq.shop.cli.program import load_shop
from ordermq.shop.gateways import PaymentGateway, SmsGateway
from ordermq.shop.reconcile import reconcile
from ordermq.shop.settings import SECTION, ShopSettings


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
    "--without-gateways", is_flag=True, help="Leave out what only the payment and SMS services can tell."
)
@as_json
@common
def command(without_gateways: bool, as_json: bool, config_path: str | None) -> None:
    """Check that no order was lost, doubled or forgotten; exit 1 if one was.

    Compares orders, history, stock, payments and messages with each other and with
    the gateways' own books. For a system at rest: orders under way are reported.

    JSON: one object {ok, checks: [{name, wrong, offenders, note}]}.
    """
    program = load_shop(config_path)
    shop: ShopSettings = program.loaded.section(SECTION)
    report = reconcile(
        program.session("ordermq reconcile"),
        ledger=None if without_gateways else PaymentGateway.from_settings(shop).ledger(),
        texts=None if without_gateways else SmsGateway.from_settings(shop).sent(),
    )
    if as_json:
        write_json({"ok": report.is_ok, "checks": [asdict(each) for each in report.checks]})
    else:
        for check in report.checks:
            verdict = "ok" if check.is_ok else f"{check.wrong} WRONG"
            write(f"{check.name:33}{verdict:12}{shortened(check.note, 100)}".rstrip())
            for offender in check.offenders:
                write(f"    {shortened(offender, 200)}")
        write(f"reconcile: {'OK' if report.is_ok else 'FAILED'}")
    if not report.is_ok:
        raise click.exceptions.Exit(1)

"""``ordermq db``: the tables of the framework and of the modules."""

import click

from ordermq.cli.granting import db_grants
from ordermq.cli.options import as_json, common, dry_run
from ordermq.cli.output import write, write_json, write_table
from ordermq.cli.program import load_program
from ordermq.cli.pruning import prune
from ordermq.cli.run import EXIT_CODES
from ordermq.store import migrate as migrations


@click.group("db", epilog=EXIT_CODES)
def command() -> None:
    """Create or update the tables of the database; delete old rows; say what each role needs."""


command.add_command(prune)
command.add_command(db_grants)


@command.command(
    epilog=f"""\b
Examples:
  ordermq db migrate --dry-run
  ordermq db migrate

{EXIT_CODES}"""
)
@dry_run
@common
def migrate(dry_run: bool, config_path: str | None) -> None:
    """Apply every missing migration of the framework and of the modules. Safe to repeat.

    One process works at a time; others wait. --dry-run marks migrations that are not safe
    while old code runs: stop the consumers before you apply those.
    """
    program = load_program(config_path)
    session = program.session("ordermq db")
    if dry_run:
        todo = [
            each.migration for each in migrations.status(session, program.migrations) if not each.is_applied
        ]
    else:
        todo = migrations.migrate(session, program.migrations)
    new = {each.scope for each in todo if each.number == 1}  # no old code runs on a scope that begins here
    for each in todo:
        unsafe = "" if each.is_safe_online or each.scope in new else "  (not safe while old code runs)"
        write(f"{'would apply' if dry_run else 'applied'} {each.scope} {each.number:04} {each.name}{unsafe}")
    if not todo:
        write("nothing to apply")


@command.command(
    epilog=f"""\b
Examples:
  ordermq db status
  ordermq db status --json

{EXIT_CODES}"""
)
@as_json
@common
def status(as_json: bool, config_path: str | None) -> None:
    """List all migrations; exit 1 if one is missing.

    JSON: one array of {scope, number, name, applied}.
    """
    program = load_program(config_path)
    found = migrations.status(program.session("ordermq db"), program.migrations)
    if as_json:
        write_json(
            [
                {
                    "scope": each.migration.scope,
                    "number": each.migration.number,
                    "name": each.migration.name,
                    "applied": each.is_applied,
                }
                for each in found
            ]
        )
    else:
        rows = [
            (
                each.migration.scope,
                f"{each.migration.number:04}",
                each.migration.name,
                "applied" if each.is_applied else "missing",
            )
            for each in found
        ]
        write_table(("scope", "number", "name", "state"), rows)
    if not all(each.is_applied for each in found):
        raise click.exceptions.Exit(1)

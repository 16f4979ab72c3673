"""``ordermq config``: what is set, and by whom."""

import click

from ordermq.cli.options import as_json, common
from ordermq.cli.output import write, write_json
from ordermq.cli.program import load_program
from ordermq.cli.run import EXIT_CODES
from ordermq.config import describe


@click.group("config", epilog=EXIT_CODES)
def command() -> None:
    """Show the settings in force and where each comes from."""


@command.command(
    epilog=f"""\b
Examples:
  ordermq config show
  ordermq config show --config /etc/ordermq/ordermq.toml broker
  ordermq config show --json | jq '.[] | select(.origin != "default")'

{EXIT_CODES}"""
)
@click.argument("sections", nargs=-1, metavar="[SECTION]...")
@as_json
@common
def show(sections: tuple[str, ...], as_json: bool, config_path: str | None) -> None:
    """Print every setting, or those of SECTION: value, unit and origin; secrets as ***.

    JSON: one array of {key, value, unit, origin, doc}; values as TOML writes them.
    """
    rows = describe(load_program(config_path).loaded)
    known = list(dict.fromkeys(row.key.partition(".")[0] for row in rows))
    if unknown := set(sections) - set(known):
        raise click.UsageError(f"no section {min(unknown)!r}; there are: {', '.join(known)}")
    chosen = [row for row in rows if not sections or row.key.partition(".")[0] in sections]
    if as_json:
        write_json(
            [
                {
                    "key": row.key,
                    "value": row.value,
                    "unit": row.unit,
                    "origin": row.origin,
                    "doc": row.doc,
                }
                for row in chosen
            ]
        )
        return
    for row in chosen:
        unit = f" {row.unit}" if row.unit else ""
        write(f"{row.key} = {row.value}{unit}  ({row.origin})")

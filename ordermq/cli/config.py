"""``ordermq config``: the settings in force, and texts about all settings."""

import click

from ordermq.cli.modules import DEFAULTS
from ordermq.cli.options import as_json, common
from ordermq.cli.output import write, write_json
from ordermq.cli.run import EXIT_CODES
from ordermq.cli.settings import load_settings
from ordermq.config import describe
from ordermq.config import example as example_file
from ordermq.config import reference as reference_page


@click.group("config", epilog=EXIT_CODES)
def command() -> None:
    """Show the settings in force, their origins, and what can be set."""


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
    """Print every setting, or those of SECTION: value, unit and origin. Secrets are shown as ***.

    JSON: one array of {key, value, unit, origin, doc}; values are written as in TOML.
    """
    rows = describe(load_settings(config_path)[0])
    known = list(dict.fromkeys(row.key.partition(".")[0] for row in rows))
    if unknown := set(sections) - set(known):
        raise click.UsageError(f"there is no section {min(unknown)!r}; there are: {', '.join(known)}")
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


@command.command(
    epilog=f"""\b
Examples:
  ordermq config example > ordermq.toml
  ORDERMQ_MODULES=myshop.gifts ordermq config example > ordermq.toml

{EXIT_CODES}"""
)
@common
def example(config_path: str | None) -> None:
    """Print a settings file: every setting of framework and modules, its default commented out."""
    write(example_file(_sections(config_path), DEFAULTS).rstrip("\n"))


@command.command(
    epilog=f"""\b
Examples:
  ordermq config reference > docs/configuration.md

{EXIT_CODES}"""
)
@common
def reference(config_path: str | None) -> None:
    """Print a page in Markdown: every setting of framework and modules, and what it may be."""
    write(reference_page(_sections(config_path), DEFAULTS).rstrip("\n"))


def _sections(config_path: str | None) -> dict[str, type]:
    return {name: type(section) for name, section in load_settings(config_path)[0].extra.items()}

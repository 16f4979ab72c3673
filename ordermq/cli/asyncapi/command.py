"""``ordermq asyncapi``: what queues and messages there are, for tools that know nothing of ordermq."""

import json
from pathlib import Path

import click

from ordermq.cli.asyncapi.document import describe
from ordermq.cli.asyncapi.yaml_text import to_yaml
from ordermq.cli.options import common
from ordermq.cli.output import note, write
from ordermq.cli.program import load_program
from ordermq.cli.run import EXIT_CODES
from ordermq.errors import UsageError


@click.command(
    "asyncapi",
    epilog=f"""\b
Examples:
  ordermq asyncapi
  ordermq asyncapi --json
  ordermq asyncapi --output asyncapi.yaml

{EXIT_CODES}""",
)
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Write this file instead; one whose name ends in .json is JSON.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of YAML.")
@common
def command(*, output: Path | None, as_json: bool, config_path: str | None) -> None:
    """Print an AsyncAPI 3 document of all queues, exchanges and messages of the modules in force.

    It is made from the handlers, their payload classes and the settings; no server is asked. Foreign
    programs, documentation and code generators read it: see docs/asyncapi.yaml for that of the shop.
    """
    program = load_program(config_path)
    found = describe(program.topology(), program.registry, program.settings)
    is_json = as_json or (output is not None and output.suffix == ".json")
    text = json.dumps(found, ensure_ascii=False, indent=1) + "\n" if is_json else to_yaml(found)
    if output is None:
        write(text.removesuffix("\n"))
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise UsageError(f"cannot write {output}: {exc.strerror}") from exc
    note(f"{output}: {len(found['channels'])} channels, {len(found['components']['messages'])} messages")

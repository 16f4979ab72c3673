"""Options that mean the same in every command."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from ordermq.cli.run import Invocation

F = TypeVar("F", bound=Callable[..., Any])

_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)([smhd]?)")
_UNIT_S = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


class Duration(click.ParamType[float]):
    """``90s``, ``10m``, ``2h``, ``3d``; without a unit seconds. Becomes float seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        matched = _DURATION.fullmatch(str(value))
        if matched is None:
            self.fail(f"{value!r} is none; write 90s, 10m, 2h or 3d", param, ctx)
        return float(matched[1]) * _UNIT_S[matched[2]]


DURATION = Duration()


class Text(click.ParamType[str]):
    """Text that says something: an empty shell variable must not choose everything."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not str(value).strip():
            self.fail("is empty", param, ctx)
        return str(value)


TEXT = Text()


def common(command: F) -> F:
    """Add --config FILE (as ``config_path``) and --debug."""
    command = click.option(
        "--debug",
        is_flag=True,
        expose_value=False,
        callback=_set_debug,
        help="Show the traceback of an error.",
    )(command)
    return click.option(
        "--config",
        "config_path",
        type=click.Path(),
        metavar="FILE",
        help="Settings; else $ORDERMQ_CONFIG, else /etc/ordermq/ordermq.toml.",
    )(command)


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
dry_run = click.option("--dry-run", is_flag=True, help="Say what would be done; change nothing.")
limit = click.option(
    "--limit", type=click.IntRange(1, 1_000_000), default=100, show_default=True, help="Most rows to print."
)

reason = click.option(
    "--reason",
    required=True,
    callback=lambda *given: _not_empty(given[2]),
    help="Why; kept with who and when.",
)
yes = click.option("--yes", is_flag=True, help="Do not ask before changing many.")
rate = click.option(
    "--rate", type=click.FloatRange(0), default=0.0, help="Most records a second; 0, the default: no limit."
)
rejects = click.option(
    "--rejects",
    "rejects_path",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("rejects.jsonl"),
    show_default=True,
    metavar="FILE",
    help="Where records that could not be taken go; written only if there are any.",
)
strict = click.option("--strict", is_flag=True, help="Exit 65 if any record was rejected.")
summary_as_json = click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")


def _not_empty(text: str) -> str:
    if not text.strip():
        raise click.BadParameter("is empty")
    return text.strip()


def _set_debug(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.ensure_object(Invocation).debug = True

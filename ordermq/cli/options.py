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


def duration(value: str | float) -> float:
    """Return the seconds of ``90s``, ``10m``, ``2h``, ``3d`` or a bare number of seconds."""
    matched = _DURATION.fullmatch(str(value))
    if matched is None:
        raise click.BadParameter(f"{value!r} is not a duration; write for example 90s or 5m")
    return float(matched[1]) * _UNIT_S[matched[2]]


def text(value: str) -> str:
    """Return a text that is not blank: an empty shell variable must not choose everything."""
    if not value.strip():
        raise click.BadParameter("is empty")
    return value


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
        help="Settings file. Default: $ORDERMQ_CONFIG, then /etc/ordermq/ordermq.toml.",
    )(command)


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
dry_run = click.option("--dry-run", is_flag=True, help="Show what would be done, and change nothing.")
trust_unsigned = click.option(
    "--trust-unsigned",
    is_flag=True,
    help="Also send those whose signature was refused, which anybody may have published; they are signed.",
)
limit = click.option(
    "--limit",
    type=click.IntRange(1, 1_000_000),
    default=100,
    show_default=True,
    help="Print at most this many rows.",
)

reason = click.option(
    "--reason",
    required=True,
    callback=lambda *given: _not_empty(given[2]),
    help="Why you do this. It is recorded with your name and the time.",
)
yes = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
rate = click.option(
    "--rate",
    type=click.FloatRange(0),
    default=0.0,
    help="Most records a second. 0, the default, means no limit.",
)
rejects = click.option(
    "--rejects",
    "rejects_path",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("rejects.jsonl"),
    show_default=True,
    metavar="FILE",
    help="File for records that are refused. It is written only if there are any.",
)
strict = click.option("--strict", is_flag=True, help="Exit 65 if any record was refused.")
summary_as_json = click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")


def _not_empty(text: str) -> str:
    if not text.strip():
        raise click.BadParameter("is empty")
    return text.strip()


def _set_debug(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.ensure_object(Invocation).debug = True

"""Options that mean the same in every command."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from ordermq.cli.run import Invocation

F = TypeVar("F", bound=Callable[..., Any])


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


def _set_debug(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.ensure_object(Invocation).debug = True

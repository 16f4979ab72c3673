"""Options of the commands that read orders which a shop exported."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from ordermq.errors import UsageError
from ordermq.shop.intake import EXPORTS, PaidOrders, ReadOptions, read_mapping

F = TypeVar("F", bound=Callable[..., Any])


def export_options(command: F) -> F:
    """Add --paid and --mapping FILE (as ``mapping_path``)."""
    command = click.option(
        "--mapping",
        "mapping_path",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="TOML file that says what an export does not: currency, product ids, card tokens;"
        " see docs/order-files.md.",
    )(command)
    return click.option(
        "--paid",
        type=click.Choice([each.value for each in PaidOrders]),
        default=PaidOrders.SKIP.value,
        show_default=True,
        help="What to do with orders of shopify and woocommerce whose money was taken already.",
    )(command)


def read_options(format: str, paid: str, mapping_path: Path | None) -> ReadOptions:
    """Return how to read the file. Raises UsageError for a mapping that is wrong, or has no use."""
    if mapping_path is None:
        return ReadOptions(PaidOrders(paid))
    if format not in EXPORTS:
        raise UsageError(f"--mapping has no use with --format {format}; it is for {' and '.join(EXPORTS)}")
    return ReadOptions(PaidOrders(paid), read_mapping(mapping_path))

"""Which orders: ``--where NAME=VALUE``, and filters that the setting ``shop.filters`` saves under names."""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import click

from ordermq.errors import BadInput, ConfigError
from ordermq.shop.model import check_attributes
from ordermq.shop.saga import Status


def _attribute(_: click.Context, __: click.Parameter, given: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return name and value of each ``NAME=VALUE``; two values of one name can be no order's."""
    pairs = tuple(each.partition("=")[::2] for each in given)
    if len(dict(pairs)) < len(set(pairs)) or not all("=" in each for each in given):
        raise click.BadParameter("write NAME=VALUE, each name once, for example merchant=acme")
    try:
        check_attributes(dict(pairs))
    except BadInput as exc:
        raise click.BadParameter(str(exc)) from exc
    return pairs


where = click.option(
    "--where",
    multiple=True,
    callback=_attribute,
    metavar="NAME=VALUE",
    help="Only orders with this attribute.",
)


@dataclass(frozen=True)
class OrderFilter:
    """Which orders: in a state, that need a person, with attributes."""

    state: str | None = None
    attention: bool = False
    where: tuple[tuple[str, str], ...] = ()

    def and_also(
        self, state: str | None, *, attention: bool, where: Iterable[tuple[str, str]]
    ) -> "OrderFilter":
        """Return the filter with these conditions on top; a state takes the place of the filter's."""
        return OrderFilter(state or self.state, attention or self.attention, (*self.where, *where))


@click.command()
@click.option("--state", type=click.Choice([each.value for each in Status]))
@click.option("--attention", is_flag=True)
@where
def _options(**_: object) -> None:
    """Parse the options of a saved filter: those of ``order list`` that choose orders."""


def saved_filter(filters: Iterable[str], name: str) -> OrderFilter:
    """Return the filter of this name. Raises ConfigError if there is none, or it is none."""
    saved = {key.strip(): options for key, _, options in (each.partition(":") for each in filters)}
    if name not in saved:
        known = ", ".join(sorted(saved)) or "none"
        raise ConfigError(f"shop.filters has no {name!r}; there are: {known}")
    try:
        found = _options.make_context("order list", shlex.split(saved[name])).params
    except (click.ClickException, ValueError) as exc:
        why = exc.format_message() if isinstance(exc, click.ClickException) else exc
        raise ConfigError(f"shop.filters {name!r}: {why}") from exc
    return OrderFilter(found["state"], found["attention"], found["where"])

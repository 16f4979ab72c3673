"""The options that choose orders, the same in every command, and the filters that ``shop.filters`` saves.

``--where`` has a second meaning for those who know it: a word without ``=`` is a state, as ``--state``,
``--stuck``, ``--attention`` and ``--held`` have it.
"""

import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import wraps
from typing import Any

import click

from ordermq.cli.options import duration, text
from ordermq.errors import BadInput, ConfigError
from ordermq.shop.cli.program import load_shop
from ordermq.shop.model import check_attributes
from ordermq.shop.saga import Status
from ordermq.shop.selection import Selection
from ordermq.shop.settings import SECTION

STUCK_FOR_S = 600.0  # of an order under way, unless --older-than says another time

_FLAGS = ("stuck", "attention", "held")
_STATES = [each.value for each in Status]


def instant(value: str) -> datetime:
    """Return the instant of ``2026-01-31T02:00Z``; without a time zone it is in UTC."""
    try:
        found = datetime.fromisoformat(value)
    except ValueError as exc:
        raise click.BadParameter(f"{value!r} is not an instant; write for example 2026-01-31T02:00Z") from exc
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _conditions(_: click.Context, __: click.Parameter, given: Sequence[str]) -> Sequence[str]:
    """Check what ``--where`` was given: two values of one name can be no order's."""
    pairs = [each.partition("=")[::2] for each in given if "=" in each]
    words = [each for each in given if "=" not in each]
    if len(dict(pairs)) < len(set(pairs)) or not set(words) <= {*_STATES, *_FLAGS}:
        raise click.BadParameter(
            "write NAME=VALUE, each name once, for example merchant=acme; "
            f"or a state: {', '.join((*_STATES, *_FLAGS))}"
        )
    try:
        check_attributes(dict(pairs))
    except BadInput as exc:
        raise click.BadParameter(str(exc)) from exc
    return given


_OPTIONS = (
    click.option("--state", type=click.Choice(_STATES), help="Only orders in this state."),
    click.option(
        "--where",
        multiple=True,
        callback=_conditions,
        metavar="NAME=VALUE",
        help="Only orders with this attribute. May be given often.",
    ),
    click.option("--attention", is_flag=True, help="Only orders that need a person."),
    click.option("--held", is_flag=True, help="Only orders that 'order hold' holds back."),
    click.option(
        "--stuck",
        is_flag=True,
        help="Only orders under way to which nothing has happened for 10m, or for --older-than.",
    ),
    click.option(
        "--older-than",
        "older_than_s",
        type=duration,
        help="Only orders to which nothing has happened for this long.",
    ),
    click.option(
        "--from", "since", type=instant, metavar="TIME", help="Only orders accepted at this time or later."
    ),
)

_FILTER = click.option(
    "--filter",
    "saved",
    type=text,
    metavar="NAME",
    help="Only orders that the setting shop.filters describes under this name.",
)

_ALL = click.option("--all", "every", is_flag=True, help="Choose every order.")


def selects(*, until: Sequence[str] = ("--to", "--before"), every: bool = False) -> Callable[..., Any]:
    """Add the options that choose orders; the command gets them as ``selection``, and its ``program``.

    ``until`` are the names of the option that ends a time. Unless ``every`` order is chosen without an
    option, one of them, ids or --all has to be given. The command's own parameter ``order_ids`` has the ids.
    """
    to = click.option(
        *until, "until", type=instant, metavar="TIME", help="Only orders accepted before this time."
    )

    def decorated(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def selected(*, config_path: str | None, saved: str | None, **given: Any) -> None:
            names = ("state", "where", "attention", "held", "stuck", "older_than_s", "since", "until")
            selection = _selection(**{name: given.pop(name) for name in names})
            ids, is_all = tuple(dict.fromkeys(given.pop("order_ids", ()))), given.pop("every", every)
            narrows = saved is not None or not selection.is_empty
            if not every and bool(ids) + narrows + is_all != 1:
                raise click.UsageError("say which orders: give ids, or filters such as --stuck, or --all")
            program = load_shop(config_path)
            if saved is not None:
                found = saved_filter(program.loaded.section(SECTION).filters, saved)
                selection = found.and_also(selection)
            if selection.is_under_way and selection.older_than_s is None:
                selection = replace(selection, older_than_s=STUCK_FOR_S)
            if ids:
                selection = Selection(order_ids=ids)
            command(program=program, selection=selection, **given)

        for option in reversed((*_OPTIONS, to, _FILTER, *(() if every else (_ALL,)))):
            selected = option(selected)
        return selected

    return decorated


def saved_filter(filters: Iterable[str], name: str) -> Selection:
    """Return the filter of this name. Raises ConfigError if there is none, or it is none."""
    saved = {key.strip(): options for key, _, options in (each.partition(":") for each in filters)}
    if name not in saved:
        known = ", ".join(sorted(saved)) or "none"
        raise ConfigError(f"shop.filters has no {name!r}; there are: {known}")
    try:
        return _selection(**_saved.make_context("order list", shlex.split(saved[name])).params)
    except (click.ClickException, ValueError) as exc:
        why = exc.format_message() if isinstance(exc, click.ClickException) else exc
        raise ConfigError(f"shop.filters {name!r}: {why}") from exc


@click.command()
def _saved(**_: object) -> None:
    """Parse the options of a saved filter."""


for _option in _OPTIONS:
    _option(_saved)


def _selection(
    *,
    state: str | None,
    where: Sequence[str],
    attention: bool,
    held: bool,
    stuck: bool,
    older_than_s: float | None,
    since: datetime | None,
    until: datetime | None = None,
) -> Selection:
    words = {each for each in where if "=" not in each}
    states = {each for each in (state, *words) if each in _STATES}
    if len(states) > 1:
        raise click.UsageError(f"an order is in one state, not in {' and in '.join(sorted(states))}")
    stuck = stuck or "stuck" in words
    return Selection(
        since=since,
        until=until,
        status=Status(states.pop()) if states else None,
        is_under_way=stuck,
        needs_person=attention or "attention" in words,
        is_held=held or "held" in words,
        older_than_s=older_than_s,
        attributes=tuple(each.partition("=")[::2] for each in where if "=" in each),
    )

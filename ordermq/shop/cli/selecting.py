"""The options that choose the orders of a bulk command."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from typing import Any

import click

from ordermq.cli.options import duration
from ordermq.shop.saga import Status
from ordermq.shop.selection import Selection

STUCK, ATTENTION = "stuck", "attention"
STUCK_FOR_S = 600.0  # as 'order stuck' has it


def instant(value: str) -> datetime:
    """Return the instant of ``2026-01-31T02:00Z``; without a time zone it is in UTC."""
    try:
        found = datetime.fromisoformat(value)
    except ValueError as exc:
        raise click.BadParameter(f"{value!r} is not an instant; write for example 2026-01-31T02:00Z") from exc
    return found if found.tzinfo else found.replace(tzinfo=UTC)


_FROM = click.option(
    "--from", "since", type=instant, metavar="TIME", help="Only orders accepted at this time or later."
)

_OPTIONS = (
    click.option(
        "--where",
        type=click.Choice([each.value for each in Status] + [STUCK, ATTENTION]),
        help="Only orders in this state. stuck: under way, and nothing has happened for 10m, or for"
        " --older-than; attention: orders that need a person.",
    ),
    click.option(
        "--older-than",
        "older_than_s",
        type=duration,
        help="Only orders to which nothing has happened for this long.",
    ),
    click.option("--all", "every", is_flag=True, help="Choose every order."),
)


def selects(until: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the options that choose orders beside ``order_ids``; the command gets both as ``selection``.

    ``until`` is the name of the option that ends a time.
    """
    to = click.option(
        until, "until", type=instant, metavar="TIME", help="Only orders accepted before this time."
    )

    def decorated(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def selected(**given: Any) -> None:
            names = ("order_ids", "since", "until", "where", "older_than_s", "every")
            command(selection=_selection(**{name: given.pop(name) for name in names}), **given)

        for option in reversed((_FROM, to, *_OPTIONS)):
            selected = option(selected)
        return selected

    return decorated


def _selection(
    *,
    order_ids: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
    where: str | None,
    older_than_s: float | None,
    every: bool,
) -> Selection:
    narrows = (since, until, where, older_than_s) != (None, None, None, None)
    if bool(order_ids) + narrows + every != 1:
        raise click.UsageError("say which orders: give ids, or filters such as --where stuck, or --all")
    if order_ids:
        return Selection(order_ids=tuple(dict.fromkeys(order_ids)))
    if where == STUCK and older_than_s is None:
        older_than_s = STUCK_FOR_S
    return Selection(
        since=since,
        until=until,
        status=None if where in (STUCK, ATTENTION) else where,
        is_under_way=where == STUCK,
        needs_person=where == ATTENTION,
        older_than_s=older_than_s,
    )

"""The options that choose dead letters."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from ordermq.cli.options import duration, text
from ordermq.store.dead_letters import Filter

_OPTIONS = {
    "queue": click.option("--queue", type=text, help="Only those of this queue."),
    "error": click.option("--error", type=text, help="Only those whose reason contains this text."),
    "fingerprint": click.option(
        "--fingerprint", type=text, help="Only those that died of this cause; see 'dead group'."
    ),
    "correlation_id": click.option(
        "--correlation-id",
        type=text,
        metavar="ID",
        help="Only those with this correlation id; the shop's is the order.",
    ),
    "message_id": click.option("--message-id", type=text, help="Only those of this message."),
    "older_than_s": click.option(
        "--older-than", "older_than_s", type=duration, help="Only those that died longer ago than this."
    ),
    "newer_than_s": click.option(
        "--newer-than", "newer_than_s", type=duration, help="Only those that died within this time."
    ),
}

closed = click.option("--closed", is_flag=True, help="Include those that were replayed or discarded.")


def filters(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that choose dead letters; the command gets them as ``matching``."""

    @wraps(command)
    def filtered(**given: Any) -> None:
        chosen = {name: given.pop(name) for name in _OPTIONS}
        command(matching=Filter(**chosen, closed=given.pop("closed", False)), **given)

    for option in reversed(_OPTIONS.values()):
        filtered = option(filtered)
    return filtered

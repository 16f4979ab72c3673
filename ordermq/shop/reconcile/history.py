"""Fold the events of orders through the saga and compare. Pure."""

from collections.abc import Iterable, Sequence

from ordermq.errors import EventUnreadable, IllegalEvent
from ordermq.shop.events import Event
from ordermq.shop.recorded import read_columns
from ordermq.shop.saga import DEFAULT_TERMS, State, Terms, advance


def disagreement(
    path: str,
    status: str,
    pending: Sequence[str],
    *,
    needs_attention: bool,
    terms: Terms = DEFAULT_TERMS,
) -> str | None:
    """Return how a history differs from the stored state; None if they agree.

    ``path`` is the order's events, oldest first, as ``type`` or ``type:step``, with
    spaces between.
    """
    try:
        state, attention = fold(_events(path), terms)
    except (IllegalEvent, EventUnreadable) as exc:
        return str(exc)
    if state is None:
        return "no events"
    if state.status != status:
        return f"stored as {status}, but its events say {state.status}"
    if state.pending != set(pending):
        return f"pending is {_words(pending)}, but its events say {_words(state.pending)}"
    if attention != needs_attention:
        return f"{_asked(needs_attention)} to look at it, but by its events {_asked(attention)}"
    return None


def fold(events: Iterable[Event], terms: Terms = DEFAULT_TERMS) -> tuple[State | None, bool]:
    """Return the state after ``events``, None without any, and whether a person has to look.

    Raises IllegalEvent.
    """
    state: State | None = None
    attention = False
    for event in events:
        move = advance(state, event, terms)
        state = move.state
        attention = attention if move.attention is None else move.attention
    return state, attention


def _asked(attention: bool) -> str:
    return "a person is asked" if attention else "no person is asked"


def _events(path: str) -> Iterable[Event]:
    for version, word in enumerate(path.split(), start=1):
        event_type, _, step = word.partition(":")
        yield read_columns(event_type, step, version)


def _words(steps: Iterable[str]) -> str:
    return ", ".join(sorted(steps)) or "nothing"

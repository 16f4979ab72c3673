"""What the orders say in the end: kept, lost, stuck, doubled, and how soon they moved again. Pure."""

import json
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class OrderStanding:
    """Where an order of the database stands."""

    is_at_rest: bool
    needs_attention: bool = False
    finished_at_s: float | None = None


@dataclass(frozen=True)
class Tally:
    """Every accepted order is exactly one of these; ``parked`` waits for a person and says so."""

    at_rest: int
    parked: int
    lost: tuple[str, ...]
    stuck: tuple[str, ...]


def tally(accepted: Iterable[str], found: Mapping[str, OrderStanding]) -> Tally:
    """Compare what the client was answered with what there is."""
    at_rest = parked = 0
    lost, stuck = [], []
    for order_id in accepted:
        standing = found.get(order_id)
        if standing is None:
            lost.append(order_id)
        elif standing.is_at_rest:
            at_rest += 1
        elif standing.needs_attention:
            parked += 1
        else:
            stuck.append(order_id)
    return Tally(at_rest, parked, tuple(lost), tuple(stuck))


def doubled_payments(entries: Iterable[tuple[str, str, int]], asked_back: Mapping[str, int]) -> list[str]:
    """Return the orders charged twice, or given back more than was taken or than ``asked_back`` says.

    ``entries`` are (order, kind, amount) of a ledger.
    """
    captures: Counter[str] = Counter()
    taken: Counter[str] = Counter()
    back: Counter[str] = Counter()
    for order_id, kind, amount_minor in entries:
        captures[order_id] += kind == "capture"
        (taken if kind == "capture" else back)[order_id] += amount_minor
    too_much = {each for each in back if back[each] > min(taken[each], asked_back.get(each, taken[each]))}
    return sorted({each for each in captures if captures[each] > 1} | too_much)


def repeated(references: Iterable[str]) -> list[str]:
    """Return what occurs more than once."""
    return sorted(each for each, count in Counter(references).items() if count > 1)


def recovery_s(healed_at_s: float, finished_at_s: Iterable[float], rate: float) -> float | None:
    """Return how long after ``healed_at_s`` orders began to be finished again.

    That is the first order finished after it with whom, within a second, a quarter as
    many are finished as come in at ``rate``, or all that are left. None: never.
    """
    later = sorted(at for at in finished_at_s if at >= healed_at_s)
    for position, at in enumerate(later):
        if _within(later, position, 1.0) >= min(rate / 4, len(later) - position):
            return at - healed_at_s
    return None


def compared(where: str, found: Iterable[tuple[str, bytes]], wanted: Mapping[str, bytes]) -> list[str]:
    """Return what is wrong with events found as (id, data), doubles too, where ``wanted`` should be."""
    seen = set()
    others = set()
    for id_, data in found:
        seen.add(id_)
        if wanted.get(id_) != data:
            others.add(id_)
    missing = wanted.keys() - seen
    return [
        f"{where}: {len(ids)} events {what}: {sorted(ids)[:3]}"
        for ids, what in ((missing, "are missing"), (others, "are not those of the database"))
        if ids
    ]


def with_trace(body: bytes, trace_id: str) -> bytes:
    """Return the stored body of an event as it leaves: with its own trace, or with that of its order."""
    document = json.loads(body)
    if document.get("v", 1) > 1:
        document.setdefault("trace_id", trace_id)
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def out_of_order(ids: Iterable[str]) -> list[str]:
    """Return the orders whose events do not come in the order of their versions."""
    versions = defaultdict(list)
    for each in ids:
        order, _, version = each.rpartition(":")
        versions[order].append(int(version))
    return sorted(order for order, found in versions.items() if found != sorted(found))


def _within(instants: Sequence[float], first: int, span_s: float) -> int:
    return bisect_left(instants, instants[first] + span_s) - first

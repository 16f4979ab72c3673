"""What messages will do outside, told before they are sent: captures and their money, texts. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple


@dataclass(frozen=True, slots=True)
class Effect:
    """What handling one message does outside. ``what`` names it in the plural, as in "texts".

    ``how`` stands after it in a sentence: "captures", "will be asked for". ``amount`` is in ``unit``,
    as a currency; it is the most that the effect can come to.
    """

    what: str
    how: str = ""
    amount: Decimal | None = None
    unit: str = ""


class PlannedMessage(NamedTuple):
    """A message that may be sent: what a module needs to say what it would do."""

    type: str
    correlation_id: str
    body: bytes


class Forecast:
    """A sum of effects. ``always`` are named also if there are none, and those of ``without`` not at all."""

    def __init__(self, always: Iterable[Effect] = (), *, without: Iterable[Effect] = ()) -> None:
        self._without = frozenset(without)
        self._counts: Counter[Effect] = Counter({each: 0 for each in always})
        self._amounts: defaultdict[str, defaultdict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))

    def add(self, effects: Iterable[Effect | None]) -> None:
        """Add what messages will do; None is a message that does nothing outside."""
        for each in effects:
            if each is not None and each not in self._without:
                self._counts[Effect(each.what, each.how)] += 1
                if each.amount is not None:
                    self._amounts[each.what][each.unit] += each.amount

    @property
    def parts(self) -> list[str]:
        """The parts of a sentence: ``37 captures will be asked for (EUR 2,911.40)``, ``0 texts``."""
        return [
            f"{count:,} {each.what}{each.how and ' '}{each.how}{self._money(each.what)}"
            for each, count in self._counts.items()
        ]

    @property
    def document(self) -> dict[str, Any]:
        """What ``--json`` prints: for each effect its count and its amounts."""
        return {
            each.what: {"count": count, "amounts": {u: str(a) for u, a in self._amounts[each.what].items()}}
            for each, count in self._counts.items()
        }

    def _money(self, what: str) -> str:
        amounts = ", ".join(f"{unit} {amount:,}" for unit, amount in sorted(self._amounts[what].items()))
        return f" ({amounts})" if amounts else ""

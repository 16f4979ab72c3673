"""Run cases: contenders take turns in each round, and the order turns too."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.case import Case, Contender, Missing, Wrong
from benchmarks.ground import Arena
from benchmarks.report import Figure, Outcome
from ordermq.testing.stack.errors import StackError

Say = Callable[[str], None]


@dataclass
class Failure:
    """A sample that gave no figure."""

    contender: str
    text: str


@dataclass
class _Scores:
    values: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    failures: list[Failure] = field(default_factory=list)
    left_out: list[Failure] = field(default_factory=list)


def run_case(case: Case, arena: Arena, *, rounds: int, n: int | None, say: Say) -> Outcome:
    """Measure every contender ``rounds`` times (or as often as the case says) with ``n`` messages.

    A contender that fails is reported and left out of the later rounds; the others go on.
    """
    scores = _Scores()
    out: set[str] = set()
    total = min(rounds, case.rounds or rounds)
    for number in range(total):
        for contender in _turn(case.contenders, number):
            if contender.name in out:
                continue
            say(f"{case.name} {number + 1}/{total}: {contender.name}")
            if not _sample(contender, arena, n or case.n, scores):
                out.add(contender.name)
    figures = {key: Figure.of(values, case.unit_of(key)) for key, values in scores.values.items()}
    return Outcome(case, figures, _texts(scores.failures), _texts(scores.left_out))


def _texts(failures: Sequence[Failure]) -> list[str]:
    return [f"{each.contender}: {each.text}" for each in failures]


def _turn(contenders: Sequence[Contender], number: int) -> list[Contender]:
    start = number % len(contenders)
    return [*contenders[start:], *contenders[:start]]


def _sample(contender: Contender, arena: Arena, n: int, scores: _Scores) -> bool:
    try:
        with arena.ground() as ground:
            figures = contender.sample(ground, n)
    except Missing as exc:
        scores.left_out.append(Failure(contender.name, str(exc)))
        return False
    except (StackError, Wrong) as exc:
        scores.failures.append(Failure(contender.name, str(exc)))
        return False
    for suffix, value in figures.items():
        scores.values[f"{contender.name}_{suffix}" if suffix else contender.name].append(value)
    return True

"""Samples that work a full queue: fill it, have it worked, look whether everything was handled once."""

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.case import Wrong
from benchmarks.ground import Ground
from benchmarks.programs.orders import FULL_QUEUE
from benchmarks.queues import declare, holds

QUEUES = {"ordermq": FULL_QUEUE, "celery": "celery", "dramatiq": "default"}

Work = Callable[[Ground, int], Mapping[str, Any]]
Step = Callable[[Ground], None]
Check = Callable[[Ground, int], None]


def no_preparation(_ground: Ground) -> None: ...


def no_check(_ground: Ground, _n: int) -> None: ...


def working(
    form: str, work: Work, *, part: int = 1, prepare: Step = no_preparation, check: Check = no_check
) -> Callable[[Ground, int], dict[str, float]]:
    """Return a sample: ``n / part`` messages in the form that framework sends, worked by ``work``.

    The sample's figure is messages a second. ``check(ground, n)`` looks at the effect.
    """

    def sample(ground: Ground, n: int) -> dict[str, float]:
        n = max(1, n // part)
        declare(ground)
        prepare(ground)
        ground.run("preload", form=form, n=n)
        ran = work(ground, n)
        if ran["done"] != n:
            raise Wrong(f"{ran['done']} were handled, not {n}")
        holds(ground, QUEUES[form], 0)
        check(ground, n)
        return {"": n / ran["seconds"]}

    return sample


def program(module: str, **job: Any) -> Work:
    """Return what runs a program that works the queue."""
    return lambda ground, n: ground.run(module, n=n, **job)


def migrate(ground: Ground) -> None:
    """Make ordermq's own tables."""
    ground.command("ordermq", "db", "migrate")

"""A Dramatiq worker whose actor says when it ran."""

from benchmarks.programs.dramatiq_app import dramatiq, dramatiq_broker
from benchmarks.programs.gated import say_when
from benchmarks.programs.job import worker_job

broker = dramatiq_broker(worker_job())


@dramatiq.actor
def first() -> None:
    say_when()


send = first.send

"""A Celery worker whose task says when it ran."""

from benchmarks.programs.celery_app import celery_app
from benchmarks.programs.gated import say_when
from benchmarks.programs.job import worker_job

app = celery_app(worker_job(), threads=4)


@app.task
def first() -> None:
    say_when()


send = first.delay

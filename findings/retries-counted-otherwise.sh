#!/usr/bin/env bash
# taskiq 0.13.0: max_retries=1 means no retry at all; procrastinate 3.10.0: max_attempts=1 means two runs.
#
# A task that calls a payment provider fails with a broken connection. Either it is to be tried once more, or it must not be.
# Guess: max_retries=1 allows one retry, two runs in all, as in the other task queues; max_attempts=1 allows one run.
# Seen:  taskiq counts the first run among the retries: with 1 the task fails for good at its first error, and the log says that
#        the maximum of retries is reached. Both its middlewares do so. procrastinate does not count the first run as an attempt;
#        its docstring says "the maximum number of attempts the job should be retried". Celery, dramatiq, huey do as they say.
# So: before a retry is a question of money, count the runs of a task that always fails.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    'taskiq==0.13.0' 'huey==3.5.4' 'dramatiq==2.2.1' 'celery==5.7.0' 'procrastinate==3.10.0' 2>/dev/null

cat > "$work/seen.py" <<'PY'
import asyncio
import logging

import dramatiq
import procrastinate
from celery import Celery
from dramatiq.brokers.stub import StubBroker
from huey import MemoryHuey
from procrastinate.testing import InMemoryConnector
from taskiq import InMemoryBroker, SimpleRetryMiddleware, SmartRetryMiddleware

logging.disable(logging.CRITICAL)


def failing():
    """Return a task whose connection always breaks, and the list of its runs."""
    runs = []

    def pay():
        runs.append("run")
        raise ConnectionError

    return pay, runs


async def run_taskiq(middleware, retries):
    pay, runs = failing()
    broker = InMemoryBroker(await_inplace=True).with_middlewares(middleware)

    @broker.task(retry_on_error=True, max_retries=retries)
    async def task():
        pay()

    await broker.startup()
    await task.kiq()
    await asyncio.sleep(0.5)
    await broker.shutdown()
    return len(runs)


async def run_procrastinate(attempts):
    pay, runs = failing()
    app = procrastinate.App(connector=InMemoryConnector())
    task = app.task(name="pay", retry=procrastinate.RetryStrategy(max_attempts=attempts))(pay)
    async with app.open_async():
        await task.defer_async()
        await app.run_worker_async(wait=False)
    return len(runs)


def run_celery(retries):
    pay, runs = failing()
    app = Celery("finding", broker="memory://")
    app.conf.task_always_eager = True
    app.task(pay, max_retries=retries, autoretry_for=(ConnectionError,), default_retry_delay=0).apply()
    return len(runs)


def run_dramatiq(retries):
    pay, runs = failing()
    broker = StubBroker()
    actor = dramatiq.actor(pay, broker=broker, max_retries=retries, min_backoff=1, max_backoff=1)
    worker = dramatiq.Worker(broker, worker_timeout=10)
    worker.start()
    actor.send()
    broker.join(actor.queue_name, fail_fast=False)
    worker.stop()
    return len(runs)


def run_huey(retries):
    pay, runs = failing()
    MemoryHuey(immediate=True).task(retries=retries)(pay)()
    return len(runs)


for number in (1, 3):
    simple = asyncio.run(run_taskiq(SimpleRetryMiddleware(), number))
    smart = asyncio.run(run_taskiq(SmartRetryMiddleware(default_delay=0), number))
    print(f"{number} retries allowed, runs: taskiq {simple} (simple) {smart} (smart), Celery {run_celery(number)}, "
          f"dramatiq {run_dramatiq(number)}, huey {run_huey(number)}")
    print(f"{number} attempts allowed, runs: procrastinate {asyncio.run(run_procrastinate(number))}")
PY
seen=$("$work/venv/bin/python" "$work/seen.py")
expected='1 retries allowed, runs: taskiq 1 (simple) 1 (smart), Celery 2, dramatiq 2, huey 2
1 attempts allowed, runs: procrastinate 2
3 retries allowed, runs: taskiq 3 (simple) 3 (smart), Celery 4, dramatiq 4, huey 4
3 attempts allowed, runs: procrastinate 4'
printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'one of the task queues no longer behaves as stated; expected:\n%s\n' "$expected" >&2
    exit 1
fi

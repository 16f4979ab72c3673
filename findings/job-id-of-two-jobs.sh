#!/usr/bin/env bash
# rq 3.0.0: two orders enqueued under one job id are the second order, run twice. arq 0.28.0 drops what comes second.
#
# Task queues let the caller choose a job's id. It is what one reaches for so that an order that arrives twice is handled once.
# Guess: a job whose id is there already is not added, or is refused; after a failure it can be enqueued again.
# Seen:  rq overwrites the job and puts its id into the queue once more. One order is paid twice; where the id was too coarse, as a
#        customer's, the first order is never run and the second twice, and both jobs say "finished". With unique=True it refuses.
#        arq answers None, and does so for an hour (keep_result) after the job's end: one that failed, or whose function the worker
#        did not know, as before a deployment, cannot be enqueued again; another function under the id is not run either.
# So: make the id of order and task, look at what enqueue returns, and keep your own record of what is done.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    'rq==3.0.0' 'arq==0.28.0' 'fakeredis==2.41.0' 'lupa==2.8' 2>/dev/null

cat > "$work/shop.py" <<'PY'
runs = []


def pay(order):
    runs.append(f"pay {order}")


def taken():
    seen = list(runs)
    runs.clear()
    return seen or "nothing"
PY
cat > "$work/seen.py" <<'PY'
import asyncio
import logging
import threading

import arq.worker
import fakeredis
import rq
import shop

logging.disable(logging.CRITICAL)


def use_rq(orders, **options):
    queue = rq.Queue(connection=fakeredis.FakeStrictRedis())
    jobs = []
    for order in orders:
        try:
            jobs.append(queue.enqueue(shop.pay, order, job_id="customer-7", **options))
        except rq.exceptions.DuplicateJobError:
            print(f"rq: {order} refused")
    rq.SimpleWorker([queue], connection=queue.connection).work(burst=True)
    print(f"rq: {' and '.join(orders)} under one id, {options}: {shop.taken()}, {[job.get_status().value for job in jobs]}")


async def pay(context, order):
    shop.pay(order)


async def fail(context, order):
    shop.runs.append(f"fail {order}")
    raise ConnectionError


async def ship(context, order):
    shop.runs.append(f"ship {order}")


async def ignore(*arguments):
    """Stand in for the log line about the server; the one used here does not know INFO."""


async def use_arq(known, *jobs):
    server = fakeredis.TcpFakeServer(("127.0.0.1", 0), server_type="redis")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    pool = await arq.create_pool(arq.connections.RedisSettings(port=server.server_address[1]))
    for function, order in jobs:
        job = await pool.enqueue_job(function, order, _job_id="A-1001")
        worker = arq.worker.Worker(known, redis_pool=pool, burst=True, poll_delay=0.01, handle_signals=False)
        await worker.async_run()
        print(f"arq: {function} {order} under A-1001: {'enqueued' if job else job}, run: {shop.taken()}")
        known = [pay, fail, ship]
    server.shutdown()


use_rq(["A-1001", "A-1001"])
use_rq(["A-1001", "A-1002"])
use_rq(["A-1001", "A-1002"], unique=True)
arq.worker.log_redis_info = ignore
asyncio.run(use_arq([pay, fail, ship], ("fail", "A-1001"), ("fail", "A-1001"), ("ship", "A-1001")))
print("a worker of the version before, which does not know pay:")
asyncio.run(use_arq([ship], ("pay", "A-1001"), ("pay", "A-1001")))
PY
seen=$(cd "$work" && "$work/venv/bin/python" "$work/seen.py")
expected=$(
    cat <<'SEEN'
rq: A-1001 and A-1001 under one id, {}: ['pay A-1001', 'pay A-1001'], ['finished', 'finished']
rq: A-1001 and A-1002 under one id, {}: ['pay A-1002', 'pay A-1002'], ['finished', 'finished']
rq: A-1002 refused
rq: A-1001 and A-1002 under one id, {'unique': True}: ['pay A-1001'], ['finished']
arq: fail A-1001 under A-1001: enqueued, run: ['fail A-1001']
arq: fail A-1001 under A-1001: None, run: nothing
arq: ship A-1001 under A-1001: None, run: nothing
a worker of the version before, which does not know pay:
arq: pay A-1001 under A-1001: enqueued, run: nothing
arq: pay A-1001 under A-1001: None, run: nothing
SEEN
)
printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'one of the task queues no longer behaves as stated; expected:\n%s\n' "$expected" >&2
    exit 1
fi

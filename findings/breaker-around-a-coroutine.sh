#!/usr/bin/env bash
# pybreaker 1.4.1: around a coroutine function the breaker never opens; retry, retrying and redo never try again.
#
# A payment service is down. The breaker is to open after three failures, the retry to try three times; the handler is async.
# Guess: @breaker and @retry do for a coroutine function what they do for a plain one, or refuse it where they are applied.
# Seen:  calling a coroutine function only makes the coroutine, and that succeeds: pybreaker counts no failure and stays closed,
#        however often the call fails; its call_async and __pybreaker_call_async=True are for Tornado's coroutines.
#        retry 0.9.2, retrying 1.4.2 and redo 3.0.1 run it once, without an error or a warning.
#        circuitbreaker, aiobreaker, backoff, stamina and opnieuw do as they say.
# So: take one that names coroutines, and let a test count the calls to a service that always fails.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'pybreaker==1.4.1' 'circuitbreaker==2.1.3' 'aiobreaker==1.2.0' \
    'retry==0.9.2' 'retrying==1.4.2' 'redo==3.0.1' 'backoff==2.2.1' 'stamina==26.1.0' 'opnieuw==4.0.0' 2>/dev/null

cat > "$work/seen.py" <<'PY'
import asyncio
import logging

import aiobreaker
import backoff
import circuitbreaker
import opnieuw
import pybreaker
import redo
import retry
import retrying
import stamina

logging.disable(logging.CRITICAL)
DECORATORS = {
    "pybreaker": lambda: pybreaker.CircuitBreaker(fail_max=3),
    "circuitbreaker": lambda: circuitbreaker.circuit(failure_threshold=3),
    "aiobreaker": lambda: aiobreaker.CircuitBreaker(fail_max=3),
    "retry": lambda: retry.retry(tries=3),
    "retrying": lambda: retrying.retry(stop_max_attempt_number=3),
    "redo": lambda: redo.retriable(attempts=3, sleeptime=0, jitter=0),
    "backoff": lambda: backoff.on_exception(backoff.constant, ConnectionError, max_tries=3, interval=0),
    "stamina": lambda: stamina.retry(on=ConnectionError, attempts=3, wait_initial=0),
    "opnieuw": lambda: opnieuw.retry(retry_on_exceptions=ConnectionError, max_calls_total=3, retry_window_after_first_call_in_seconds=1),
}


def call_plain(decorate, times):
    calls = []

    @decorate
    def pay():
        calls.append("call")
        raise ConnectionError

    for _ in range(times):
        try:
            pay()
        except Exception:
            pass
    return len(calls)


async def call_coroutine(decorate, times):
    calls = []

    @decorate
    async def pay():
        calls.append("call")
        raise ConnectionError

    for _ in range(times):
        try:
            await pay()
        except Exception:
            pass
    return len(calls)


for name, decorator in DECORATORS.items():
    times = 10 if "breaker" in name else 1
    plain, coroutine = call_plain(decorator(), times), asyncio.run(call_coroutine(decorator(), times))
    print(f"{name}, called {times}x, reaches the service: plain function {plain}, coroutine function {coroutine}")
PY
seen=$("$work/venv/bin/python" "$work/seen.py")
expected='pybreaker, called 10x, reaches the service: plain function 3, coroutine function 10
circuitbreaker, called 10x, reaches the service: plain function 3, coroutine function 3
aiobreaker, called 10x, reaches the service: plain function 3, coroutine function 3
retry, called 1x, reaches the service: plain function 3, coroutine function 1
retrying, called 1x, reaches the service: plain function 3, coroutine function 1
redo, called 1x, reaches the service: plain function 3, coroutine function 1
backoff, called 1x, reaches the service: plain function 3, coroutine function 3
stamina, called 1x, reaches the service: plain function 3, coroutine function 3
opnieuw, called 1x, reaches the service: plain function 3, coroutine function 3'
printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'one of the libraries no longer behaves as stated; expected:\n%s\n' "$expected" >&2
    exit 1
fi

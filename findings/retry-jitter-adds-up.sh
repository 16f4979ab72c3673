#!/usr/bin/env bash
# retry 0.9.2: its jitter adds up from wait to wait, and the first wait has none.
#
# Jitter is there so that clients that failed together do not come back together. The docstring calls it "extra seconds added to
# delay between attempts", "random if a range tuple (min, max)".
# Guess: delay=10, jitter=(0, 2) waits between 10 and 12 seconds each time.
# Seen:  each draw is added to the delay for good. The first wait is 10 for every client, so all of them come back at once; after
#        that the wait grows by a second on average: to some 19 at the tenth, some 109 at the hundredth. With backoff=2 the sum
#        is doubled as well: 1, 3, 7, 15. In retrying nothing adds up.
# So: give max_delay, or use a library that draws anew each time (retrying, backoff, stamina).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'retry==0.9.2' 'retrying==1.4.2' 2>/dev/null

cat > "$work/seen.py" <<'PY'
import random
from unittest import mock

from retry import retry
from retrying import retry as retrying


def fail():
    raise ConnectionError


def waits(decorator):
    """Return the waits between 101 failing calls; a draw is the middle of its range."""
    with (
        mock.patch("time.sleep") as sleep,
        mock.patch.object(random, "uniform", lambda low, high: (low + high) / 2),
        mock.patch.object(random, "random", lambda: 0.5),
    ):
        try:
            decorator(fail)()
        except ConnectionError:
            return [call.args[0] for call in sleep.call_args_list]


for text, decorator in {
    "retry, delay=10, jitter=(0, 2)": retry(tries=101, delay=10, jitter=(0, 2), logger=None),
    "retry, delay=1, backoff=2, jitter=(0, 2)": retry(tries=101, delay=1, backoff=2, jitter=(0, 2), logger=None),
    "retrying, wait_fixed=10000, wait_jitter_max=2000": retrying(
        stop_max_attempt_number=101, wait_fixed=10000, wait_jitter_max=2000),
}.items():
    seconds = waits(decorator)
    first = ", ".join(f"{second:g}" for second in seconds[:5])
    print(f"{text}: waits {first}, the 10th {seconds[9]:g}, the 100th {seconds[99]:g}")
PY
seen=$("$work/venv/bin/python" "$work/seen.py")
expected='retry, delay=10, jitter=(0, 2): waits 10, 11, 12, 13, 14, the 10th 19, the 100th 109
retry, delay=1, backoff=2, jitter=(0, 2): waits 1, 3, 7, 15, 31, the 10th 1023, the 100th 1.26765e+30
retrying, wait_fixed=10000, wait_jitter_max=2000: waits 11, 11, 11, 11, 11, the 10th 11, the 100th 11'
printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'retry no longer behaves as stated; expected:\n%s\n' "$expected" >&2
    exit 1
fi
